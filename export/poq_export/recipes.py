"""What each recipe in the registry stands for: an exporter, a gate and a version."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import decoder_gate, encoder_gate, encoders, gguf_decoder
from .registry import Model


@dataclasses.dataclass(frozen=True)
class Recipe:
    """`export` writes the model's files; `check` compares them with a recording and returns the gate's figures."""

    version: int
    export: Callable[[Model, dict[str, Path], Path], None]
    check: Callable[[Model, Path, dict[str, Any]], dict[str, Any]]


RECIPES = {
    "gguf_decoder": Recipe(gguf_decoder.VERSION, gguf_decoder.export, decoder_gate.check),
    "bert_encoder": Recipe(1, encoders.export, encoder_gate.check),
    "copy_onnx": Recipe(1, encoders.export, encoder_gate.check),
    "dequantize_onnx": Recipe(1, encoders.export, encoder_gate.check),
}
