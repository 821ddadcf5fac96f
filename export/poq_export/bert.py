"""BERT and RoBERTa as ONNX graphs, built from their published weights."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .encoder_layers import EncoderGraph
from .graph import MICROSOFT

PREFIX = "embeddings"


class Bert(EncoderGraph):
    """The graph of BERT; that of RoBERTa where positions are counted over the tokens that are not padding."""

    def _prepare(self) -> None:
        self._mask = self.graph.op("Cast", ["attention_mask"], to=TensorProto.INT32)

    def _embed(self) -> str:
        """Token, position and type embeddings, summed and normalised by one operator."""
        if self.shape.padding is not None:
            return self._embed_counted(self.shape.padding)
        graph = self.graph
        ids = graph.op("Cast", ["input_ids"], to=TensorProto.INT32)
        tokens = self._constant(f"{PREFIX}.word_embeddings.weight")
        types = types_table = ""
        if self.shape.types > 1:
            types = graph.op("Cast", ["token_type_ids"], to=TensorProto.INT32)
            types_table = self._constant(f"{PREFIX}.token_type_embeddings.weight")
            positions = self._constant(f"{PREFIX}.position_embeddings.weight")
        else:
            positions = self._untyped_positions()
        inputs = [ids, types, tokens, positions, types_table, *self._norm(f"{PREFIX}.LayerNorm")]
        outputs = ["embeddings", "embeddings_mask"]  # the second is part of the operator's signature, and unused
        return graph.op("EmbedLayerNormalization", inputs, outputs, MICROSOFT, epsilon=self.shape.epsilon)

    def _embed_counted(self, padding: int) -> str:
        """RoBERTa's: the first token that is not padding has position `padding` + 1, and padding has `padding`.

        Which token is padding is told by its id and not by the mask, as in the reference.
        """
        graph = self.graph
        real = graph.op("Equal", ["input_ids", graph.integers([padding])])
        real = graph.op("Cast", [graph.op("Not", [real])], to=TensorProto.INT32)
        count = graph.op("Mul", [graph.op("CumSum", [real, graph.integers([1])]), real])
        places = graph.op("Add", [count, graph.integers([padding], np.int32)])
        tokens = graph.op("Gather", [self._constant(f"{PREFIX}.word_embeddings.weight"), "input_ids"])
        positions = graph.op("Gather", [self._untyped_positions(), places])
        inputs = [tokens, positions, *self._norm(f"{PREFIX}.LayerNorm")]
        return graph.op("SkipLayerNormalization", inputs, domain=MICROSOFT, epsilon=self.shape.epsilon)

    def _untyped_positions(self) -> str:
        """The table of positions where every token has the same type, whose vector is part of each."""
        name = f"{PREFIX}.position_embeddings.weight"
        table = self.weights[name] + self.weights[f"{PREFIX}.token_type_embeddings.weight"]
        return self.graph.constant(name, table.astype(np.float32))

    def _attend(self, name: str, value: str, first_only: bool) -> str:
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        inputs = [value, *self._packed(f"{name}.attention", parts), self._mask]
        mixed = self.graph.op("Attention", inputs, domain=MICROSOFT, num_heads=self.shape.heads)
        return self._first(mixed) if first_only else mixed

    def _pool(self, first: str) -> str:
        return self.graph.op("Tanh", [self._linear("pooler.dense", first)])
