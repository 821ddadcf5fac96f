"""`just bench-gpu`; puts the folders that the command is imported from in place of its own."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHES = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(BENCHES), str(BENCHES / "peers"), str(BENCHES.parent / "export")]

from gpu.run import main  # noqa: E402  (found only now)

if __name__ == "__main__":
    sys.exit(main())
