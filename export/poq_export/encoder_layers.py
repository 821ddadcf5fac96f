"""What the graphs of BERT, RoBERTa and DeBERTa have in common, in ONNX Runtime's fused operators.

The runtime would find most of them in a plain graph when it loads one, but which of them depends on its version and on
shapes it can or cannot infer (its attention fusion missed a plain export of BERT); written out, the graph is the same
everywhere, on the CPU and CUDA providers alike. On a CPU, BERT is 1 to 3 % faster so than the plain graph and equal
within 3e-6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import TensorProto

from .graph import MICROSOFT, GraphBuilder

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
VECTORS = "last_hidden_state"
LOGITS = "logits"


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of an encoder."""

    hidden: int
    heads: int
    layers: int
    types: int  # rows of the table of token types; no table where it is 0
    epsilon: float
    padding: int | None = None  # the token that positions are not counted over; without one, every token counts


class EncoderGraph:
    """A graph from token ids to `last_hidden_state`, or on to `logits` when it is asked to classify.

    A classifier reads the first token alone, so in its last layer nothing is computed for the others once they have
    been attended to: an eighth of the work of six layers, and the same logits.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], shape: Shape, *, classify: bool) -> None:
        self.weights = weights
        self.shape = shape
        self.classify = classify
        self.graph = GraphBuilder()

    def save(self, path: Path) -> None:
        """Assemble the graph and write it."""
        graph = self.graph
        for name in INPUTS if self.shape.types > 1 else INPUTS[:2]:
            graph.input(name, TensorProto.INT64, ["batch", "sequence"])
        if self.classify:
            graph.output(LOGITS, TensorProto.FLOAT, ["batch", len(self.weights["classifier.bias"])])
        else:
            graph.output(VECTORS, TensorProto.FLOAT, ["batch", "sequence", self.shape.hidden])
        self._prepare()
        value = self._embed()
        last = self.shape.layers - 1
        for index in range(last + 1):
            value = self._layer(f"encoder.layer.{index}", value, VECTORS if index == last else None)
        if self.classify:
            first = graph.op("Squeeze", [value, graph.integers([1])])
            self._linear("classifier", self._pool(first), LOGITS)
        graph.save(path, external=False)

    def _prepare(self) -> None:
        """What every layer needs, computed once."""
        raise NotImplementedError

    def _embed(self) -> str:
        """The vector of every token, normalised."""
        raise NotImplementedError

    def _attend(self, name: str, value: str, first_only: bool) -> str:
        """What every token, or the first alone, takes from the others; before the output's linear layer."""
        raise NotImplementedError

    def _pool(self, first: str) -> str:
        """What the classifier reads, from the first token's vector."""
        raise NotImplementedError

    def _layer(self, name: str, value: str, output: str | None) -> str:
        """Self-attention and feed-forward, each added to its input and normalised."""
        graph = self.graph
        first_only = self.classify and output is not None
        mixed = self._attend(name, value, first_only)
        if first_only:
            value = self._first(value)
        value = self._add_and_norm(f"{name}.attention.output", mixed, value, None)
        inner = self._gelu(f"{name}.intermediate.dense", value)
        return self._add_and_norm(f"{name}.output", inner, value, output)

    def _first(self, value: str) -> str:
        """The first token of every row, in a sequence of one."""
        return self.graph.op("Gather", [value, self.graph.integers([0])], axis=1)

    def _constant(self, name: str, *, transpose: bool = False) -> str:
        array = self.weights[name].astype(np.float32)
        return self.graph.constant(name, array.T if transpose else array)

    def _norm(self, name: str) -> list[str]:
        return [self._constant(f"{name}.weight"), self._constant(f"{name}.bias")]

    def _packed(self, name: str, parts: list[str]) -> list[str]:
        """The linear layers of queries, keys and values as one: its weight and bias."""
        weight = np.concatenate([self.weights[f"{part}.weight"].T for part in parts], axis=1)
        bias = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        return [
            self.graph.constant(f"{name}.packed.weight", weight.astype(np.float32)),
            self.graph.constant(f"{name}.packed.bias", bias.astype(np.float32)),
        ]

    def _product(self, name: str, value: str) -> str:
        """A linear layer without its bias, which the operator after it adds."""
        return self.graph.op("MatMul", [value, self._constant(f"{name}.weight", transpose=True)])

    def _gelu(self, name: str, value: str) -> str:
        """A linear layer and the exact GELU."""
        product = self._product(name, value)
        return self.graph.op("BiasGelu", [product, self._constant(f"{name}.bias")], domain=MICROSOFT)

    def _add_and_norm(self, name: str, value: str, residual: str, output: str | None) -> str:
        """Linear layer, bias, residual and normalisation."""
        product = self._product(f"{name}.dense", value)
        inputs = [product, residual, *self._norm(f"{name}.LayerNorm"), self._constant(f"{name}.dense.bias")]
        outputs = [output] if output else None
        return self.graph.op("SkipLayerNormalization", inputs, outputs, MICROSOFT, epsilon=self.shape.epsilon)

    def _linear(self, name: str, value: str, output: str | None = None) -> str:
        """A linear layer on one vector per row."""
        inputs = [value, self._constant(f"{name}.weight"), self._constant(f"{name}.bias")]
        return self.graph.op("Gemm", inputs, [output] if output else None, transB=1)
