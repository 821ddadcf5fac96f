"""A published checkpoint: its configuration files and its weights in safetensors, in one file or in several."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from .blocks import Blocks
from .rounding import BLOCK, rounded

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F32", "F16", "BF16")
# The embedding and the head keep 8 bits where everything else has 4: with 4 of their own they did more harm to
# SmolLM2-135M (mean logit error 5.3 instead of 3.2) than the seventh of its size that it saves is worth.
TABLES, TABLE_BITS = ("token_embd.weight", "output.weight"), 8


class CheckpointError(Exception):
    """The checkpoint lacks something, or holds something this exporter does not understand."""


class Checkpoint:
    """Files by the names they were published under; weights are read when asked for."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        self._weights = {name: file for file in self._weight_files() for name in file.keys()}

    def document(self, name: str) -> dict[str, Any] | None:
        """A JSON file; `None` where the checkpoint has none of that name."""
        if name not in self.files:
            return None
        return json.loads(self.files[name].read_text(encoding="utf-8"))

    def require(self, name: str) -> Path:
        """A file that must be there."""
        if name not in self.files:
            raise CheckpointError(f"the checkpoint has no `{name}`")
        return self.files[name]

    def tensor_names(self) -> set[str]:
        """Every tensor of every weight file."""
        return set(self._weights)

    def shape(self, name: str) -> list[int]:
        """Dimensions of a tensor."""
        return self._slice(name).get_shape()

    def values(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Some rows of a tensor, in f32."""
        part = self._slice(name)
        if part.get_dtype() not in FLOATS:
            raise CheckpointError(f"tensor `{name}` is {part.get_dtype()}; only {', '.join(FLOATS)} can be read")
        return np.ascontiguousarray(part[rows], dtype=np.float32)

    def _slice(self, name: str) -> Any:
        if name not in self._weights:
            raise CheckpointError(f"tensor `{name}` is missing")
        return self._weights[name].get_slice(name)

    def _weight_files(self) -> list[Any]:
        """Every weight file, opened."""
        if INDEX not in self.files:
            return [safe_open(self.require(WEIGHTS), "np")]
        if WEIGHTS in self.files:
            raise CheckpointError(f"the checkpoint has both `{WEIGHTS}` and `{INDEX}`; which of them counts is not clear")
        listed = self.document(INDEX)["weight_map"]
        opened = {shard: safe_open(self.require(shard), "np") for shard in sorted(set(listed.values()))}
        for shard, handle in opened.items():
            expected = {name for name, place in listed.items() if place == shard}
            if differing := sorted(expected ^ set(handle.keys())):
                raise CheckpointError(f"`{shard}` and `{INDEX}` do not agree on where tensor `{differing[0]}` is")
        return list(opened.values())


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a tensor of the graph lies in a checkpoint, and what it has to look like."""

    name: str
    shape: tuple[int, ...]  # of the tensor of the graph
    start: int = 0  # its first row in the tensor that holds it
    stored_rows: int | None = None  # rows of that tensor, if it holds others too
    added: float = 0.0  # what the architecture adds to the stored values

    @property
    def rows(self) -> slice:
        """Its rows in the tensor that holds it."""
        return slice(self.start, self.start + self.shape[0])

    @property
    def stored_shape(self) -> list[int]:
        """Dimensions of the tensor that holds it."""
        return [self.stored_rows or self.shape[0], *self.shape[1:]]


class CheckpointTensors:
    """A checkpoint's tensors under the names the graph builder asks for, in f32 or rounded to `bits`."""

    def __init__(self, checkpoint: Checkpoint, places: dict[str, Place], bits: int | None, copies: dict[str, str]) -> None:
        self._checkpoint = checkpoint
        self._places = places
        self._bits = bits
        self._check(copies)

    def names(self) -> set[str]:
        """Every tensor of the graph."""
        return set(self._places)

    def rows(self, name: str) -> int:
        """The first dimension of a tensor."""
        return self._places[name].shape[0]

    def values(self, name: str) -> np.ndarray:
        """A tensor in f32, shape [rows, columns] or [columns]."""
        place = self._places[name]
        values = self._checkpoint.values(place.name, place.rows)
        return values + np.float32(place.added) if place.added else values

    def blocks(self, name: str) -> Blocks | None:
        """A rounded matrix, if matrices are to be rounded."""
        if (bits := self.bits(name)) is None:
            return None
        if self._places[name].shape[1] % BLOCK:
            raise CheckpointError(f"tensor `{self._places[name].name}` has rows that blocks of {BLOCK} do not fill")
        return rounded(self.values(name), bits)

    def bits(self, name: str) -> int | None:
        """How many bits a weight of a matrix is rounded to; `None` where it stays f32."""
        return TABLE_BITS if self._bits is not None and name in TABLES else self._bits

    def _check(self, copies: dict[str, str]) -> None:
        """Every tensor is used, none is missing and each has the shape that the configuration gives it.

        `copies` are tensors that may be stored again under another name, and must then be equal.
        """
        held, used = self._checkpoint.tensor_names(), {place.name for place in self._places.values()}
        for copy, original in copies.items():
            if copy in held and not np.array_equal(self._checkpoint.values(copy), self._checkpoint.values(original)):
                raise CheckpointError(f"tensor `{copy}` differs from `{original}`, which the configuration ties it to")
        held -= copies.keys()
        if missing := sorted(used - held):
            raise CheckpointError(f"tensor `{missing[0]}` is missing")
        if unknown := sorted(held - used):
            raise CheckpointError(f"tensor `{unknown[0]}` is not part of what this recipe builds")
        for place in self._places.values():
            if (shape := self._checkpoint.shape(place.name)) != place.stored_shape:
                raise CheckpointError(
                    f"tensor `{place.name}` has shape {shape}, the configuration says {place.stored_shape}"
                )
