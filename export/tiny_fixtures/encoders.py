"""The tiny encoders: one attention layer that respects the mask, then token vectors or a two-column head.

Random token embeddings already give texts that share words similar vectors, which is all the tests of scoring need.
"""

from __future__ import annotations

import pathlib

import numpy as np
from onnx import TensorProto
from tokenizers import Tokenizer

from .graph import Graph
from .vocabulary import POISON

HIDDEN = 16
MAX_LENGTH = 128


def _attention(graph: Graph, value: str, mask: str) -> str:
    """Single-head attention; padded positions get a large negative score, hence a weight of exactly zero."""
    query, key, content = (
        graph.op("MatMul", [value, graph.normal(name, (HIDDEN, HIDDEN), 1.0 / np.sqrt(HIDDEN))])
        for name in ("query", "key", "value")
    )
    scores = graph.op("MatMul", [query, graph.op("Transpose", [key], perm=[0, 2, 1])])
    scores = graph.op("Div", [scores, graph.constant(np.sqrt(HIDDEN), np.float32)])
    absent = graph.op("Sub", [graph.constant(1.0, np.float32), graph.op("Unsqueeze", [mask, graph.constant([1])])])
    scores = graph.op("Add", [scores, graph.op("Mul", [absent, graph.constant(-1e9, np.float32)])])
    return graph.op("MatMul", [graph.op("Softmax", [scores], axis=-1), content])


def _body(graph: Graph, vocabulary: int, with_types: bool, output: str | None = None) -> tuple[str, str, str]:
    """Embeddings and the attention layer; returns the ids, the float mask and the token vectors."""
    ids = graph.input("input_ids", ["batch", "sequence"])
    raw_mask = graph.input("attention_mask", ["batch", "sequence"])
    mask = graph.op("Cast", [raw_mask], to=TensorProto.FLOAT)
    value = graph.op("Gather", [graph.normal("tokens", (vocabulary, HIDDEN), 1.0), ids], axis=0)
    # The first rows of the table by Slice: ONNX Runtime 1.31 mistranslates a Gather over a Range into an invalid Slice.
    first, second, third = (graph.constant([index]) for index in range(3))
    length = graph.op("Slice", [graph.op("Shape", [ids]), second, third, first])
    positions = graph.op("Slice", [graph.normal("positions", (MAX_LENGTH, HIDDEN), 0.1), first, length, first])
    value = graph.op("Add", [value, positions])
    if with_types:
        types = graph.input("token_type_ids", ["batch", "sequence"])
        value = graph.op("Add", [value, graph.op("Gather", [graph.normal("types", (2, HIDDEN), 0.5), types], axis=0)])
    value = graph.op("Add", [value, _attention(graph, value, mask)])
    scale, shift = graph.weight("norm.scale", np.ones(HIDDEN)), graph.weight("norm.shift", np.zeros(HIDDEN))
    return ids, mask, graph.op("LayerNormalization", [value, scale, shift], output=output, axis=-1, epsilon=1e-5)


def write_bi(folder: pathlib.Path, tokenizer: Tokenizer, seed: int) -> None:
    """A bi-encoder: the graph gives token vectors, the engine pools them."""
    graph = Graph("tiny_bi", seed)
    graph.output("last_hidden_state", ["batch", "sequence", HIDDEN])
    _body(graph, tokenizer.get_vocab_size(), with_types=False, output="last_hidden_state")
    _save(graph, folder, tokenizer)


def write_cross(folder: pathlib.Path, tokenizer: Tokenizer, seed: int, poisoned: bool) -> None:
    """A cross-encoder with two logits; `poisoned` answers NaN when the first text starts with the word "poison"."""
    graph = Graph("tiny_nan" if poisoned else "tiny_cross", seed)
    graph.output("logits", ["batch", 2])
    ids, mask, value = _body(graph, tokenizer.get_vocab_size(), with_types=True)
    column = graph.op("Unsqueeze", [mask, graph.constant([2])])
    total = graph.op("ReduceSum", [graph.op("Mul", [value, column]), graph.constant([1])], keepdims=0)
    count = graph.op("ReduceSum", [mask, graph.constant([1])], keepdims=1)
    pooled = graph.op("Tanh", [graph.op("Mul", [graph.op("Div", [total, count]), graph.constant(3.0, np.float32)])])
    head = graph.op("MatMul", [pooled, graph.normal("head", (HIDDEN, 2), 1.5 / np.sqrt(HIDDEN))])
    if poisoned:
        first = graph.op("Gather", [ids, graph.constant([1])], axis=1)  # position 0 is [CLS]
        bad = graph.op("Equal", [first, graph.constant(tokenizer.token_to_id(POISON))])
        head = graph.op("Where", [bad, graph.constant(np.nan, np.float32), head])
    graph.op("Identity", [head], output="logits")
    _save(graph, folder, tokenizer)


def _save(graph: Graph, folder: pathlib.Path, tokenizer: Tokenizer) -> None:
    graph.save(folder / "model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
