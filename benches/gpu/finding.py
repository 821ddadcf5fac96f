"""What the command finds on a machine: a poq binary, ONNX Runtime for the device, a Python with the peers, a card.

Nothing here needs the network. What is missing is said once, as the reason of every cell that wanted it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from process import Unavailable
from settings import REPOSITORY

BINARY = REPOSITORY / "target/release/poq"
RUNTIMES = {"cuda": "runtime-cuda", "cpu": "runtime"}
PROBE = """
import importlib.metadata, importlib.util, json, pathlib
found = {}
for package in ("torch", "transformers", "sentence-transformers", "vllm"):
    try:
        found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        pass
spec = importlib.util.find_spec("nvidia")
places = list(spec.submodule_search_locations) if spec else []
folders = {str(library.parent) for place in places for library in pathlib.Path(place).glob("*/lib/lib*.so*")}
print(json.dumps({"packages": found, "libraries": sorted(folders)}))
"""


@dataclass(frozen=True)
class Place:
    """Where things are looked for."""

    device: str
    poq: Path | None
    models: Path
    python: str
    wheels: Path | None


def install_wheels(wheels: Path, site: Path) -> list[str]:
    """Unpack the wheels of a folder into a place of their own, in front of what is installed; returns what went wrong."""
    failures = []
    for wheel in sorted(wheels.glob("*.whl")):
        # That of ONNX Runtime holds libraries for poq; as a package it would stand in the way of the one that exports.
        if wheel.name.startswith("onnxruntime"):
            continue
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade", "--target"]
        done = subprocess.run([*command, str(site), str(wheel)], capture_output=True, text=True)
        if done.returncode != 0:
            failures.append(f"{wheel.name} cannot be installed: {last_line(done.stderr)}")
    sys.path.insert(0, str(site))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    return failures


def binary(place: Place) -> Path:
    """The binary that was named; else what cargo builds, where there is cargo; else the one that lies in `target`."""
    if place.poq:
        if place.poq.exists():
            return place.poq.resolve()
        raise Unavailable(f"there is no `{place.poq}`")
    if shutil.which("cargo"):
        command = ["cargo", "build", "--release", "--locked"]
        if subprocess.run(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode == 0:
            return BINARY
        raise Unavailable("`cargo build --release --locked` failed")
    if BINARY.exists():
        return BINARY
    raise Unavailable(f"there is neither cargo nor `{BINARY.relative_to(REPOSITORY)}`; --poq names a binary")


def runtime(place: Place) -> Path:
    """The folder with ONNX Runtime for the device; where it is missing, it is taken out of the wheel."""
    folder = place.models / RUNTIMES[place.device]
    if (folder / "libonnxruntime.so").exists():
        return folder
    command = [sys.executable, "-m", "poq_export", "--runtime-only", "--provider", place.device]
    command += ["--models-dir", str(place.models)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "export"), os.environ.get("PYTHONPATH", "")])
    }
    if place.wheels:
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(place.wheels.resolve())}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unavailable(f"there is no `{folder}`, and it cannot be made: {last_line(done.stdout + done.stderr)}")
    return folder


@dataclass(frozen=True)
class Python:
    """What the Python of the peers has: versions of packages, and folders of CUDA's libraries, which torch brings along."""

    packages: dict[str, str]
    libraries: list[str]


def probe(place: Place) -> Python:
    """Ask the Python of the peers."""
    try:
        done = subprocess.run([place.python, "-c", PROBE], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as error:
        raise Unavailable(f"the Python of the peers cannot be started: {error}") from None
    if done.returncode != 0:
        raise Unavailable(f"the Python of the peers does not work: {last_line(done.stderr)}")
    return Python(**json.loads(done.stdout))


def last_line(text: str) -> str:
    """Where programs say what went wrong."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")
