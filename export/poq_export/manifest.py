"""`manifest.json`: written last, and only for a model that passed its gate. Without it a model is not exported."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .fetch import sha256
from .registry import Model

SCHEMA_VERSION = 1
NAME = "manifest.json"
TOOLS = ("numpy", "onnx", "gguf", "tokenizers", "safetensors")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")  # packages of which one is installed


def write(model: Model, out_dir: Path, figures: dict[str, Any], recipe: dict[str, Any]) -> int:
    """Write it in one step, with the figures of the gate and whatever else was measured; returns the size of its files."""
    files = {name: {"sha256": sha256(out_dir / name), "bytes": (out_dir / name).stat().st_size} for name in model.files}
    content = {
        "schema_version": SCHEMA_VERSION,
        "key": model.key,
        "files": files,
        "artifacts": {artifact.name: artifact.identity() for artifact in model.artifact},
        "recipe": recipe,
        **figures,
        "tools": {"python": platform.python_version(), **_versions()},
    }
    partial = out_dir / f"{NAME}.tmp"
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, out_dir / NAME)
    return sum(entry["bytes"] for entry in files.values())


def is_current(out_dir: Path, recipe: dict[str, Any]) -> bool:
    """Whether the directory holds what the registry, the recipe and the reference ask for, unharmed."""
    try:
        content = json.loads((out_dir / NAME).read_text(encoding="utf-8"))
        return content["recipe"] == recipe and all(
            (out_dir / name).stat().st_size == entry["bytes"] and sha256(out_dir / name) == entry["sha256"]
            for name, entry in content["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _versions() -> dict[str, str]:
    """What made the files, by package."""
    found = {name: version(name) for name in TOOLS}
    for name in RUNTIMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
