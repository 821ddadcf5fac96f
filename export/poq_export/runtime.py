"""ONNX Runtime's shared library, taken out of its wheel for the Rust engine to load.

Uses nothing but the standard library and pip, so that a machine which only runs the tests needs no more than that.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from pathlib import Path

from .progress import size, step
from .registry import Runtime
from .wheels import WheelError, WheelStore

LIBRARY = "libonnxruntime.so"


def extract(runtime: Runtime, models_dir: Path, wheels: WheelStore, force: bool) -> None:
    """Put `libonnxruntime.so` (and its provider libraries, if the wheel has any) into `models/runtime/`."""
    folder = models_dir / "runtime"
    stamp = folder / "version.txt"
    wanted = f"{runtime.package}=={runtime.version}\n"
    if not force and (folder / LIBRARY).exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    path = wheels.request(runtime.package, runtime.version).result()
    with step(f"extracted {LIBRARY}") as details, zipfile.ZipFile(path) as wheel:
        members = [name for name in wheel.namelist() if re.search(r"/capi/libonnxruntime\w*\.so[.\d]*$", name)]
        if not any(_library_name(name) == LIBRARY for name in members):
            raise WheelError(f"{path.name} carries no {LIBRARY}; poq runs on Linux wheels of {runtime.package}")
        for member in members:
            partial = folder / f"{_library_name(member)}.tmp"
            with wheel.open(member) as source, partial.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.replace(partial, folder / _library_name(member))
        details.append(size((folder / LIBRARY).stat().st_size))
    stamp.write_text(wanted)


def _library_name(member: str) -> str:
    """`…/libonnxruntime.so.1.31.1` → `libonnxruntime.so`."""
    return re.sub(r"\.so[.\d]*$", ".so", member.rsplit("/", 1)[-1])
