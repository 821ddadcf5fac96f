"""DeBERTa as an ONNX graph, built from its published weights.

Attention is disentangled: to the product of query and key come those of the query with the vector of the relative
position, and of the key with it. Positions far apart share a vector (a bucket). What a layer makes of those vectors
does not depend on the input, so it is computed here, and only the buckets that a batch of this length has are
multiplied; the reference projects and multiplies all 512 of them on every call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from .encoder_layers import EncoderGraph, Shape
from .graph import MICROSOFT

SCORES = 3  # products that are summed to a score, which is divided by the root of their number as well
ABSENT = -10000.0  # added to the score of a padded key: it weighs exactly 0 in f32, and f16 can hold it
RELATIVE = "encoder.rel_embeddings.weight"


@dataclasses.dataclass(frozen=True)
class Relative:
    """Relative positions of rows of at most `positions` tokens."""

    buckets: int  # 0: each distance has a vector of its own
    longest: int  # distances that the model tells apart, at most
    positions: int
    normed: bool  # whether the vectors are normalised before use

    @property
    def span(self) -> int:
        """Half the rows of the table of vectors."""
        return self.buckets or self.longest

    def columns(self) -> np.ndarray:
        """The row of the table for every pair of query and key, [positions, positions]."""
        places = np.arange(self.positions)
        distances = places[:, None] - places[None, :]
        if self.buckets:
            distances = log_buckets(distances, self.buckets, self.longest)
        return np.clip(distances + self.span, 0, 2 * self.span - 1).astype(np.int64)


def log_buckets(distances: np.ndarray, buckets: int, longest: int) -> np.ndarray:
    """Distances up to half of `buckets` as they are, greater ones by their logarithm; f32, as in the reference."""
    middle = buckets // 2
    sizes = np.maximum(np.abs(distances), middle).astype(np.float32)
    steps = np.log(sizes / np.float32(middle)) / np.log(np.float32((longest - 1) / middle)) * np.float32(middle - 1)
    far = (np.ceil(steps) + middle) * np.sign(distances)
    return np.where(np.abs(distances) <= middle, distances, far).astype(np.int64)


class Deberta(EncoderGraph):
    """The graph of DeBERTa v3: keys and queries share their projections with those of the relative positions."""

    def __init__(self, weights: Mapping[str, np.ndarray], shape: Shape, relative: Relative, *, classify: bool) -> None:
        super().__init__(weights, shape, classify=classify)
        self.relative = relative
        self.head_size = shape.hidden // shape.heads
        self.scale = (SCORES * self.head_size) ** -0.5

    def _prepare(self) -> None:
        """The mask, and where in a layer's products with relative positions each pair of query and key finds its own."""
        graph, columns = self.graph, self.relative.columns()
        mask = graph.op("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        mask = graph.op("Mul", [graph.op("Sub", [graph.scalar(1.0), mask]), graph.scalar(ABSENT)])
        self._mask = graph.op("Unsqueeze", [mask, graph.integers([1, 2])])

        length = graph.op("Shape", ["input_ids"], start=1, end=2)
        zero, both = graph.integers([0]), graph.op("Concat", [length, length], axis=0)
        last = graph.op("Sub", [length, graph.integers([1])])
        # the lowest column in use is that of the first query and the last key, the highest that of the last and the first
        self._low = graph.op("Gather", [graph.constant("relative.low", columns[0]), last])
        self._high = graph.op("Gather", [graph.constant("relative.high", columns[:, 0] + 1), last])
        width = graph.op("Sub", [self._high, self._low])
        table = graph.constant("relative.columns", columns)
        found = graph.op("Slice", [table, graph.integers([0, 0]), both, graph.integers([0, 1])])
        found = graph.op("Sub", [found, self._low])
        places = graph.op("Slice", [graph.constant("relative.places", np.arange(len(columns))), zero, length, zero])
        starts = graph.op("Mul", [places, width])
        by_query = graph.op("Add", [found, graph.op("Unsqueeze", [starts, graph.integers([1])])])
        self._pairs = {"query": by_query, "key": graph.op("Add", [found, starts])}

    def _embed(self) -> str:
        """Tokens have no position and no type of their own."""
        tokens = self.graph.op("Gather", [self._constant("embeddings.word_embeddings.weight"), "input_ids"])
        inputs = [tokens, *self._norm("embeddings.LayerNorm")]
        return self.graph.op("LayerNormalization", inputs, axis=-1, epsilon=self.shape.epsilon)

    def _attend(self, name: str, value: str, first_only: bool) -> str:
        graph, name = self.graph, f"{name}.attention.self"
        weight, bias = self._packed(name, [f"{name}.{part}_proj" for part in ("query", "key", "value")])
        packed = graph.op("Add", [graph.op("MatMul", [value, weight]), bias])
        names = [f"{packed}.{part}" for part in ("query", "key", "value")]
        query = graph.op("Split", [packed], names, axis=-1, num_outputs=3)
        pairs, (_, key, content) = self._pairs, names
        if first_only:
            query = self._first(query)
            pairs = {part: graph.op("Gather", [index, graph.integers([0])], axis=0) for part, index in pairs.items()}
        # a query meets the positions as keys do them, and the other way round
        scores = [
            self._scores(f"{name}.key_proj", query, pairs["query"]),
            self._scores(f"{name}.query_proj", key, pairs["key"]),
        ]
        scores = graph.op("Add", [graph.op("Add", scores), self._mask])
        inputs = [query, key, content, "", "", scores]
        return graph.op("MultiHeadAttention", inputs, domain=MICROSOFT, num_heads=self.shape.heads, scale=self.scale)

    def _scores(self, projection: str, value: str, pairs: str) -> str:
        """Products with the relative positions, for every pair of query and key: [batch, heads, queries, keys]."""
        graph, heads = self.graph, self.shape.heads
        value = graph.op("Reshape", [value, graph.integers([0, 0, heads, self.head_size])])
        value = graph.op("Transpose", [value], perm=[0, 2, 1, 3])
        positions = graph.constant(f"{projection}.relative", self._positions(projection))
        positions = graph.op("Slice", [positions, self._low, self._high, graph.integers([2])])
        flat = graph.op("Reshape", [graph.op("MatMul", [value, positions]), graph.integers([0, 0, -1])])
        return graph.op("Gather", [flat, pairs], axis=2)

    def _positions(self, projection: str) -> np.ndarray:
        """What a layer makes of the relative positions, scaled as scores are: [heads, head size, 2 · span]."""
        vectors = self.weights[RELATIVE].astype(np.float64)
        if self.relative.normed:
            weight, bias = (self.weights[f"encoder.LayerNorm.{part}"] for part in ("weight", "bias"))
            centred = vectors - vectors.mean(axis=1, keepdims=True)
            deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.shape.epsilon)
            vectors = centred / deviation * weight + bias
        weight, bias = (self.weights[f"{projection}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        projected = (vectors @ weight.T + bias) * self.scale
        return projected.reshape(len(vectors), self.shape.heads, self.head_size).transpose(1, 2, 0).astype(np.float32)

    def _pool(self, first: str) -> str:
        return self._gelu("pooler.dense", first)
