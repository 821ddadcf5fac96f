"""One model after another: fetch, build, compare with the reference, and only then declare it exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import drift, drift_inputs, half, manifest, providers, recording, references
from .fetch import fetch, sha256
from .progress import size, step
from .providers import ProviderError
from .recipes import RECIPES
from .registry import Model, RegistryError
from .target import CPU, Target
from .wheels import WheelStore

RECORDED_HERE = "recorded on the exporting machine"


def describe(model: Model, target: Target = CPU) -> dict[str, Any]:
    """Everything that decides what the export comes out as; a manifest with the same description is current."""
    if model.export.recipe not in RECIPES:
        raise RegistryError(f"model `{model.key}`: recipe `{model.export.recipe}` is not one of {', '.join(RECIPES)}")
    recipe = RECIPES[model.export.recipe]
    if target.precision.is_half and not recipe.half:
        raise RegistryError(f"model `{model.key}`: `cuda_precision` is not for the recipe `{model.export.recipe}`")
    committed = references.committed(model)
    description = {
        "name": model.export.recipe,
        "version": recipe.version,
        "registry_entry": model.export_hash(),
        "reference": sha256(committed) if committed.exists() else RECORDED_HERE,
    }
    if target.precision.is_half:
        description |= {"provider": target.provider, "precision": target.precision.name}
    elif target.provider == "cuda" and half.GRAPH in model.files:
        description["provider"] = target.provider  # its gate ran one graph more
    if recipe.measures_drift(model):
        description["drift_inputs"] = drift_inputs.digest()
    return description


def is_current(model: Model, models_dir: Path, provider: str = "cpu") -> bool:
    """Whether there is nothing to do. An evaluator whose gate ran on a card as well serves every provider."""
    target = Target.of(model, provider)
    descriptions = [describe(model, target)]
    if not gate_needs_card(model, provider) and model.architecture != "decoder":
        descriptions.append(describe(model, Target("cuda")))
    return any(manifest.is_current(target.directory(model, models_dir), description) for description in descriptions)


def gate_needs_card(model: Model, provider: str) -> bool:
    """Whether the parity gate runs a graph on a GPU."""
    target = Target.of(model, provider)
    return target.precision.is_half or (target.provider == "cuda" and half.GRAPH in model.files)


def check_machine(model: Model, models_dir: Path, provider: str) -> None:
    """Before anything is fetched: what the gate needs and this machine lacks."""
    if gate_needs_card(model, provider):
        providers.check(Target.of(model, provider).provider)
    recording.check_installed(model, models_dir, provider)


def export(model: Model, models_dir: Path, cache: Path, wheels: WheelStore, provider: str = "cpu") -> None:
    """Leave a checked model with its manifest, or no manifest at all."""
    target, recipe = Target.of(model, provider), RECIPES[model.export.recipe]
    out_dir, description = target.directory(model, models_dir), describe(model, target)
    check_machine(model, models_dir, provider)
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / manifest.NAME).unlink(missing_ok=True)
    artifacts = fetch(model, models_dir, cache, wheels)
    with step(f"built with {model.export.recipe} in {target.precision.name}") as details:
        figures = recipe.build(model, artifacts, out_dir, target.precision) or {}
        details.append(size(sum((out_dir / name).stat().st_size for name in model.files)))
    reference = recording.of(model, artifacts, out_dir, target, references.committed(model))
    with step(f"passed the parity gate on {target.provider}") as details:
        try:
            gate = recipe.check(model, out_dir, reference, target)
        except Exception as error:
            if not (gate_needs_card(model, provider) and providers.is_out_of_memory(error)):
                raise
            raise ProviderError(
                f"memory ran out in the gate of model `{model.key}` on {target.provider}: end what else uses the card "
                f"(`nvidia-smi` lists it), or take a larger one ({error})"
            ) from None
        details += [f"{name} {value:.3g}" for name, value in gate.items() if isinstance(value, float)]
    if recipe.measures_drift(model):
        with step("measured the graphs in fewer bits against f32") as details:
            figures["drift"] = recipe.drift(model, out_dir)
            details += drift.summary(figures["drift"])
    made_for = {"provider": target.provider, "precision": target.precision.name}
    manifest.write(model, out_dir, made_for | {"gate": gate} | figures, description)
