"""Progress on stderr: what happened, how big it was and how long it took; on a terminal also how far a download is."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

ON_A_TERMINAL, ELSEWHERE = 0.2, 30.0  # seconds between two reports of a download


def say(line: str) -> None:
    """One line, at once."""
    print(line, file=sys.stderr, flush=True)


def size(number: int) -> str:
    """Bytes as megabytes, the unit everything here is counted in."""
    return f"{number / 1e6:.1f} MB"


def gigabytes(number: int) -> str:
    """Bytes as gigabytes, for what is compared with disks and memories."""
    return f"{number / 1e9:.1f} GB"


@contextlib.contextmanager
def step(what: str) -> Iterator[list[str]]:
    """Time a step; details appended to the yielded list are printed with its duration."""
    details: list[str] = []
    start = time.perf_counter()
    yield details
    say(f"  {', '.join([what, *details])} ({time.perf_counter() - start:.1f} s)")


class Meter:
    """How far one download is: rewritten in place on a terminal, a plain line every half minute elsewhere."""

    def __init__(self, name: str, total: int | None) -> None:
        self._name, self._total = name, total
        self._terminal = sys.stderr.isatty()
        self._done = self._here = 0
        self._start = self._reported = time.perf_counter()

    def restart(self, done: int, total: int | None) -> None:
        """So many bytes lie on the disk when a connection begins; only what arrives from now on counts for the rate."""
        self._done, self._here, self._total = done, 0, total or self._total
        self._start = time.perf_counter()

    def advance(self, number: int) -> None:
        """So many more bytes arrived."""
        self._done += number
        self._here += number
        now = time.perf_counter()
        if now - self._reported >= (ON_A_TERMINAL if self._terminal else ELSEWHERE):
            self._reported = now
            self._report(now)

    def clear(self) -> None:
        """Leave an empty line on a terminal, for what is said next."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _report(self, now: float) -> None:
        line = f"  {self._name}: {self.describe(now - self._start)}"
        if self._terminal:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        else:
            say(line)

    def describe(self, seconds: float) -> str:
        """Share, bytes, rate and the time that is left at that rate."""
        rate = self._here / seconds if seconds > 0 else 0.0
        if self._total is None:
            return f"{size(self._done)}, {rate / 1e6:.1f} MB/s"
        parts = [
            f"{100 * self._done // self._total} %",
            f"{size(self._done)} of {size(self._total)}",
            f"{rate / 1e6:.1f} MB/s",
        ]
        if rate > 0:
            left = round((self._total - self._done) / rate)
            parts.append(f"{left // 60}:{left % 60:02} left")
        return ", ".join(parts)
