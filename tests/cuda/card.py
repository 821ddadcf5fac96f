"""A pretended card: stand-ins for CUDA's libraries, and what they counted.

ONNX Runtime's own CUDA provider runs on them, but nothing is computed: what it decides, allocates, binds, copies and launches
is real, what comes out is not.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Name of the library, source, flags. ONNX Runtime asks most of them for symbols of a version named like the library.
LIBRARIES = (
    ("libcudart.so.13", "cudart.c", ("-pthread",)),
    ("libcublas.so.13", "cublas.c", ()),
    ("libcublasLt.so.13", "cublas.c", ("-DLT",)),
    ("libcurand.so.10", None, ()),
    ("libcuda.so.1", "driver.c", ()),
    ("libcudnn.so.9", "cudnn.c", ()),
)
UNVERSIONED = ("libcuda.so.1", "libcudnn.so.9", "libcurand.so.10")
COUNTS = ("refused", "uploads", "downloads", "downloaded", "copies_within", "launches", "graphs", "hazards")


def build(folder: Path) -> Path:
    """Compile the libraries into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "empty.c"
    empty.write_text("int nothing_of_curand;\n", encoding="utf-8")
    for name, source, flags in LIBRARIES:
        command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", *flags, f"-Wl,-soname,{name}"]
        if name not in UNVERSIONED:
            script = folder / f"{name}.map"
            script.write_text(f"{name} {{ global: *; }};\n", encoding="utf-8")
            command.append(f"-Wl,--version-script={script}")
        subprocess.run([*command, "-o", str(folder / name), str(HERE / source if source else empty)], check=True)
    return folder


@dataclass(frozen=True)
class Counts:
    """Of all processes that used the card."""

    refused: int
    uploads: int
    downloads: int
    downloaded: int
    copies_within: int
    launches: int
    graphs: int
    hazards: int
    peak: int
    kernels: dict[str, int]

    @classmethod
    def of(cls, reports: Iterable[dict[str, Any]]) -> Counts:
        """Sums, but for the peak."""
        reports = list(reports)
        kernels: dict[str, int] = {}
        for report in reports:
            for name, launches in report["kernels"].items():
                kernels[name] = kernels.get(name, 0) + launches
        sums = {name: sum(report[name] for report in reports) for name in COUNTS}
        return cls(**sums, peak=max((report["peak"] for report in reports), default=0), kernels=kernels)

    def launched(self, part: str) -> int:
        """Launches of kernels with this in their (mangled) name."""
        return sum(launches for name, launches in self.kernels.items() if part in name)


class Card:
    """A card with so much memory, for the programs that are given its environment."""

    def __init__(self, libraries: Path, reports: Path, megabytes: int = 1024, **settings: int) -> None:
        reports.mkdir(parents=True, exist_ok=True)
        self.reports = reports
        self.environment = os.environ | {
            "LD_LIBRARY_PATH": str(libraries),
            "POQ_CARD_MB": str(megabytes),
            "POQ_CARD_REPORT": str(reports),
        }
        self.environment |= {f"POQ_CARD_{name.upper()}": str(value) for name, value in settings.items()}

    def counts(self) -> Counts:
        """What was done since the last call."""
        found = sorted(self.reports.glob("*.json"))
        counts = Counts.of(json.loads(path.read_text(encoding="utf-8")) for path in found)
        for path in found:
            path.unlink()
        return counts
