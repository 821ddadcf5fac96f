"""A published checkpoint: its configuration files and its weights in safetensors, in one file or in several."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from .blocks import Blocks
from .precision import converted
from .rounding import BLOCK, rounded

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F32", "F16", "BF16")
PIECE = 1 << 23  # elements that are read at a time
# The embedding and the head keep 8 bits where everything else has 4: with 4 of their own they did more harm to
# SmolLM2-135M (mean logit error 5.3 instead of 3.2) than the seventh of its size that it saves is worth.
TABLES, TABLE_BITS = ("token_embd.weight", "output.weight"), 8


class CheckpointError(Exception):
    """The checkpoint lacks something, or holds something this exporter does not understand."""


class Checkpoint:
    """Files by the names they were published under; weights are read when asked for."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        self._stored = {name: held for names in self._weight_files().values() for name, held in names.items()}

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
        return set(self._stored)

    def shape(self, name: str) -> list[int]:
        """Dimensions of a tensor."""
        return self._find(name).shape

    def values(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Some rows of a tensor, in f32."""
        return self.stored(name, rows).astype(np.float32)

    def stored(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Some rows of a tensor, in the format it is stored in.

        The file is open, and mapped into memory, only meanwhile: what was read does not stay.
        """
        held = self._find(name)
        if held.kind not in FLOATS:
            raise CheckpointError(f"tensor `{name}` is {held.kind}; only {', '.join(FLOATS)} can be read")
        with safe_open(held.file, "np") as file:
            return np.ascontiguousarray(file.get_slice(name)[rows])

    def equal(self, name: str, other: str) -> bool:
        """Whether two tensors are the same, compared some rows at a time."""
        if self.shape(name) != self.shape(other):
            return False
        parts = row_slices(slice(0, self.shape(name)[0]), self.shape(name)[1:])
        return all(np.array_equal(self.values(name, part), self.values(other, part)) for part in parts)

    def _find(self, name: str) -> Stored:
        if name not in self._stored:
            raise CheckpointError(f"tensor `{name}` is missing")
        return self._stored[name]

    def _weight_files(self) -> dict[Path, dict[str, Stored]]:
        """Every weight file and what lies in it."""
        if INDEX not in self.files:
            path = self.require(WEIGHTS)
            return {path: _listed(path)}
        if WEIGHTS in self.files:
            raise CheckpointError(f"the checkpoint has both `{WEIGHTS}` and `{INDEX}`; which of them counts is not clear")
        places = self.document(INDEX)["weight_map"]
        found = {}
        for shard in sorted(set(places.values())):
            path = self.require(shard)
            found[path] = _listed(path)
            expected = {name for name, place in places.items() if place == shard}
            if differing := sorted(expected ^ found[path].keys()):
                raise CheckpointError(f"`{shard}` and `{INDEX}` do not agree on where tensor `{differing[0]}` is")
        return found


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor in a weight file."""

    file: Path
    kind: str
    shape: list[int]


def _listed(path: Path) -> dict[str, Stored]:
    """The tensors of a weight file."""
    with safe_open(path, "np") as file:
        parts = {name: file.get_slice(name) for name in file.keys()}
        return {name: Stored(path, part.get_dtype(), part.get_shape()) for name, part in parts.items()}


def row_slices(rows: slice, row: Sequence[int]) -> list[slice]:
    """`rows` of a tensor in parts that are small enough to be held; `row` has the dimensions of one."""
    step = max(1, PIECE // int(np.prod(row)))
    return [slice(start, min(start + step, rows.stop)) for start in range(rows.start, rows.stop, step)]


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


class PlacedTensors:
    """The tensors of a graph by the names that its builder asks for, wherever their values come from."""

    def __init__(self, places: dict[str, Place]) -> None:
        self._places = places

    def names(self) -> set[str]:
        """Every tensor of the graph."""
        return set(self._places)

    def rows(self, name: str) -> int:
        """The first dimension of a tensor."""
        return self._places[name].shape[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor."""
        return self._places[name].shape


class CheckpointTensors(PlacedTensors):
    """A checkpoint's tensors under the names the graph builder asks for, in f32 or rounded to `bits`."""

    def __init__(self, checkpoint: Checkpoint, places: dict[str, Place], bits: int | None, copies: dict[str, str]) -> None:
        super().__init__(places)
        self._checkpoint = checkpoint
        self._bits = bits
        self._check(copies)

    def values(self, name: str) -> np.ndarray:
        """A tensor in f32, shape [rows, columns] or [columns]."""
        return np.concatenate(list(self.pieces(name, np.dtype(np.float32))))

    def pieces(self, name: str, dtype: np.dtype) -> Iterator[np.ndarray]:
        """A tensor's rows, some at a time. What is stored in that format, and not added to, keeps every bit."""
        place = self._places[name]
        for part in row_slices(place.rows, place.shape[1:]):
            rows = self._checkpoint.stored(place.name, part)
            if place.added:
                rows = rows.astype(np.float32) + np.float32(place.added)
            yield converted(rows, dtype, place.name)

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
            if copy in held and not self._checkpoint.equal(copy, original):
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
