"""What a tiny encoder has to answer, computed with numpy from its stored weights, row by row and without padding."""

from __future__ import annotations

import pathlib

import numpy as np
import onnx
from onnx import numpy_helper
from tokenizers import Encoding


class Arithmetic:
    """The encoder of `encoders.py`, written a second time."""

    def __init__(self, folder: pathlib.Path) -> None:
        stored = onnx.load(folder / "model.onnx").graph.initializer
        weights = {tensor.name.removesuffix(".f16"): numpy_helper.to_array(tensor) for tensor in stored}
        self._weights = {name: array.astype(np.float64) for name, array in weights.items()}

    def answer(self, row: Encoding) -> np.ndarray:
        """The mean of the token vectors, or the logits if there is a head."""
        used = slice(sum(row.attention_mask))
        value = self._weights["tokens"][row.ids[used]] + self._weights["positions"][used]
        if "types" in self._weights:
            value = value + self._weights["types"][row.type_ids[used]]
        value = value + self._attention(value)
        value = value - value.mean(-1, keepdims=True)
        pooled = (value / np.sqrt(value.var(-1, keepdims=True) + 1e-5)).mean(0)
        return np.tanh(3 * pooled) @ self._weights["head"] if "head" in self._weights else pooled

    def _attention(self, value: np.ndarray) -> np.ndarray:
        query, key, content = (value @ self._weights[name] for name in ("query", "key", "value"))
        scores = np.exp(query @ key.T / np.sqrt(value.shape[1]))
        return scores / scores.sum(-1, keepdims=True) @ content
