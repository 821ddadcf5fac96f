"""Recipe `gguf_decoder`: a decoder graph straight from a GGUF file, no modelling library involved."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Kind

from . import gguf_tokenizer
from .blocks import Blocks, unpack
from .decoder_graph import Architecture, DecoderGraph, Layer, Rotary
from .gguf_file import GgufError, GgufFile
from .graph import EXTERNAL_DATA
from .precision import converted
from .registry import Model

# Raise it when the exported files would come out differently from the same artifacts.
VERSION = 2


@dataclasses.dataclass(frozen=True)
class Family:
    """What tells one llama-like family from another, beyond the numbers in the metadata."""

    interleaved_rotary: bool  # the converter to GGUF reorders llama's query and key rows so that pairs are neighbours
    attention_bias: bool


FAMILIES = {
    "llama": Family(interleaved_rotary=True, attention_bias=False),
    "qwen2": Family(interleaved_rotary=False, attention_bias=True),
}


class GgufTensors:
    """The tensors of a GGUF file, dequantised or as they are."""

    def __init__(self, file: GgufFile, keep_blocks: bool) -> None:
        self._file = file
        self._keep_blocks = keep_blocks

    def names(self) -> set[str]:
        """Every tensor in the file."""
        return self._file.tensor_names()

    def rows(self, name: str) -> int:
        """The first dimension of a tensor."""
        return self._file.blocks(name)[1].shape[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor."""
        return self._file.shape(name)

    def values(self, name: str) -> np.ndarray:
        """A tensor in f32, shape [rows, columns] or [columns]."""
        return self._file.values(name)

    def pieces(self, name: str, dtype: np.dtype) -> Iterator[np.ndarray]:
        """A whole tensor."""
        yield converted(self.values(name), dtype, name)

    def blocks(self, name: str) -> Blocks | None:
        """A quantised matrix, if its blocks are to be kept."""
        kind, data = self._file.blocks(name)
        if not self._keep_blocks or kind in (Kind.F32, Kind.F16, Kind.BF16):
            return None
        return unpack(kind, data)


def export(model: Model, artifacts: dict[str, Path], out_dir: Path) -> None:
    """Write `model.onnx`, `tokenizer.json` and the chat template."""
    file = GgufFile(artifacts["weights.gguf"])
    if model.export.quantization not in ("none", "keep"):
        raise GgufError(f"quantization `{model.export.quantization}` is neither `none` nor `keep`")
    architecture = read_architecture(file)
    tensors = GgufTensors(file, keep_blocks=model.export.quantization == "keep")
    check_tensors(architecture, tensors)
    builder = DecoderGraph(architecture, tensors, share_table=False)
    builder.build()
    builder.graph.save(out_dir / "model.onnx", external=EXTERNAL_DATA in model.files)
    gguf_tokenizer.build(file).save(str(out_dir / "tokenizer.json"))
    (out_dir / model.decoder.chat_template).write_text(file.require("tokenizer.chat_template"), encoding="utf-8")


def read_architecture(file: GgufFile) -> Architecture:
    """From the metadata keys that start with the family's name."""
    name = file.require("general.architecture")
    if name not in FAMILIES:
        raise GgufError(f"architecture `{name}` is not one of {', '.join(FAMILIES)}")
    hidden, heads = file.require(f"{name}.embedding_length"), file.require(f"{name}.attention.head_count")
    head_size = file.get(f"{name}.attention.key_length", hidden // heads)
    return Architecture(
        layers=(Layer(),) * file.require(f"{name}.block_count"),
        hidden=hidden,
        heads=heads,
        kv_heads=file.get(f"{name}.attention.head_count_kv", heads),
        head_size=head_size,
        positions=file.require(f"{name}.context_length"),
        epsilon=file.require(f"{name}.attention.layer_norm_rms_epsilon"),
        rotary={"rotary": Rotary.plain(file.get(f"{name}.rope.freq_base", 10000.0), head_size)},
        interleaved_rotary=FAMILIES[name].interleaved_rotary,
        attention_bias=FAMILIES[name].attention_bias,
    )


def check_tensors(architecture: Architecture, tensors: GgufTensors) -> None:
    """A tensor this recipe would ignore (a rope factor, a query norm) means another model: refuse it by name."""
    if unknown := sorted(tensors.names() - architecture.tensor_names()):
        raise GgufError(f"tensor `{unknown[0]}` is not part of what this recipe builds")
