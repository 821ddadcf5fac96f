"""Rounding a matrix to 4 or 8 bits in blocks of 32 along its rows, each block with a scale of its own."""

from __future__ import annotations

import numpy as np

from .blocks import Blocks

BLOCK = 32


def rounded(matrix: np.ndarray, bits: int) -> Blocks:
    """`matrix` float32 [rows, columns] to the nearest codes: 8 bits around zero, 4 bits from minimum to maximum."""
    rows, columns = matrix.shape
    if columns % BLOCK:
        raise ValueError(f"{columns} columns are not a multiple of {BLOCK}")
    values = matrix.reshape(rows, columns // BLOCK, BLOCK)
    return _around_zero(values) if bits == 8 else _between_bounds(values)


def _around_zero(values: np.ndarray) -> Blocks:
    """Codes 1 to 255, 128 standing for zero."""
    scales = _divisible(np.abs(values).max(axis=-1) / np.float32(127))
    codes = np.rint(values / scales[..., None]) + 128
    return Blocks(8, codes.astype(np.uint8), scales, np.full(scales.shape, 128, np.uint8))


def _between_bounds(values: np.ndarray) -> Blocks:
    """Codes 0 to 15 over the block's range, which is widened to hold zero so that a zero weight stays one."""
    low, high = np.minimum(values.min(axis=-1), 0), np.maximum(values.max(axis=-1), 0)
    scales = _divisible((high - low) / np.float32(15))
    zero_points = np.rint(-low / scales)
    codes = np.clip(np.rint(values / scales[..., None]) + zero_points[..., None], 0, 15)
    return Blocks(4, codes.astype(np.uint8), scales, zero_points.astype(np.uint8))


def _divisible(scales: np.ndarray) -> np.ndarray:
    """A block of zeros keeps a scale that divides."""
    return np.where(scales > 0, scales, 1).astype(np.float32)
