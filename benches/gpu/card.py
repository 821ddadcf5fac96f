"""The card: its name, what it is nominally able to read per second, and how busy it is while something runs."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from types import TracebackType

# Memory bandwidth in GB/s (10^9 bytes) by a part of the name, the longer names first. Source: NVIDIA's data sheets.
NOMINAL_GB_PER_S = (
    ("H200", 4800),
    ("H100 NVL", 3900),
    ("H100 PCIe", 2000),
    ("H100", 3350),
    ("A100-SXM4-40GB", 1555),
    ("A100-PCIE-40GB", 1555),
    ("A100-PCIE-80GB", 1935),
    ("A100", 2039),
    ("L40S", 864),
    ("L4", 300),
    ("A10", 600),
    ("V100", 900),
    ("T4", 320),
    ("RTX 4090", 1008),
    ("RTX 3090 Ti", 1008),
    ("RTX 3090", 936),
)
SAMPLE_MS = 100


@dataclass(frozen=True)
class Card:
    """As nvidia-smi names it."""

    name: str
    driver: str
    memory_mb: int

    @property
    def nominal_gb_per_s(self) -> int | None:
        """From the table above; None for a card that is not in it."""
        return next((speed for part, speed in NOMINAL_GB_PER_S if part in self.name), None)


def find() -> Card | str:
    """The first card, or why there is none."""
    if shutil.which("nvidia-smi") is None:
        return "there is no nvidia-smi on this machine"
    command = ["nvidia-smi", "--id=0", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    parts = [part.strip() for part in done.stdout.strip().split(",")]
    if done.returncode != 0 or len(parts) != 3:
        return (
            f"nvidia-smi names no card: {' '.join((done.stderr or done.stdout).split()) or f'exit code {done.returncode}'}"
        )
    return Card(parts[0], parts[1], int(float(parts[2])))


class Watch:
    """Samples utilisation and memory of the card while the block runs. Raises OSError where there is no nvidia-smi."""

    def __init__(self) -> None:
        # (monotonic seconds, busy share, memory in MiB)
        self.samples: list[tuple[float, float, float]] = []

    def __enter__(self) -> Watch:
        command = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
        command += [f"--loop-ms={SAMPLE_MS}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()

    def _read(self) -> None:
        for line in self.process.stdout:
            try:
                busy, memory = (float(part) for part in line.split(","))
            except ValueError:  # a card that does not tell
                continue
            self.samples.append((time.monotonic(), busy / 100, memory))

    def busy_share(self, begin: float, end: float) -> float | None:
        """Mean over a stretch of monotonic time; None without a sample."""
        busy = [share for at, share, _ in self.samples if begin <= at <= end]
        return sum(busy) / len(busy) if busy else None

    def peak_memory_mb(self) -> float | None:
        """Most memory in use, everybody's."""
        return max((memory for _, _, memory in self.samples), default=None)
