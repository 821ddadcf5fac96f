"""Plain progress lines on stderr: what happened, how big it was and how long it took."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator


def say(line: str) -> None:
    """One line, at once."""
    print(line, file=sys.stderr, flush=True)


def size(number: int) -> str:
    """Bytes as megabytes, the unit everything here is counted in."""
    return f"{number / 1e6:.1f} MB"


@contextlib.contextmanager
def step(what: str) -> Iterator[list[str]]:
    """Time a step; details appended to the yielded list are printed with its duration."""
    details: list[str] = []
    start = time.perf_counter()
    yield details
    say(f"  {', '.join([what, *details])} ({time.perf_counter() - start:.1f} s)")
