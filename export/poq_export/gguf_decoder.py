"""Recipe `gguf_decoder`: a decoder graph straight from a GGUF file, no modelling library involved.

The graph's inputs and outputs are those of the hub's own ONNX exports plus `logits_index`: only one position per row
goes through the language model head, and through the last layer's feed-forward block, because the prompt pass would
otherwise spend most of its time on logits nobody reads.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from . import gguf_tokenizer
from .gguf_file import GgufError, GgufFile
from .graph import EXTERNAL_DATA, MICROSOFT, GraphBuilder, TensorProto
from .linear import Linear
from .registry import Model

# Raise it when the exported files would come out differently from the same artifacts.
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What tells one llama-like family from another, beyond the numbers in the metadata."""

    interleaved_rotary: bool  # the converter to GGUF reorders llama's query and key rows so that pairs are neighbours
    attention_bias: bool


ARCHITECTURES = {
    "llama": Architecture(interleaved_rotary=True, attention_bias=False),
    "qwen2": Architecture(interleaved_rotary=False, attention_bias=True),
}


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """The numbers in the metadata."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    context: int
    epsilon: float
    rotary_base: float

    @classmethod
    def read(cls, file: GgufFile, family: str) -> Dimensions:
        """From the keys that start with the family's name."""
        hidden, heads = file.require(f"{family}.embedding_length"), file.require(f"{family}.attention.head_count")
        return cls(
            layers=file.require(f"{family}.block_count"),
            hidden=hidden,
            heads=heads,
            kv_heads=file.get(f"{family}.attention.head_count_kv", heads),
            head_size=file.get(f"{family}.attention.key_length", hidden // heads),
            context=file.require(f"{family}.context_length"),
            epsilon=file.require(f"{family}.attention.layer_norm_rms_epsilon"),
            rotary_base=file.get(f"{family}.rope.freq_base", 10000.0),
        )


def export(model: Model, artifacts: dict[str, Path], out_dir: Path) -> None:
    """Write `model.onnx`, `tokenizer.json` and the chat template."""
    file = GgufFile(artifacts["weights.gguf"])
    if model.export.quantization not in ("none", "keep"):
        raise GgufError(f"quantization `{model.export.quantization}` is neither `none` nor `keep`")
    builder = DecoderGraph(file, keep_blocks=model.export.quantization == "keep")
    builder.build()
    builder.graph.save(out_dir / "model.onnx", external=EXTERNAL_DATA in model.files)
    gguf_tokenizer.build(file).save(str(out_dir / "tokenizer.json"))
    (out_dir / model.decoder.chat_template).write_text(file.require("tokenizer.chat_template"), encoding="utf-8")


class DecoderGraph:
    """Builds the graph layer by layer."""

    def __init__(self, file: GgufFile, keep_blocks: bool) -> None:
        family = file.require("general.architecture")
        if family not in ARCHITECTURES:
            raise GgufError(f"architecture `{family}` is not one of {', '.join(ARCHITECTURES)}")
        self.graph = GraphBuilder()
        self._family = ARCHITECTURES[family]
        self._dims = Dimensions.read(file, family)
        self._file = file
        self._linear = Linear(self.graph, file, keep_blocks)
        self._check_tensors()

    def build(self) -> None:
        """All nodes, from token ids to the logits of one position per row."""
        graph, dims = self.graph, self._dims
        ids = graph.input("input_ids", TensorProto.INT64, ["batch", "sequence"])
        mask = graph.input("attention_mask", TensorProto.INT64, ["batch", "total_sequence"])
        index = graph.input("logits_index", TensorProto.INT64, ["batch"])
        self._position = graph.op("Unsqueeze", [index, graph.integers([1, 2])])
        self._lengths(mask)
        self._rotary_tables()
        residual = self._linear.embedding("token_embd.weight", ids)
        normed = self._norm("blk.0.attn_norm.weight", residual)
        for layer in range(dims.layers):
            attended = self._attention(layer, normed)
            if layer == dims.layers - 1:
                attended, residual = self._wanted_position(attended), self._wanted_position(residual)
            attended = self._linear.multiply(attended, [f"blk.{layer}.attn_output.weight"])
            normed, residual = self._add_and_norm(f"blk.{layer}.ffn_norm.weight", residual, attended)
            following = f"blk.{layer + 1}.attn_norm.weight" if layer + 1 < dims.layers else "output_norm.weight"
            normed, residual = self._add_and_norm(following, residual, self._feed_forward(layer, normed))
        if "output.weight" in self._file.tensor_names():
            logits = self._linear.multiply(normed, ["output.weight"])
        else:
            logits = self._linear.tied_head("token_embd.weight", normed)
        graph.op("Identity", [logits], ["logits"])
        graph.output("logits", TensorProto.FLOAT, ["batch", 1, self._file.blocks("token_embd.weight")[1].shape[0]])
        for layer in range(dims.layers):
            for part in ("key", "value"):
                cache = ["batch", dims.kv_heads, "total_sequence", dims.head_size]
                graph.output(f"present.{layer}.{part}", TensorProto.FLOAT, cache)

    def _lengths(self, mask: str) -> None:
        """What the attention operator wants to know about the rows: the index of each one's last token, the longest."""
        graph = self.graph
        counts = graph.op("ReduceSum", [mask, graph.integers([1])], keepdims=0)
        last = graph.op("Sub", [counts, graph.integers([1])])
        self._last = graph.op("Cast", [last], to=TensorProto.INT32)
        total = graph.op("Squeeze", [graph.op("Shape", [mask], start=1, end=2)])
        self._total = graph.op("Cast", [total], to=TensorProto.INT32)

    def _rotary_tables(self) -> None:
        """Computed in f32 throughout, as the reference does, so that long prompts do not drift from it."""
        size = self._dims.head_size
        exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
        frequencies = np.float32(1) / np.float32(self._dims.rotary_base) ** exponents
        angles = np.arange(self._dims.context, dtype=np.float32)[:, None] * frequencies
        self._cosines = self.graph.constant("rotary.cos", np.cos(angles))
        self._sines = self.graph.constant("rotary.sin", np.sin(angles))

    def _attention(self, layer: int, x: str) -> str:
        graph, dims = self.graph, self._dims
        parts = [f"blk.{layer}.attn_{part}" for part in "qkv"]
        biases = [f"{part}.bias" for part in parts] if self._family.attention_bias else None
        packed = self._linear.multiply(x, [f"{part}.weight" for part in parts], biases)
        cache = ["batch", dims.kv_heads, "past_sequence", dims.head_size]
        past = [graph.input(f"past_key_values.{layer}.{part}", TensorProto.FLOAT, cache) for part in ("key", "value")]
        return graph.op(
            "GroupQueryAttention",
            [packed, "", "", *past, self._last, self._total, self._cosines, self._sines],
            [f"blk.{layer}.attention", f"present.{layer}.key", f"present.{layer}.value"],
            domain=MICROSOFT,
            num_heads=dims.heads,
            kv_num_heads=dims.kv_heads,
            do_rotary=1,
            rotary_interleaved=int(self._family.interleaved_rotary),
        )

    def _feed_forward(self, layer: int, x: str) -> str:
        graph = self.graph
        gate = self._linear.multiply(x, [f"blk.{layer}.ffn_gate.weight"])
        up = self._linear.multiply(x, [f"blk.{layer}.ffn_up.weight"])
        swish = graph.op("QuickGelu", [gate], domain=MICROSOFT, alpha=1.0)
        return self._linear.multiply(graph.op("Mul", [swish, up]), [f"blk.{layer}.ffn_down.weight"])

    def _wanted_position(self, x: str) -> str:
        """[batch, sequence, width] → [batch, 1, width] at `logits_index`."""
        return self.graph.op("GatherND", [x, self._position], batch_dims=1)

    def _norm(self, weight: str, x: str) -> str:
        scale = self.graph.constant(weight, self._file.values(weight))
        return self.graph.op("SimplifiedLayerNormalization", [x, scale], axis=-1, epsilon=self._dims.epsilon)

    def _add_and_norm(self, weight: str, residual: str, x: str) -> tuple[str, str]:
        scale = self.graph.constant(weight, self._file.values(weight))
        names = [f"{weight}.normed", "", "", f"{weight}.residual"]
        self.graph.op(
            "SkipSimplifiedLayerNormalization", [residual, x, scale], names, MICROSOFT, epsilon=self._dims.epsilon
        )
        return names[0], names[3]

    def _check_tensors(self) -> None:
        """A tensor this recipe would ignore (a rope factor, a query norm) means another model: refuse it by name."""
        parts = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]
        known = {"token_embd.weight", "output_norm.weight", "output.weight"}
        known |= {f"blk.{layer}.{part}.weight" for layer in range(self._dims.layers) for part in parts}
        if self._family.attention_bias:
            known |= {f"blk.{layer}.attn_{part}.bias" for layer in range(self._dims.layers) for part in "qkv"}
        if unknown := sorted(self._file.tensor_names() - known):
            raise GgufError(f"tensor `{unknown[0]}` is not part of what this recipe builds")
