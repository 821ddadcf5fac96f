"""A GGUF file: its metadata and its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize


class GgufError(Exception):
    """The file lacks something, or holds something this exporter does not understand."""


class GgufFile:
    """Memory-mapped; tensors are read when asked for."""

    def __init__(self, path: Path) -> None:
        self._reader = GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    def get(self, key: str, default: Any = None) -> Any:
        """A metadata value, or the default."""
        field = self._reader.get_field(key)
        return default if field is None else field.contents()

    def require(self, key: str) -> Any:
        """A metadata value that must be there."""
        if (value := self.get(key)) is None:
            raise GgufError(f"metadata key `{key}` is missing")
        return value

    def tensor_names(self) -> set[str]:
        """Every tensor in the file."""
        return set(self._tensors)

    def blocks(self, name: str) -> tuple[GGMLQuantizationType, np.ndarray]:
        """A tensor as stored: its type and its raw rows."""
        if name not in self._tensors:
            raise GgufError(f"tensor `{name}` is missing")
        tensor = self._tensors[name]
        return tensor.tensor_type, tensor.data

    def values(self, name: str) -> np.ndarray:
        """A tensor in f32, shape [rows, columns] or [columns]."""
        kind, data = self.blocks(name)
        return np.ascontiguousarray(dequantize(data, kind), dtype=np.float32)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor, [rows, columns] or [columns]."""
        if name not in self._tensors:
            raise GgufError(f"tensor `{name}` is missing")
        return tuple(int(size) for size in reversed(self._tensors[name].shape))
