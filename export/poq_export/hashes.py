"""What a fetched file is held to: a sha256, or the hash that git gives a small file."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

BLOCK = 1 << 20


def sha256(path: Path) -> str:
    """Hash of a file of any size."""
    return _digest(hashlib.sha256(), path)


def git_blob(path: Path) -> str:
    """The name that git gives the file's content: sha1 of a header with its length, and of the content."""
    return _digest(hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False), path)


KINDS = {"sha256": sha256, "git sha1": git_blob}


@dataclasses.dataclass(frozen=True)
class Expected:
    """A hash, what kind it is, and who says so."""

    kind: str
    value: str
    said_by: str

    def refusal(self, path: Path) -> str | None:
        """Why the file is not the expected one; `None` if it is."""
        found = KINDS[self.kind](path)
        return None if found == self.value else f"its {self.kind} is {found}, {self.said_by} says {self.value}"


def published(tag: str | None) -> Expected | None:
    """The hash in a hub's entity tag: large files have their sha256 there, small ones git's; `None` if neither."""
    for kind, digits in (("sha256", 64), ("git sha1", 40)):
        if tag and re.fullmatch(f"[0-9a-f]{{{digits}}}", tag):
            return Expected(kind, tag, "the hub")
    return None


def _digest(digest: hashlib._Hash, path: Path) -> str:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
