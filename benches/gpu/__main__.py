"""`just bench-gpu`; puts the folders that the command is imported from in place of its own."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHES = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(BENCHES), str(BENCHES / "peers"), str(BENCHES.parent / "export")]

from gpu.arguments import folder, parse_arguments  # noqa: E402  (found only now)
from gpu.finding import install_wheels  # noqa: E402
from talk import say  # noqa: E402


def main() -> int:
    """Packages first, then what needs them. Exit code 2 if some are missing."""
    arguments = parse_arguments()
    if arguments.wheels:
        for failure in install_wheels(arguments.wheels, folder(arguments) / "site"):
            say(failure, "bench-gpu")
    try:
        from gpu import run
    except ImportError as error:
        say(f"error: {error}: this Python lacks what export/requirements.txt names", "bench-gpu")
        say("hint: `--wheels DIR` installs from a folder; nothing is fetched", "bench-gpu")
        return 2
    return run.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
