"""What this machine has free: disks, memory, and the memory of its card."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

FIELDS = "name,driver_version,compute_cap,memory.total"
NVIDIA_SMI = ["nvidia-smi", f"--query-gpu={FIELDS}", "--format=csv,noheader,nounits"]


@dataclasses.dataclass(frozen=True)
class Card:
    """A card, its memory in bytes, its driver and its compute capability; `None` for what nvidia-smi does not know."""

    name: str
    bytes: int
    driver: str | None = None
    capability: tuple[int, int] | None = None


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
    cards = filter(None, map(_card, answer.splitlines()))
    return max(cards, key=lambda card: card.bytes, default=None)


def _card(line: str) -> Card | None:
    """One line of nvidia-smi's; a name may hold a comma."""
    found = re.fullmatch(r"(.+), ([^,]+), ([^,]+), (\d+)", line.strip())
    if found is None:
        return None
    name, driver, capability, megabytes = found.groups()
    numbers = re.fullmatch(r"(\d+)\.(\d+)", capability)
    return Card(
        name, int(megabytes) << 20, driver if re.match(r"\d+\b", driver) else None,
        (int(numbers[1]), int(numbers[2])) if numbers else None,
    )  # fmt: skip
