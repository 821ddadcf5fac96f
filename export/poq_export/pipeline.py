"""One model after another: fetch, build, compare with the reference, and only then declare it exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import drift, drift_inputs, manifest
from .fetch import fetch, sha256
from .progress import size, step
from .recipes import RECIPES
from .registry import Model, RegistryError
from .wheels import WheelStore

REFERENCES = Path(__file__).resolve().parent.parent / "references"


def describe(model: Model) -> dict[str, Any]:
    """Everything that decides what the export comes out as; a manifest with the same description is current."""
    if model.export.recipe not in RECIPES:
        raise RegistryError(f"model `{model.key}`: recipe `{model.export.recipe}` is not one of {', '.join(RECIPES)}")
    recipe = RECIPES[model.export.recipe]
    description = {
        "name": model.export.recipe,
        "version": recipe.version,
        "registry_entry": model.export_hash(),
        "reference": sha256(reference_path(model)),
    }
    if recipe.measures_drift(model):
        description["drift_inputs"] = drift_inputs.digest()
    return description


def reference_path(model: Model) -> Path:
    """The recording the gate compares with; without one a model cannot be exported."""
    path = REFERENCES / f"{model.key}.json"
    if not path.exists():
        raise RegistryError(f"model `{model.key}`: no reference recorded, export/references/{path.name} is missing")
    return path


def is_current(model: Model, models_dir: Path) -> bool:
    """Whether there is nothing to do."""
    return manifest.is_current(models_dir / model.key, describe(model))


def export(model: Model, models_dir: Path, cache: Path, wheels: WheelStore) -> None:
    """Leave a checked model with its manifest, or no manifest at all."""
    recipe, out_dir = RECIPES[model.export.recipe], models_dir / model.key
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / manifest.NAME).unlink(missing_ok=True)
    artifacts = fetch(model, models_dir, cache, wheels)
    with step(f"built with {model.export.recipe}") as details:
        figures = recipe.export(model, artifacts, out_dir) or {}
        details.append(size(sum((out_dir / name).stat().st_size for name in model.files)))
    with step("passed the parity gate") as details:
        gate = recipe.check(model, out_dir, json.loads(reference_path(model).read_text(encoding="utf-8")))
        details += [f"{name} {value:.3g}" for name, value in gate.items() if isinstance(value, float)]
    if recipe.measures_drift(model):
        with step("measured the graphs in fewer bits against f32") as details:
            figures["drift"] = recipe.drift(model, out_dir)
            details += drift.summary(figures["drift"])
    manifest.write(model, out_dir, {"gate": gate} | figures, describe(model))
