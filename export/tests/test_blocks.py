"""GGUF's blocks: what is unpacked means the same numbers that the reference decoder finds in them."""

from __future__ import annotations

import unittest

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize
from poq_export.blocks import UNPACKERS, Blocks, stack, unpack

ROWS, BLOCKS = 3, 2


def random_rows(kind: Kind) -> np.ndarray:
    """Raw rows of a format: any bytes, with small scales where a float16 is read."""
    size, _ = UNPACKERS[kind]
    raw = np.random.default_rng(1).integers(0, 256, (ROWS, BLOCKS, size), dtype=np.uint8)
    halves = {Kind.Q4_1: [0, 2], Kind.Q4_K: [0, 2], Kind.Q6_K: [208]}.get(kind, [0])
    for number, place in enumerate(halves):
        scale = np.array([0.01 * (number + 1)], np.float16) * (-1 if kind is Kind.Q4_1 and number else 1)
        raw[..., place : place + 2] = scale.view(np.uint8)
    return raw.reshape(ROWS, -1)


def values(blocks: Blocks) -> np.ndarray:
    """The weights that the block operators compute with."""
    differences = blocks.codes.astype(np.float32) - blocks.zero_points[..., None]
    found = blocks.scales[..., None] * differences
    return (found if blocks.offsets is None else found + blocks.offsets[..., None]).reshape(ROWS, -1)


class Unpack(unittest.TestCase):
    def test_every_format_keeps_its_values(self) -> None:
        for kind in UNPACKERS:
            with self.subTest(kind.name):
                raw = random_rows(kind)
                np.testing.assert_allclose(values(unpack(kind, raw)), dequantize(raw, kind), atol=1e-5)

    def test_four_bit_codes_are_packed_in_pairs(self) -> None:
        blocks = unpack(Kind.Q4_0, random_rows(Kind.Q4_0))
        packed = blocks.packed_codes()
        np.testing.assert_array_equal(packed & 15, blocks.codes[..., 0::2])
        np.testing.assert_array_equal(packed >> 4, blocks.codes[..., 1::2])

    def test_an_odd_count_of_zero_points_is_filled_up(self) -> None:
        blocks = Blocks(4, np.zeros((1, 3, 32), np.uint8), np.ones((1, 3)), np.array([[1, 2, 3]], np.uint8))
        np.testing.assert_array_equal(blocks.packed_zero_points(), [[0x21, 0x03]])

    def test_stacked_matrices_lie_one_under_the_other(self) -> None:
        first = unpack(Kind.Q8_0, random_rows(Kind.Q8_0))
        both = stack([first, first])
        np.testing.assert_array_equal(both.codes[ROWS:], first.codes)
        self.assertIsNone(both.offsets)

    def test_an_unknown_format_is_refused_by_name(self) -> None:
        with self.assertRaisesRegex(ValueError, "Q2_K"):
            unpack(Kind.Q2_K, np.zeros((1, 84), np.uint8))


if __name__ == "__main__":
    unittest.main()
