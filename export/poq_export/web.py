"""A file from a plain address, with Python's own client: resumed and retried like the hub's."""

from __future__ import annotations

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from . import hashes
from .download import DownloadError, Dropped, Reply, alone_in, download
from .progress import say

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
AGENT = {"User-Agent": "poq_export", "Accept-Encoding": "identity"}


def fetch(address: str, target: Path, sha256: str) -> None:
    """Put the file at `target`, checked; an interrupted one is gone on with. Raises `DownloadError`."""
    expected = hashes.Expected("sha256", sha256, "the registry")
    partial = target.with_name(f"{target.name}.{sha256[:16]}.part.tmp")
    with alone_in(target.parent, target.name):
        for resumed in (True, False) if partial.exists() else (False,):
            download(target.name, partial, None, lambda start: _open(address, start))
            if (refusal := expected.refusal(partial)) is None:
                partial.replace(target)
                return
            partial.unlink()
            if not resumed:
                raise DownloadError(f"{address} delivered another file: {refusal}; it was thrown away")
            say(f"  {target.name}: put together from two runs and damaged ({refusal}); fetched anew")


def published_size(address: str) -> int | None:
    """Bytes that the address says it has; `None` if it does not say. Raises `DownloadError` if it does not answer."""
    request = urllib.request.Request(address, headers=AGENT, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
            length = reply.headers.get("Content-Length")
            return int(length) if length else None
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{address}: {_reason(error)}") from None


@contextlib.contextmanager
def _open(address: str, start: int) -> Iterator[Reply]:
    request = urllib.request.Request(address, headers=AGENT | ({"Range": f"bytes={start}-"} if start else {}))
    with contextlib.ExitStack() as stack:
        try:
            reply = stack.enter_context(urllib.request.urlopen(request, timeout=TIMEOUT))
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:  # nothing comes after what is there
                yield Reply(start, start, iter(()))
                return
            if error.code not in TEMPORARY:
                raise DownloadError(f"{address} answers with status {error.code}") from None
            asked = error.headers.get("Retry-After", "")
            raise Dropped(f"status {error.code}", float(asked) if asked.isdigit() else None) from None
        except (OSError, http.client.HTTPException) as error:
            raise Dropped(_reason(error)) from None
        start = start if reply.status == http.client.PARTIAL_CONTENT else 0
        length = reply.headers.get("Content-Length")

        def chunks() -> Iterator[bytes]:
            try:
                while block := reply.read1(CHUNK):
                    yield block
            except (OSError, http.client.HTTPException) as error:
                raise Dropped(_reason(error)) from None

        yield Reply(start, start + int(length) if length else None, chunks())


def _reason(error: Exception) -> str:
    """The error without its class's name where it speaks for itself."""
    return str(getattr(error, "reason", "")) or str(error) or type(error).__name__
