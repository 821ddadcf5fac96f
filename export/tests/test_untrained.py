"""The drawn head: the same everywhere, or the peers of a benchmark would not compute the same thing."""

from __future__ import annotations

import unittest

import numpy as np
from poq_export.untrained import SPREAD, untrained_head


class UntrainedHead(unittest.TestCase):
    def test_it_is_the_same_every_time(self) -> None:
        weight, bias = untrained_head(384, 1)
        again, _ = untrained_head(384, 1)
        np.testing.assert_array_equal(weight, again)
        self.assertEqual((weight.shape, weight.dtype, bias.tolist()), ((1, 384), np.float32, [0.0]))

    def test_its_numbers_never_change(self) -> None:
        weight, _ = untrained_head(4, 1)
        first = [-1.520741581916809, -1.5795453786849976, 1.539881944656372, -1.8130552768707275]
        np.testing.assert_array_equal(weight[0], np.array(first, np.float32))

    def test_it_fills_its_range(self) -> None:
        weight, _ = untrained_head(384, 3)
        self.assertEqual(len(np.unique(weight)), 3 * 384)
        self.assertLess(np.abs(weight).max(), SPREAD)
        self.assertAlmostEqual(float(weight.std()), SPREAD / np.sqrt(3), delta=0.05)


if __name__ == "__main__":
    unittest.main()
