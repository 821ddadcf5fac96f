"""What this machine has free: disks, memory, and the memory of its card."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

NVIDIA_SMI = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]


@dataclasses.dataclass(frozen=True)
class Card:
    """A card and its memory in bytes."""

    name: str
    bytes: int


def existing(path: Path) -> Path:
    """The nearest folder above a path that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def disk_of(path: Path) -> int:
    """Which file system a path is, or will be, on."""
    return existing(path).stat().st_dev


def free_on_disk(path: Path) -> int:
    """Bytes that may be written there."""
    return shutil.disk_usage(existing(path)).free


def available_memory(meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")) -> int | None:
    """Bytes that can be had without swapping, within a container's limit; `None` where the system does not say."""
    lines = _text(meminfo).splitlines()
    available = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    allowed = _text(limit).strip()
    return min(available, int(allowed)) if available is not None and allowed.isdigit() else available


def _text(path: Path) -> str:
    """A file of the system; empty where it is not there."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def largest_card(command: list[str] | None = None) -> Card | None:
    """The card with most memory; `None` where nvidia-smi is missing or does not answer."""
    try:
        answer = subprocess.run(command or NVIDIA_SMI, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    cards = [line.rsplit(",", 1) for line in answer.splitlines() if line.rsplit(",", 1)[-1].strip().isdigit()]
    return max((Card(name.strip(), int(size) << 20) for name, size in cards), key=lambda card: card.bytes, default=None)
