"""What a gate compares with: the committed recording, or one made on this machine right before the gate.

Recording needs torch and transformers. Both are imported by a process of their own, so that the reference and the
exported graph are never in memory together. What it recorded stays beside the exported files for the next time.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import importlib.util
import json
import multiprocessing
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from . import references
from .fetch import sha256
from .progress import step
from .registry import Model
from .target import Target

NAME = "reference.json"
HERE = Path(__file__).resolve().parent.parent
INPUTS = {"decoder": "reference_inputs.py"}
OTHER_INPUTS = "reference_texts.py"
INSTALL = {  # by provider
    "cpu": "python -m pip install -r export/requirements-reference.txt",
    "cuda": "python -m pip install -r export/requirements-cuda.txt",
}


class RecordingError(Exception):
    """There is no recording, and none could be made."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What the recording process is told."""

    model: Model
    files: dict[str, Path]
    target: Target


def held(model: Model) -> dict[str, str]:
    """What a recording is tied to: the hash of each artifact, or the pinned place where the hub has it."""
    return {artifact.name: artifact.sha256 or str(artifact.source[0]) for artifact in model.artifact}


def of(model: Model, files: dict[str, Path], out_dir: Path, target: Target, committed: Path) -> dict[str, Any]:
    """The recording for a model: committed, kept from the last time, or made now."""
    if committed.exists():
        return json.loads(committed.read_text(encoding="utf-8"))
    if (found := kept(model, out_dir, target)) is not None:
        return found
    with step("recorded what the reference answers"):
        content = {"key": model.key} | tied_to(model, target) | _recorded(Request(model, files, target))
    path = out_dir / NAME
    partial = path.with_name(f"{NAME}.tmp")
    partial.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return content


def kept(model: Model, out_dir: Path, target: Target) -> dict[str, Any] | None:
    """What was recorded here the last time, if it is of the same weights and for the same purpose."""
    try:
        found = json.loads((out_dir / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fits = isinstance(found, dict) and all(found.get(name) == value for name, value in tied_to(model, target).items())
    return found if fits else None


def tied_to(model: Model, target: Target) -> dict[str, dict[str, str]]:
    """What a recording says of itself, and is held to when it is used again."""
    return {"artifacts": held(model), "recorded_for": purpose(model, target)}


def is_to_be_made(model: Model, models_dir: Path, provider: str) -> bool:
    """Whether an export of this model would have to record its reference, which takes torch."""
    target = Target.of(model, provider)
    return not references.is_committed(model) and kept(model, target.directory(model, models_dir), target) is None


def lacks(model: Model) -> list[str]:
    """The packages that recording this model needs and that are not installed."""
    needed = ["torch", "transformers"] + (["sentence_transformers"] if model.architecture == "bi_encoder" else [])
    return [name for name in needed if importlib.util.find_spec(name) is None]


def purpose(model: Model, target: Target) -> dict[str, str]:
    """What, beside the weights, decides what a recording says."""
    inputs = sha256(HERE / INPUTS.get(model.architecture, OTHER_INPUTS))
    if model.architecture != "decoder":
        return {"provider": "cpu", "precision": "f32", "inputs": inputs}
    return {"provider": target.provider, "precision": target.precision.name, "inputs": inputs}


def check_installed(model: Model, models_dir: Path, provider: str) -> None:
    """Before anything is fetched: an error if a recording would have to be made and cannot."""
    if is_to_be_made(model, models_dir, provider) and (absent := lacks(model)):
        raise RecordingError(
            f"model `{model.key}` has no committed recording, so its gate asks the reference implementation on this "
            f"machine, which needs {' and '.join(absent)}: {INSTALL[Target.of(model, provider).provider]}"
        )


def _recorded(request: Request) -> dict[str, Any]:
    """Ask a process that ends with its answer."""
    import record_for_gate  # beside the package: it belongs to what needs torch

    context = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(record_for_gate.record, request).result()
    except SystemExit as refusal:  # how the recording scripts end where they cannot go on
        raise RecordingError(f"recording model `{request.model.key}`: {refusal}") from None
    except ModuleNotFoundError as error:
        needed = INSTALL[request.target.provider]
        raise RecordingError(f"recording model `{request.model.key}` needs {error.name}: {needed}") from None
    except BrokenProcessPool:
        raise RecordingError(
            f"the process that recorded model `{request.model.key}` was killed: the reference needs the memory of all its "
            f"weights in {request.target.precision.name}"
        ) from None
