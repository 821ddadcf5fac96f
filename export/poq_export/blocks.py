"""GGUF's quantised blocks as the codes, scales and offsets that ONNX Runtime's block operators take.

Every format here is affine inside a block: `weight = scale * (code - zero_point) + offset`. Where GGUF stores a real
minimum (Q4_1, Q4_K), the nearest integer goes into `zero_point` and the remainder into `offset`, so nothing is lost;
the symmetric formats have no offset. Five- and six-bit codes are kept in a byte, which is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from gguf import GGMLQuantizationType as Kind


@dataclasses.dataclass(frozen=True)
class Blocks:
    """One quantised matrix."""

    bits: int
    codes: np.ndarray  # uint8 [rows, blocks, block size], one code per element
    scales: np.ndarray  # float32 [rows, blocks]
    zero_points: np.ndarray  # uint8 [rows, blocks]
    offsets: np.ndarray | None = None  # float32 [rows, blocks]

    @property
    def layout(self) -> tuple[int, int, bool]:
        """Matrices of one layout can be stacked into one."""
        return self.bits, self.codes.shape[2], self.offsets is not None

    def packed_codes(self) -> np.ndarray:
        """Codes as the operator reads them: two 4-bit codes to a byte, the first in the low half."""
        return self.codes if self.bits == 8 else self.codes[..., 0::2] | self.codes[..., 1::2] << 4

    def packed_zero_points(self) -> np.ndarray:
        """Zero points, packed along the row like the codes."""
        if self.bits == 8:
            return self.zero_points
        even = np.pad(self.zero_points, ((0, 0), (0, self.zero_points.shape[1] % 2)))
        return even[:, 0::2] | even[:, 1::2] << 4


def stack(parts: list[Blocks]) -> Blocks:
    """Matrices over the same columns, one under the other."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    offsets = None if first.offsets is None else np.concatenate([part.offsets for part in parts])
    return Blocks(
        first.bits,
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scales for part in parts]),
        np.concatenate([part.zero_points for part in parts]),
        offsets,
    )


def unpack(kind: Kind, data: np.ndarray) -> Blocks:
    """The rows of a quantised GGUF tensor, without a change to any weight."""
    if kind not in UNPACKERS:
        raise ValueError(f"{kind.name} blocks cannot be kept; known are {', '.join(k.name for k in UNPACKERS)}")
    size, unpacker = UNPACKERS[kind]
    rows = data.shape[0]
    return unpacker(data.reshape(rows, -1, size))


def _half(raw: np.ndarray) -> np.ndarray:
    """Two bytes of a float16, last axis, as float32."""
    return np.ascontiguousarray(raw).view(np.float16)[..., 0].astype(np.float32)


def _nibbles(raw: np.ndarray) -> np.ndarray:
    """The low halves of all bytes, then the high halves."""
    return np.concatenate([raw & 15, raw >> 4], axis=-1)


def _symmetric(bits: int, codes: np.ndarray, scales: np.ndarray, zero_point: int) -> Blocks:
    return Blocks(bits, codes, scales, np.full(scales.shape, zero_point, np.uint8))


def _affine(codes: np.ndarray, scales: np.ndarray, minima: np.ndarray) -> Blocks:
    """4-bit `scale * code + minimum`, the minimum split into an integer zero point and what is left of it."""
    ratio = np.divide(-minima, scales, out=np.zeros_like(minima), where=scales != 0)
    zero_points = np.clip(np.rint(ratio), 0, 15).astype(np.uint8)
    return Blocks(4, codes, scales, zero_points, minima + scales * zero_points)


def _q4_0(raw: np.ndarray) -> Blocks:
    return _symmetric(4, _nibbles(raw[..., 2:]), _half(raw[..., :2]), 8)


def _q4_1(raw: np.ndarray) -> Blocks:
    return _affine(_nibbles(raw[..., 4:]), _half(raw[..., :2]), _half(raw[..., 2:4]))


def _q5_0(raw: np.ndarray) -> Blocks:
    fifth_bits = np.unpackbits(raw[..., 2:6], axis=-1, bitorder="little")
    return _symmetric(8, _nibbles(raw[..., 6:]) | fifth_bits << 4, _half(raw[..., :2]), 16)


def _q8_0(raw: np.ndarray) -> Blocks:
    return _symmetric(8, raw[..., 2:] ^ 0x80, _half(raw[..., :2]), 128)


def _q4_k(raw: np.ndarray) -> Blocks:
    """Super-blocks of 8 x 32; eight 6-bit scales and minima share twelve bytes."""
    rows, count, _ = raw.shape
    first, second, third = raw[..., 4:8], raw[..., 8:12], raw[..., 12:16]
    scales = np.concatenate([first & 63, third & 15 | first >> 6 << 4], axis=-1)
    minima = np.concatenate([second & 63, third >> 4 | second >> 6 << 4], axis=-1)
    codes = _nibbles(raw[..., 16:].reshape(rows, count * 4, 32)).reshape(rows, count * 8, 32)
    scales = (_half(raw[..., 0:2])[..., None] * scales).reshape(rows, -1)
    minima = (_half(raw[..., 2:4])[..., None] * minima).reshape(rows, -1)
    return _affine(codes, scales, -minima)


def _q6_k(raw: np.ndarray) -> Blocks:
    """Super-blocks of 16 x 16; low nibbles and high bit pairs lie in two interleaved halves of 128."""
    rows, count, _ = raw.shape
    low = raw[..., :128].reshape(rows, count, 2, 64)
    low = np.concatenate([low & 15, low >> 4], axis=-1)
    high = raw[..., 128:192].reshape(rows, count, 2, 32)
    high = np.concatenate([high >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
    codes = (low | high << 4).reshape(rows, count * 16, 16)
    scales = _half(raw[..., 208:])[..., None] * raw[..., 192:208].view(np.int8)
    return _symmetric(8, codes, scales.reshape(rows, -1), 32)


# type: (bytes of a block, its unpacker)
UNPACKERS: dict[Kind, tuple[int, Callable[[np.ndarray], Blocks]]] = {
    Kind.Q4_0: (18, _q4_0),
    Kind.Q4_1: (20, _q4_1),
    Kind.Q5_0: (22, _q5_0),
    Kind.Q8_0: (34, _q8_0),
    Kind.Q4_K: (144, _q4_k),
    Kind.Q6_K: (210, _q6_k),
}
