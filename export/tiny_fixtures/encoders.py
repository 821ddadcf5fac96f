"""The tiny encoders: one attention layer that respects the mask, then token vectors or a head of a few columns.

Random token embeddings already give texts that share words similar vectors, which is all the tests of scoring need.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import onnx
from onnx import TensorProto
from poq_export import pooling
from tokenizers import Tokenizer

from .graph import Graph
from .vocabulary import POISON

MAX_LENGTH = 128
FIXED_LENGTH = 16
VECTORS = "last_hidden_state"


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a tiny encoder; one with a fixed length takes exactly that many tokens."""

    hidden: int = 16
    fixed_length: int | None = None

    @property
    def positions(self) -> int:
        """Rows of the table of positions."""
        return self.fixed_length or MAX_LENGTH

    @property
    def tokens(self) -> list[str | int]:
        """Shape of an input."""
        return ["batch", self.fixed_length or "sequence"]


SHAPE = Shape()


def _attention(graph: Graph, value: str, mask: str, hidden: int) -> str:
    """Single-head attention; padded positions get a large negative score, hence a weight of exactly zero."""
    query, key, content = (
        graph.op("MatMul", [value, graph.normal(name, (hidden, hidden), 1.0 / np.sqrt(hidden))])
        for name in ("query", "key", "value")
    )
    scores = graph.op("MatMul", [query, graph.op("Transpose", [key], perm=[0, 2, 1])])
    scores = graph.op("Div", [scores, graph.constant(np.sqrt(hidden), np.float32)])
    absent = graph.op("Sub", [graph.constant(1.0, np.float32), graph.op("Unsqueeze", [mask, graph.constant([1])])])
    scores = graph.op("Add", [scores, graph.op("Mul", [absent, graph.constant(-1e9, np.float32)])])
    return graph.op("MatMul", [graph.op("Softmax", [scores], axis=-1), content])


def _body(graph: Graph, shape: Shape, vocabulary: int, types: bool, output: str | None = None) -> tuple[str, str, str]:
    """Embeddings and the attention layer; returns the ids, the float mask and the token vectors."""
    ids = graph.input("input_ids", shape.tokens)
    raw_mask = graph.input("attention_mask", shape.tokens)
    mask = graph.op("Cast", [raw_mask], to=TensorProto.FLOAT)
    value = graph.op("Gather", [graph.normal("tokens", (vocabulary, shape.hidden), 1.0), ids], axis=0)
    # The first rows of the table by Slice: ONNX Runtime 1.31 mistranslates a Gather over a Range into an invalid Slice.
    first, second, third = (graph.constant([index]) for index in range(3))
    length = graph.op("Slice", [graph.op("Shape", [ids]), second, third, first])
    table = graph.normal("positions", (shape.positions, shape.hidden), 0.1)
    positions = graph.op("Slice", [table, first, length, first])
    value = graph.op("Add", [value, positions])
    if types:
        kinds = graph.input("token_type_ids", shape.tokens)
        table = graph.normal("types", (2, shape.hidden), 0.5)
        value = graph.op("Add", [value, graph.op("Gather", [table, kinds], axis=0)])
    value = graph.op("Add", [value, _attention(graph, value, mask, shape.hidden)])
    scale, shift = graph.weight("norm.scale", np.ones(shape.hidden)), graph.weight("norm.shift", np.zeros(shape.hidden))
    return ids, mask, graph.op("LayerNormalization", [value, scale, shift], output=output, axis=-1, epsilon=1e-5)


def write_bi(folder: pathlib.Path, tokenizer: Tokenizer, seed: int, *, pooled: bool = False) -> None:
    """A bi-encoder: the graph gives token vectors, the engine pools them; `pooled`, it does so itself, as those for GPUs."""
    graph = Graph("tiny_bi", seed)
    graph.output(VECTORS, [*SHAPE.tokens, SHAPE.hidden])
    _body(graph, SHAPE, tokenizer.get_vocab_size(), types=False, output=VECTORS)
    _save(graph, folder, tokenizer)
    if pooled:
        path = folder / "model.onnx"
        model = onnx.load(path)
        pooling.into_graph(model.graph, VECTORS, "mean")
        path.write_bytes(model.SerializeToString(deterministic=True))


def write_cross(
    folder: pathlib.Path,
    tokenizer: Tokenizer,
    seed: int,
    *,
    labels: int = 2,
    shape: Shape = SHAPE,
    poisoned: bool = False,
) -> None:
    """A cross-encoder with a logit per label; `poisoned` answers NaN when the first text begins with that word."""
    graph = Graph(folder.name, seed)
    graph.output("logits", ["batch", labels])
    ids, mask, value = _body(graph, shape, tokenizer.get_vocab_size(), types=True)
    column = graph.op("Unsqueeze", [mask, graph.constant([2])])
    total = graph.op("ReduceSum", [graph.op("Mul", [value, column]), graph.constant([1])], keepdims=0)
    count = graph.op("ReduceSum", [mask, graph.constant([1])], keepdims=1)
    pooled = graph.op("Tanh", [graph.op("Mul", [graph.op("Div", [total, count]), graph.constant(3.0, np.float32)])])
    head = graph.op("MatMul", [pooled, graph.normal("head", (shape.hidden, labels), 1.5 / np.sqrt(shape.hidden))])
    if poisoned:
        first = graph.op("Gather", [ids, graph.constant([1])], axis=1)  # position 0 is [CLS]
        bad = graph.op("Equal", [first, graph.constant(tokenizer.token_to_id(POISON))])
        head = graph.op("Where", [bad, graph.constant(np.nan, np.float32), head])
    graph.op("Identity", [head], output="logits")
    _save(graph, folder, tokenizer)


def _save(graph: Graph, folder: pathlib.Path, tokenizer: Tokenizer) -> None:
    graph.save(folder / "model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
