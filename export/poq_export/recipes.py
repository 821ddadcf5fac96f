"""What each recipe in the registry stands for: an exporter, a gate and a version."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import checkpoint_decoder, decoder_gate, drift, encoder_gate, encoders, gguf_decoder, quantize
from .registry import Model


@dataclasses.dataclass(frozen=True)
class Recipe:
    """`export` writes the model's files; `check` compares them with a recording and returns the gate's figures.

    What `export` returns, if anything, becomes part of the manifest.

    `drift` measures the 8-bit variant, if the recipe makes one; it refuses nothing.
    """

    version: int
    export: Callable[[Model, dict[str, Path], Path], dict[str, Any] | None]
    check: Callable[[Model, Path, dict[str, Any]], dict[str, Any]]
    drift: Callable[[Model, Path], dict[str, Any]] | None = None

    def measures_drift(self, model: Model) -> bool:
        """Whether the model has an 8-bit variant to measure."""
        return self.drift is not None and quantize.GRAPH in model.files


RECIPES = {
    "gguf_decoder": Recipe(gguf_decoder.VERSION, gguf_decoder.export, decoder_gate.check),
    "checkpoint_decoder": Recipe(checkpoint_decoder.VERSION, checkpoint_decoder.export, decoder_gate.check),
    "bert_encoder": Recipe(encoders.VERSION, encoders.export, encoder_gate.check, drift.report),
    "copy_onnx": Recipe(encoders.VERSION, encoders.export, encoder_gate.check, drift.report),
    "dequantize_onnx": Recipe(encoders.VERSION, encoders.export, encoder_gate.check, drift.report),
}
