"""The tiny decoder: two llama-like layers with grouped-query attention, in exactly the shape real exports have.

The weights are random. What the tests need from them is that greedy answers depend on the prompt, are printable, and
end by themselves some of the time; the bias of the language-model head (`head_bias`) arranges the last two.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from onnx import TensorProto
from tokenizers import Tokenizer

from .graph import Graph
from .vocabulary import SPECIAL_DECODER

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}\n"
)


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of the tiny decoder; head_dim 16 is the smallest that both the CPU and the CUDA attention kernels take."""

    layers: int = 2
    hidden: int = 32
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    inner: int = 32
    max_length: int = 1024


SHAPE = Shape()


def head_bias(tokenizer: Tokenizer, end_bias: float) -> np.ndarray:
    """Keeps answers to printable ASCII, forbids the other specials, and lets the end of turn win now and then."""
    bias = np.zeros(tokenizer.get_vocab_size())
    for token, index in tokenizer.get_vocab().items():
        text = tokenizer.decode([index], skip_special_tokens=False)
        if token == "<|im_end|>":
            bias[index] = end_bias
        elif token in SPECIAL_DECODER or not (text.isascii() and text.isprintable()):
            bias[index] = -30.0
    return bias


def _rotary(graph: Graph) -> tuple[str, str]:
    """cos and sin tables computed in the graph: they would be the largest tensors in the file otherwise."""
    half = SHAPE.head_dim // 2
    frequencies = graph.constant(1.0 / 10000.0 ** (np.arange(half) / half), np.float32)
    limits = [graph.constant(value, np.float32) for value in (0.0, SHAPE.max_length, 1.0)]
    positions = graph.op("Unsqueeze", [graph.op("Range", limits), graph.constant([1])])
    angles = graph.op("Mul", [positions, frequencies])
    return graph.op("Cos", [angles]), graph.op("Sin", [angles])


def _norm(graph: Graph, value: str, name: str) -> str:
    """Root-mean-square normalisation written out; the runtime fuses it."""
    mean = graph.op("ReduceMean", [graph.op("Mul", [value, value])], axes=[-1], keepdims=1)
    root = graph.op("Sqrt", [graph.op("Add", [mean, graph.constant(1e-5, np.float32)])])
    return graph.op("Mul", [graph.op("Div", [value, root]), graph.weight(f"{name}.weight", np.ones(SHAPE.hidden))])


def _half(graph: Graph, value: str, half: bool) -> str:
    return graph.op("Cast", [value], to=TensorProto.FLOAT16) if half else value


def _layer(graph: Graph, index: int, value: str, lengths: list[str], half: bool) -> str:
    """One layer: attention with rotary positions and the cache, then the gated feed-forward part."""
    name, size = f"layers.{index}", SHAPE
    normed = _norm(graph, value, f"{name}.attention_norm")

    def project(label: str, source: str, rows: int, columns: int, scale: float = 1.0) -> str:
        return graph.op("MatMul", [source, graph.normal(f"{name}.{label}", (rows, columns), scale / np.sqrt(rows))])

    query = project("query", normed, size.hidden, size.heads * size.head_dim, 2.0)
    key = project("key", normed, size.hidden, size.kv_heads * size.head_dim, 2.0)
    content = project("value", normed, size.hidden, size.kv_heads * size.head_dim)
    past, present = f"past_key_values.{index}", f"present.{index}"
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    for part in ("key", "value"):
        graph.input(f"{past}.{part}", ["batch", size.kv_heads, "past_sequence", size.head_dim], kind)
        graph.output(f"{present}.{part}", ["batch", size.kv_heads, "total_sequence", size.head_dim], kind)
    query, key, content = (_half(graph, part, half) for part in (query, key, content))
    mixed, *_ = graph.ops(
        "GroupQueryAttention",
        [query, key, content, f"{past}.key", f"{past}.value", *lengths],
        [f"{name}.mixed", f"{present}.key", f"{present}.value"],
        domain="com.microsoft",
        num_heads=size.heads,
        kv_num_heads=size.kv_heads,
        do_rotary=1,
    )
    mixed = graph.op("Cast", [mixed], to=TensorProto.FLOAT) if half else mixed
    value = graph.op("Add", [value, project("output", mixed, size.heads * size.head_dim, size.hidden, 2.0)])
    normed = _norm(graph, value, f"{name}.feed_forward_norm")
    gate = project("gate", normed, size.hidden, size.inner)
    gate = graph.op("Mul", [gate, graph.op("Sigmoid", [gate])])
    inner = graph.op("Mul", [gate, project("up", normed, size.hidden, size.inner)])
    return graph.op("Add", [value, project("down", inner, size.inner, size.hidden, 2.0)])


def write(
    folder: pathlib.Path, tokenizer: Tokenizer, seed: int, end_bias: float, poison: str | None = None, half: bool = False
) -> None:
    """Writes model.onnx, tokenizer.json and chat_template.jinja. The token `poison` is read as NaN and never written.

    With `half`, attention and its cache are in f16: the weights are the same, and so are all inputs but the cache.
    """
    graph = Graph("tiny_decoder", seed)
    ids = graph.input("input_ids", ["batch", "sequence"])
    mask = graph.input("attention_mask", ["batch", "total_sequence"])
    wanted = graph.input("logits_index", ["batch", "wanted"])
    positions = graph.input("position_ids", ["batch", "sequence"])
    bias = graph.input("attention_bias", [1, 1, "sequence", "total_sequence"], TensorProto.FLOAT)
    graph.output("logits", ["batch", "wanted", tokenizer.get_vocab_size()])

    valid = graph.op("ReduceSum", [mask, graph.constant([1])], keepdims=0)
    seqlens = graph.op("Cast", [graph.op("Sub", [valid, graph.constant(1)])], to=TensorProto.INT32)
    total = graph.op("Gather", [graph.op("Shape", [mask]), graph.constant(1)], axis=0)
    total = graph.op("Cast", [total], to=TensorProto.INT32)
    cosine, sine = (_half(graph, table, half) for table in _rotary(graph))
    lengths = [seqlens, total, cosine, sine, positions, _half(graph, bias, half)]

    embedding = graph.normal("embedding", (tokenizer.get_vocab_size(), SHAPE.hidden), 1.0)
    value = graph.op("Gather", [embedding, ids], axis=0)
    bias_of_head = head_bias(tokenizer, end_bias)
    if poison is not None:
        added = np.zeros((tokenizer.get_vocab_size(), 1))
        added[tokenizer.token_to_id(poison)] = np.nan
        bias_of_head[tokenizer.token_to_id(poison)] = -30.0
        value = graph.op("Add", [value, graph.op("Gather", [graph.weight("poison", added), ids], axis=0)])
    for index in range(SHAPE.layers):
        value = _layer(graph, index, value, lengths, half)
    # The head is the costly part of a real model, so it only ever sees the positions asked for.
    place = graph.op("Unsqueeze", [wanted, graph.constant([2])])
    last = _norm(graph, graph.op("GatherND", [value, place], batch_dims=1), "norm")
    # Embedding and head share their weights; the turn between them keeps the model from repeating its input for ever.
    last = graph.op("MatMul", [last, graph.normal("turn", (SHAPE.hidden, SHAPE.hidden), 1.0 / np.sqrt(SHAPE.hidden))])
    head = graph.op("MatMul", [last, graph.op("Transpose", [embedding], perm=[1, 0])])
    graph.op("Add", [head, graph.weight("head.bias", bias_of_head)], output="logits")

    graph.save(folder / "model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
