"""What each recipe in the registry stands for: an exporter, a gate and a version."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import checkpoint_decoder, checkpoint_encoder, decoder_gate, drift, encoder_gate, encoders, gguf_decoder
from .precision import Precision
from .registry import Model
from .target import Target


@dataclasses.dataclass(frozen=True)
class Recipe:
    """`export` writes the model's files; `check` compares them with a recording and returns the gate's figures.

    What `export` returns, if anything, becomes part of the manifest. With `half` it takes a precision as well; `check`
    takes what the model was exported for.

    `drift` measures the variants in fewer bits, if the recipe makes any; it refuses nothing.
    """

    version: int
    export: Callable[..., dict[str, Any] | None]
    check: Callable[[Model, Path, dict[str, Any], Target], dict[str, Any]]
    drift: Callable[[Model, Path], dict[str, Any]] | None = None
    half: bool = False

    def build(self, model: Model, artifacts: dict[str, Path], out_dir: Path, precision: Precision) -> dict[str, Any] | None:
        """Run `export`, in half precision where that is what is wanted."""
        return self.export(model, artifacts, out_dir, *([precision] if precision.is_half else []))

    def measures_drift(self, model: Model) -> bool:
        """Whether the model has a variant in fewer bits to measure."""
        return self.drift is not None and any(variant.GRAPH in model.files for variant in encoders.VARIANTS.values())


RECIPES = {
    "gguf_decoder": Recipe(gguf_decoder.VERSION, gguf_decoder.export, decoder_gate.check),
    "checkpoint_decoder": Recipe(checkpoint_decoder.VERSION, checkpoint_decoder.export, decoder_gate.check, half=True),
    "checkpoint_encoder": Recipe(checkpoint_encoder.VERSION, checkpoint_encoder.export, encoder_gate.check, drift.report),
    "bert_encoder": Recipe(encoders.VERSION, encoders.export, encoder_gate.check, drift.report),
    "copy_onnx": Recipe(encoders.VERSION, encoders.export, encoder_gate.check, drift.report),
    "dequantize_onnx": Recipe(encoders.VERSION, encoders.export, encoder_gate.check, drift.report),
}
