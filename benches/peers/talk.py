"""Progress on stderr; stdout stays free for data."""

from __future__ import annotations

import sys
import time

BEGIN = time.monotonic()


def say(text: str, command: str = "bench-peers") -> None:
    """One line with the seconds since the start."""
    print(f"{command} {time.monotonic() - BEGIN:6.1f} s  {text}", file=sys.stderr, flush=True)
