"""What it was measured on, as the page and every row say it."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess

from settings import REPOSITORY

from .card import Card
from .ours import Poq
from .plan import Scale


def facts(card: Card | None, scale: Scale, new_tokens: int, poq: Poq | str) -> dict[str, str]:
    """Card, driver, machine, commit and sizes."""
    found = {"card": card.name if card else "a CPU"}
    if card:
        found |= {"driver": card.driver, "device memory": f"{card.memory_mb} MiB"}
    found |= {"cores": str(len(os.sched_getaffinity(0))), "system": f"{platform.system()} {platform.release()}"}
    found |= {"Python": platform.python_version(), "poq": f"{poq if isinstance(poq, str) else poq.version}, {commit()}"}
    return found | {"scale": scale.name, "new tokens of every answer": str(new_tokens), "date": today()}


def commit() -> str:
    """The commit that is checked out, and whether files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    except OSError:
        return "no git here"
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "not a git checkout"


def today() -> str:
    """The day, in UTC."""
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"
