"""Progress on stderr; stdout stays free for data."""

from __future__ import annotations

import sys
import time

BEGIN = time.monotonic()


def say(text: str) -> None:
    """One line with the seconds since the start."""
    print(f"bench-peers {time.monotonic() - BEGIN:6.1f} s  {text}", file=sys.stderr, flush=True)
