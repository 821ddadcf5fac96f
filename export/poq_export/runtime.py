"""ONNX Runtime's shared library and what it needs, taken out of a provider's wheel for the Rust engine to load.

Uses nothing but the standard library and pip, so that a machine which only runs the tests needs no more than that.
"""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

from . import elf
from .progress import size, step
from .registry import Runtime, RuntimePackage
from .wheels import WheelError, WheelStore

LIBRARY = "libonnxruntime.so"
SHARED = "libonnxruntime_providers_shared.so"
# What is opened by name while running, per provider. The loader asks for the rest: it is followed from these.
ROOTS = {
    "cpu": [LIBRARY, SHARED],
    "openvino": [LIBRARY, SHARED, "libonnxruntime_providers_openvino.so", "libopenvino_intel_cpu_plugin.so"],
    "cuda": [LIBRARY, SHARED, "libonnxruntime_providers_cuda.so"],
}


def extract(runtime: Runtime, provider: str, models_dir: Path, wheels: WheelStore, force: bool) -> None:
    """Put the libraries of one provider into `models/runtime/` (cpu) or `models/runtime-<provider>/`."""
    package = runtime.of(provider)
    folder = models_dir / folder_name(provider)
    stamp = folder / "version.txt"
    if not force and is_current(package, provider, models_dir):
        return
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    path = wheels.request(package.package, package.version).result()
    with step(f"extracted the runtime for {provider}") as details:
        written = take_libraries(path, ROOTS[provider], folder)
        for left_over in folder.glob("lib*.so*"):  # of another version, or of a run that was killed
            if left_over.name not in written:
                left_over.unlink()
        details += [f"{len(written)} libraries", size(sum((folder / name).stat().st_size for name in written))]
    stamp.write_text(stamp_of(package))


def is_current(package: RuntimePackage, provider: str, models_dir: Path) -> bool:
    """Whether the libraries of that very package are in place."""
    folder = models_dir / folder_name(provider)
    stamp = folder / "version.txt"
    return (folder / LIBRARY).exists() and stamp.exists() and stamp.read_text() == stamp_of(package)


def stamp_of(package: RuntimePackage) -> str:
    """What is noted beside the libraries."""
    return f"{package.package}=={package.version}\n"


def folder_name(provider: str) -> str:
    """Where a provider's libraries lie below `models/`."""
    return "runtime" if provider == "cpu" else f"runtime-{provider}"


def take_libraries(wheel_path: Path, roots: list[str], folder: Path) -> set[str]:
    """Extract the roots and whatever they need of the same wheel; returns the names written.

    A wheel may hold a library several times, under its plain name, its version and its soname. It is taken once, under
    the name that the loader asks for. What a library needs from elsewhere, such as libc or CUDA's libraries, is not here.
    """
    with zipfile.ZipFile(wheel_path) as wheel:
        members = {name.rsplit("/", 1)[-1]: name for name in wheel.namelist() if re.search(r"/lib[^/]*\.so[.\d]*$", name)}
        plain = {library_name(name): name for name in members}
        if missing := [root for root in roots if root not in plain]:
            raise WheelError(f"{wheel_path.name} carries no {missing[0]}; poq runs on Linux wheels")
        due = {root: members[root if root in members else plain[root]] for root in roots}
        written: set[str] = set()
        while due:
            name, member = due.popitem()
            content = wheel.read(member)
            partial = folder / f"{name}.tmp"
            partial.write_bytes(content)
            os.replace(partial, folder / name)
            written.add(name)
            due |= {other: members[other] for other in elf.needed(content) if other in members and other not in written}
    return written


def library_name(member: str) -> str:
    """`…/libonnxruntime.so.1.31.1` → `libonnxruntime.so`."""
    return re.sub(r"\.so[.\d]*$", ".so", member.rsplit("/", 1)[-1])
