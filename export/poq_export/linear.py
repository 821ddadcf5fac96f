"""Matrix multiplication by a decoder's weights, in f32, in half precision or quantised in blocks.

In half precision a matrix lies in the graph as it does in a checkpoint, [output, input], as torch's linear layers multiply
by it too, so that its bytes go from file to file. On the CPU the f32 operator is faster with [input, output].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from .blocks import Blocks, stack
from .graph import MICROSOFT, GraphBuilder, Weight
from .precision import F32, Precision

# int8 activations: the only level at which the 8-bit kernel does not dequantise the whole matrix on every call
ACCURACY_LEVEL = 4


class Tensors(Protocol):
    """Where a decoder's weights come from."""

    def names(self) -> set[str]:
        """Every tensor there is."""

    def rows(self, name: str) -> int:
        """The first dimension of a tensor."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor."""

    def values(self, name: str) -> np.ndarray:
        """A tensor in f32, shape [rows, columns] or [columns]."""

    def pieces(self, name: str, dtype: np.dtype) -> Iterator[np.ndarray]:
        """The same in any format, some rows at a time."""

    def blocks(self, name: str) -> Blocks | None:
        """A matrix in the blocks it is to be multiplied in; `None` for one that is multiplied as it is."""


class Linear:
    """Turns weight names into nodes. One instance per graph."""

    def __init__(self, graph: GraphBuilder, tensors: Tensors, share_table: bool, precision: Precision = F32) -> None:
        self._graph = graph
        self._tensors = tensors
        self._share_table = share_table
        self._precision = precision

    def embedding(self, weight: str, indices: str) -> str:
        """Rows of a table."""
        blocks = self._tensors.blocks(weight)
        if blocks is not None and self._share_table:
            return self._shared_rows(weight, blocks, indices)
        if blocks is None or blocks.bits != 8 or blocks.offsets is not None:  # the gather operator takes no offsets
            return self._graph.op("Gather", [self._graph.constant(weight, self._stacked([weight])), indices], axis=0)
        rows, count, size = blocks.codes.shape
        inputs = [
            self._graph.constant(f"{weight}.rows", blocks.codes.reshape(rows, count * size)),
            indices,
            self._graph.constant(f"{weight}.row_scales", blocks.scales),
            self._graph.constant(f"{weight}.row_zero_points", blocks.zero_points),
        ]
        return self._graph.op(
            "GatherBlockQuantized", inputs, domain=MICROSOFT, bits=8, block_size=size, gather_axis=0, quantize_axis=1
        )

    def _shared_rows(self, weight: str, blocks: Blocks, indices: str) -> str:
        """Rows of a table whose codes lie as the head multiplies by them, [rows, blocks, bytes], and are stored once.

        Only the scales and zero points, a small part of it, are stored again with the dimensions that this operator wants.
        """
        rows, count, size = blocks.codes.shape
        inputs = [
            self._graph.constant(f"{_joined([weight])}.codes", blocks.packed_codes()),
            indices,
            self._graph.constant(f"{weight}.row_scales", blocks.scales[..., None]),
            self._graph.constant(f"{weight}.row_zero_points", blocks.zero_points[..., None]),
        ]
        gathered = self._graph.op(
            "GatherBlockQuantized", inputs, domain=MICROSOFT, bits=blocks.bits, block_size=size, gather_axis=0,
            quantize_axis=2,
        )
        return self._graph.op("Reshape", [gathered, self._graph.integers([0, 0, count * size])])

    def tied_head(self, weight: str, x: str, index: str) -> str:
        """`x` [batch, wanted, hidden] times the transposed embedding table, which graphs without blocks hold only once.

        `index` is any tensor of the shape [batch, wanted].
        """
        if (blocks := self._tensors.blocks(weight)) is not None:
            return self._block_product(x, _joined([weight]), blocks, codes_stored=self._share_table)
        graph, (rows, hidden) = self._graph, self._tensors.shape(weight)
        if self._precision.is_half:
            return graph.op("FusedMatMul", [x, weight], domain=MICROSOFT, transB=1)
        logits = graph.op("Gemm", [graph.op("Reshape", [x, graph.integers([-1, hidden])]), weight], transB=1)
        shape = graph.op("Concat", [graph.op("Shape", [index]), graph.integers([rows])], axis=0)
        return graph.op("Reshape", [logits, shape])

    def multiply(self, x: str, weights: list[str], biases: list[str] | None = None) -> str:
        """`x` times the transposed weights, side by side on the last axis.

        One operator where the weights can be stacked, because a decode step of a small model is mostly operator overhead.
        """
        parts = [self._tensors.blocks(weight) for weight in weights]
        if all(part is not None for part in parts):
            y = self._multiply_blocks(x, weights, parts)
        elif self._precision.is_half:
            matrix = self._graph.constant(_joined(weights), self._stacked(weights))
            y = self._graph.op("FusedMatMul", [x, matrix], domain=MICROSOFT, transB=1)
        else:
            y = self._graph.op("MatMul", [x, self._graph.constant(_joined(weights), self._transposed(weights))])
        if not biases:
            return y
        bias = np.concatenate([self.vector(name) for name in biases])
        return self._graph.op("Add", [y, self._graph.constant(_joined(biases), bias)])

    def vector(self, name: str) -> np.ndarray:
        """A bias or the weight of a norm, in the graph's precision."""
        return np.concatenate(list(self._tensors.pieces(name, self._precision.dtype)))

    def _stacked(self, weights: list[str]) -> Weight:
        """Matrices one under the other."""
        shapes, dtype = [self._tensors.shape(name) for name in weights], self._precision.dtype
        shape = (sum(rows for rows, _ in shapes), shapes[0][1])
        return Weight(shape, dtype, lambda: (piece for name in weights for piece in self._tensors.pieces(name, dtype)))

    def _transposed(self, weights: list[str]) -> Weight:
        """The same with input and output exchanged."""
        stacked = self._stacked(weights)
        shape = stacked.shape[::-1]

        def pieces() -> Iterator[np.ndarray]:
            matrix, start = np.empty(shape, stacked.dtype), 0
            for piece in stacked.pieces():
                matrix[:, start : start + len(piece)] = piece.T
                start += len(piece)
            yield matrix

        return Weight(shape, stacked.dtype, pieces)

    def _multiply_blocks(self, x: str, weights: list[str], parts: list[Blocks]) -> str:
        if len({part.layout for part in parts}) == 1:
            return self._block_product(x, _joined(weights), stack(parts))
        products = [self._block_product(x, weight, part) for weight, part in zip(weights, parts)]
        return self._graph.op("Concat", products, axis=-1)

    def _block_product(self, x: str, name: str, blocks: Blocks, codes_stored: bool = False) -> str:
        rows, count, size = blocks.codes.shape
        codes = f"{name}.codes"
        inputs = [
            x,
            codes if codes_stored else self._graph.constant(codes, blocks.packed_codes()),
            self._graph.constant(f"{name}.scales", blocks.scales),
            self._graph.constant(f"{name}.zero_points", blocks.packed_zero_points()),
        ]
        product = self._graph.op(
            "MatMulNBits", inputs, domain=MICROSOFT, K=count * size, N=rows, bits=blocks.bits, block_size=size,
            accuracy_level=ACCURACY_LEVEL,
        )
        if blocks.offsets is None:
            return product
        # The kernel only takes integer zero points at full speed. What they miss is one number per block, so it
        # multiplies the sum of the block's inputs: a matrix 32 times narrower, and the result is exact again.
        sums = self._graph.op("ReduceSum", [self._graph.op("Reshape", [x, self._graph.integers([0, 0, count, size])]),
                                            self._graph.integers([-1])], keepdims=0)
        offsets = self._graph.constant(f"{name}.offsets", blocks.offsets.T)
        return self._graph.op("Add", [product, self._graph.op("MatMul", [sums, offsets])])


def _joined(names: list[str]) -> str:
    """`blk.0.attn_q.weight`, `blk.0.attn_k.weight` → `blk.0.attn_q+attn_k.weight`."""
    head, _, tail = names[0].rpartition(".")
    scope, _, _ = head.rpartition(".")
    return f"{scope}.{'+'.join(name.removesuffix('.' + tail).removeprefix(scope + '.') for name in names)}.{tail}"
