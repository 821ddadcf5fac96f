"""A file over the network into a partial file: resumed, retried with back-off, stopped before the disk is full.

Who opens the connection says what is fetched: `hub.py` with the hub's own client, `web.py` with Python's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from .progress import Meter, gigabytes, say, size

ATTEMPTS = 8  # in a row that bring nothing new; waits of 1, 2, 4 … seconds between them, three minutes in all
LONGEST_WAIT = 60.0
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class DownloadError(Exception):
    """The file did not arrive, and asking again at once would not help."""


class Dropped(Exception):
    """The connection failed in a way that may pass; `wait` is how many seconds the server asked for, if it did."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclasses.dataclass(frozen=True)
class Reply:
    """An open connection: where its bytes begin in the file, how long the whole file is, and the bytes."""

    start: int
    total: int | None
    chunks: Iterator[bytes]


Opener = Callable[[int], AbstractContextManager[Reply]]  # given the byte to begin at; raises `Dropped` or something final


def download(name: str, partial: Path, total: int | None, open_at: Opener) -> None:
    """Leave the whole file at `partial`; what an earlier attempt left there is gone on with."""
    meter = Meter(name, total)
    failures = 0
    while True:
        start = partial.stat().st_size if partial.exists() else 0
        if total is not None and start > total:
            partial.unlink()
            start = 0
        if start == total:
            return
        require_space(partial.parent, (total or 0) - start, name)
        try:
            with open_at(start) as reply:
                _append(name, partial, reply, meter)
            return
        except Dropped as dropped:
            meter.clear()
            there = partial.stat().st_size if partial.exists() else 0
            failures = 1 if there > start else failures + 1
            kept = f"{size(there)} of {size(total)}" if total else size(there)
            if failures > ATTEMPTS:
                raise DownloadError(
                    f"{dropped}; gave up after {ATTEMPTS} attempts, {kept} are kept for the next run"
                ) from None
            wait = min(LONGEST_WAIT, dropped.wait if dropped.wait is not None else 2.0 ** (failures - 1))
            say(f"  {name}: {dropped}; {kept} are there, trying again in {wait:.0f} s")
            pause(wait)


def pause(seconds: float) -> None:
    """Wait, a little unevenly, so that several that were refused together do not come back together."""
    time.sleep(seconds * random.uniform(0.9, 1.1))


def require_space(folder: Path, needed: int, name: str) -> None:
    """Refuse what does not fit before it is fetched."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(_no_space(folder, f"{name} needs {gigabytes(needed)} more", free))


@contextlib.contextmanager
def alone_in(folder: Path, name: str) -> Iterator[None]:
    """One download into a folder at a time, whichever process it belongs to."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  {name}: waiting for another process that fetches into the same folder")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _append(name: str, partial: Path, reply: Reply, meter: Meter) -> None:
    """Write what arrives. A server that does not resume begins at 0, and so does the file then."""
    meter.restart(reply.start, reply.total)
    at = reply.start
    try:
        with partial.open("r+b" if reply.start else "wb") as file:
            file.seek(reply.start)
            for chunk in reply.chunks:
                file.write(chunk)
                at += len(chunk)
                meter.advance(len(chunk))
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        meter.clear()
        needed = f"{name} needs {gigabytes(reply.total - at)} more" if reply.total else f"{name} goes on"
        raise DownloadError(_no_space(partial.parent, needed, shutil.disk_usage(partial.parent).free)) from None
    meter.clear()
    if reply.total is not None and at < reply.total:
        raise Dropped(f"the connection was closed {size(reply.total - at)} too early")


def _no_space(folder: Path, needed: str, free: int) -> str:
    return f"no space left on the disk of `{folder}`: {needed}, {gigabytes(free)} are free"
