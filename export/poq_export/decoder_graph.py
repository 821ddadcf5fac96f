"""A decoder's graph, from a description of its architecture and a source of its tensors.

The graph's inputs and outputs are those of the hub's own ONNX exports plus `logits_index`: only the wanted positions of a
row go through the language model head, and through the last layer's feed-forward block, because the prompt pass would
otherwise spend most of its time on logits nobody reads.

Without sliding windows it also takes `position_ids` and `attention_bias`, so that one row may hold several prompts one
behind the other: each token says where in its own prompt it stands, and the bias hides the other prompts from it. A window
counts places in the row, which are then not those of the prompt.

A graph in half precision is meant for CUDA. It has neither of the two, because CUDA's fast attention kernels take no bias.
Logits are cast to f32 before anything else is done to them, caches have the precision of the weights.

Tensors go by their names in a GGUF file, whatever they were read from.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .graph import MICROSOFT, GraphBuilder, TensorProto
from .linear import Linear, Tensors
from .precision import F32, Precision


@dataclasses.dataclass(frozen=True)
class Rotary:
    """How positions turn queries and keys."""

    frequencies: np.ndarray  # float32 [head size / 2], radians per position
    magnitude: float = 1.0  # factor on cosines and sines

    @classmethod
    def plain(cls, base: float, head_size: int) -> Rotary:
        """Computed in f32 throughout, as the reference does, so that long prompts do not drift from it."""
        exponents = np.arange(0, head_size, 2, dtype=np.float32) / np.float32(head_size)
        return cls(np.float32(1) / np.float32(base) ** exponents)


@dataclasses.dataclass(frozen=True)
class Layer:
    """What may differ from one layer to the next."""

    window: int | None = None  # positions that a query sees, its own included; None: its own and all before it
    rotary: str = "rotary"  # which of the architecture's rotary tables


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Everything about a llama-like decoder but its weights."""

    layers: tuple[Layer, ...]
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    positions: int  # rows of the rotary tables: the longest row the graph can run
    epsilon: float
    rotary: dict[str, Rotary]
    interleaved_rotary: bool = False  # pairs are neighbours, instead of lying half a head apart
    attention_bias: bool = False
    attention_scale: float | None = None  # factor on the products of queries and keys; None: 1 / sqrt(head size)
    attention_cap: float | None = None  # attention scores are bent to stay within plus and minus this
    logits_cap: float | None = None  # the same for logits
    embedding_scale: float | None = None  # factor on token vectors, but not on the head that shares their table
    query_key_norm: bool = False  # queries and keys are normalised head by head before they are turned
    output_norms: bool = False  # what attention and feed-forward put out is normalised before it is added
    gelu: bool = False  # the gate of the feed-forward block is tanh-approximated GELU, not SiLU

    def tensor_names(self) -> set[str]:
        """Every tensor of such a model, the untied head included."""
        parts = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]
        parts += ["post_attention_norm", "post_ffw_norm"] if self.output_norms else []
        parts += ["attn_q_norm", "attn_k_norm"] if self.query_key_norm else []
        names = {f"{part}.weight" for part in parts}
        names |= {f"attn_{part}.bias" for part in "qkv"} if self.attention_bias else set()
        everywhere = {f"blk.{layer}.{name}" for layer in range(len(self.layers)) for name in names}
        return everywhere | {"token_embd.weight", "output_norm.weight", "output.weight"}


class DecoderGraph:
    """Builds the graph layer by layer.

    `share_table` stores a quantised embedding table so that the head tied to it multiplies by the very same codes.
    """

    def __init__(
        self, architecture: Architecture, tensors: Tensors, share_table: bool, precision: Precision = F32
    ) -> None:
        self.graph = GraphBuilder()
        self._architecture = architecture
        self._tensors = tensors
        self._precision = precision
        self._linear = Linear(self.graph, tensors, share_table, precision)

    def build(self) -> None:
        """All nodes, from token ids to the logits of the wanted positions."""
        graph, last = self.graph, len(self._architecture.layers) - 1
        ids = graph.input("input_ids", TensorProto.INT64, ["batch", "sequence"])
        mask = graph.input("attention_mask", TensorProto.INT64, ["batch", "total_sequence"])
        self._index = graph.input("logits_index", TensorProto.INT64, ["batch", "wanted"])
        self._position = graph.op("Unsqueeze", [self._index, graph.integers([2])])
        self._lengths(mask)
        self._placement = self._several_prompts()
        for name, rotary in self._architecture.rotary.items():
            self._rotary_tables(name, rotary)
        residual = self._embedding(ids)
        normed = self._norm("blk.0.attn_norm.weight", residual)
        for layer in range(last + 1):
            attended = self._attention(layer, normed)
            if layer == last:
                attended, residual = self._wanted_position(attended), self._wanted_position(residual)
            attended = self._linear.multiply(attended, [f"blk.{layer}.attn_output.weight"])
            attended = self._output_norm(f"blk.{layer}.post_attention_norm.weight", attended)
            normed, residual = self._add_and_norm(f"blk.{layer}.ffn_norm.weight", residual, attended)
            fed = self._output_norm(f"blk.{layer}.post_ffw_norm.weight", self._feed_forward(layer, normed))
            following = f"blk.{layer + 1}.attn_norm.weight" if layer < last else "output_norm.weight"
            normed, residual = self._add_and_norm(following, residual, fed)
        self._head(normed)
        self._declare_caches()

    def _lengths(self, mask: str) -> None:
        """What the attention operator wants to know about the rows: the index of each one's last token, the longest."""
        graph = self.graph
        counts = graph.op("ReduceSum", [mask, graph.integers([1])], keepdims=0)
        last = graph.op("Sub", [counts, graph.integers([1])])
        self._last = graph.op("Cast", [last], to=TensorProto.INT32)
        total = graph.op("Squeeze", [graph.op("Shape", [mask], start=1, end=2)])
        self._total = graph.op("Cast", [total], to=TensorProto.INT32)

    def _several_prompts(self) -> list[str]:
        """The attention operator's inputs that tell the prompts of a row apart, where there are any."""
        if self._precision.is_half or any(layer.window is not None for layer in self._architecture.layers):
            return []
        positions = self.graph.input("position_ids", TensorProto.INT64, ["batch", "sequence"])
        bias = self.graph.input("attention_bias", TensorProto.FLOAT, [1, 1, "sequence", "total_sequence"])
        return [positions, bias]

    def _rotary_tables(self, name: str, rotary: Rotary) -> None:
        """Cosines and sines, [positions, head size / 2] each."""
        angles = np.arange(self._architecture.positions, dtype=np.float32)[:, None] * rotary.frequencies
        for part, table in (("cos", np.cos(angles)), ("sin", np.sin(angles))):
            self.graph.constant(f"{name}.{part}", (table * np.float32(rotary.magnitude)).astype(self._precision.dtype))

    def _embedding(self, ids: str) -> str:
        tokens = self._linear.embedding("token_embd.weight", ids)
        if self._architecture.embedding_scale is None:
            return tokens
        scale = self.graph.scalar(self._architecture.embedding_scale, self._precision.dtype)
        return self.graph.op("Mul", [tokens, scale])

    def _attention(self, layer: int, x: str) -> str:
        graph, architecture = self.graph, self._architecture
        parts = [f"blk.{layer}.attn_{part}" for part in "qkv"]
        biases = [f"{part}.bias" for part in parts] if architecture.attention_bias else None
        packed = self._linear.multiply(x, [f"{part}.weight" for part in parts], biases)
        projected = self._normed_heads(layer, packed) if architecture.query_key_norm else [packed, "", ""]
        cache = ["batch", architecture.kv_heads, "past_sequence", architecture.head_size]
        kind = self._precision.tensor
        past = [graph.input(f"past_key_values.{layer}.{part}", kind, cache) for part in ("key", "value")]
        tables = [f"{architecture.layers[layer].rotary}.{part}" for part in ("cos", "sin")]
        return graph.op(
            "GroupQueryAttention",
            [*projected, *past, self._last, self._total, *tables, *self._placement],
            [f"blk.{layer}.attention", f"present.{layer}.key", f"present.{layer}.value"],
            domain=MICROSOFT,
            num_heads=architecture.heads,
            kv_num_heads=architecture.kv_heads,
            do_rotary=1,
            rotary_interleaved=int(architecture.interleaved_rotary),
            **self._attention_settings(layer),
        )

    def _attention_settings(self, layer: int) -> dict[str, float | int]:
        """Attributes of the operator that only some architectures set."""
        settings = {
            "local_window_size": self._architecture.layers[layer].window,  # it counts the query's own position too
            "scale": self._architecture.attention_scale,
            "softcap": self._architecture.attention_cap,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def _normed_heads(self, layer: int, packed: str) -> list[str]:
        """Queries, keys and values one by one, the first two normalised over each head.

        The attention operator could do it, but not on the CPU.
        """
        graph, architecture = self.graph, self._architecture
        counts = [architecture.heads, architecture.kv_heads, architecture.kv_heads]
        widths = graph.integers([count * architecture.head_size for count in counts])
        names = [f"blk.{layer}.attn_{part}" for part in "qkv"]
        graph.op("Split", [packed, widths], names, axis=-1)
        for number, count in enumerate(counts[:2]):
            heads = graph.op("Reshape", [names[number], graph.integers([0, 0, count, architecture.head_size])])
            normed = self._norm(f"{names[number]}_norm.weight", heads)
            names[number] = graph.op("Reshape", [normed, graph.integers([0, 0, count * architecture.head_size])])
        return names

    def _feed_forward(self, layer: int, x: str) -> str:
        graph = self.graph
        gate = self._linear.multiply(x, [f"blk.{layer}.ffn_gate.weight"])
        up = self._linear.multiply(x, [f"blk.{layer}.ffn_up.weight"])
        if self._architecture.gelu:
            gate = graph.op("FastGelu", [gate], domain=MICROSOFT)
        else:
            gate = graph.op("QuickGelu", [gate], domain=MICROSOFT, alpha=1.0)
        return self._linear.multiply(graph.op("Mul", [gate, up]), [f"blk.{layer}.ffn_down.weight"])

    def _head(self, x: str) -> None:
        """`x` [batch, wanted, hidden] → `logits` [batch, wanted, vocabulary]."""
        graph, cap = self.graph, self._architecture.logits_cap
        if "output.weight" in self._tensors.names():
            logits = self._linear.multiply(x, ["output.weight"])
        else:
            logits = self._linear.tied_head("token_embd.weight", x, self._index)
        if self._precision.is_half:
            logits = graph.op("Cast", [logits], to=TensorProto.FLOAT)
        if cap is not None:
            logits = graph.op("Tanh", [graph.op("Div", [logits, graph.scalar(cap)])])
            logits = graph.op("Mul", [logits, graph.scalar(cap)])
        graph.op("Identity", [logits], ["logits"])
        graph.output("logits", TensorProto.FLOAT, ["batch", "wanted", self._tensors.rows("token_embd.weight")])

    def _declare_caches(self) -> None:
        for layer in range(len(self._architecture.layers)):
            for part in ("key", "value"):
                cache = ["batch", self._architecture.kv_heads, "total_sequence", self._architecture.head_size]
                self.graph.output(f"present.{layer}.{part}", self._precision.tensor, cache)

    def _wanted_position(self, x: str) -> str:
        """[batch, sequence, width] → [batch, wanted, width] at `logits_index`."""
        return self.graph.op("GatherND", [x, self._position], batch_dims=1)

    def _norm(self, weight: str, x: str) -> str:
        scale = self.graph.constant(weight, self._linear.vector(weight))
        return self.graph.op("SimplifiedLayerNormalization", [x, scale], axis=-1, epsilon=self._architecture.epsilon)

    def _output_norm(self, weight: str, x: str) -> str:
        return self._norm(weight, x) if self._architecture.output_norms else x

    def _add_and_norm(self, weight: str, residual: str, x: str) -> tuple[str, str]:
        scale = self.graph.constant(weight, self._linear.vector(weight))
        names = [f"{weight}.normed", "", "", f"{weight}.residual"]
        epsilon = self._architecture.epsilon
        self.graph.op("SkipSimplifiedLayerNormalization", [residual, x, scale], names, MICROSOFT, epsilon=epsilon)
        return names[0], names[3]
