"""The drift report: its statistics, on functions whose drift is known beforehand."""

from __future__ import annotations

import unittest

import numpy as np
from poq_export import drift, drift_inputs
from poq_export.registry import Scoring


def scoring(**fields: object) -> Scoring:
    """A cross-encoder's scoring table."""
    return Scoring(output="logits", batch_size=8, **fields)


class Statistics(unittest.TestCase):
    def test_equal_values_share_the_mean_of_their_ranks(self) -> None:
        np.testing.assert_array_equal(drift.ranks(np.array([3.0, 1.0, 3.0, 7.0, 3.0])), [3, 1, 3, 5, 3])

    def test_spearman_sees_order_alone(self) -> None:
        values = np.array([0.1, 0.4, 0.2, 0.9])
        self.assertAlmostEqual(drift.spearman(values, np.exp(5 * values)), 1.0)
        self.assertAlmostEqual(drift.spearman(values, -(values**3)), -1.0)
        self.assertLess(drift.pearson(values, np.exp(5 * values)), 0.99)

    def test_spearman_with_ties_equals_the_value_worked_out_by_hand(self) -> None:
        # ranks 1, 2.5, 2.5, 4 and 1, 2, 4, 3: sum of products 3, sums of squares 4.5 and 5
        first, second = np.array([10.0, 20.0, 20.0, 30.0]), np.array([1.0, 2.0, 9.0, 3.0])
        self.assertAlmostEqual(drift.spearman(first, second), 3 / np.sqrt(4.5 * 5))

    def test_a_constant_correlates_with_nothing(self) -> None:
        self.assertEqual(drift.spearman(np.ones(5), np.arange(5.0)), 0.0)


class Measure(unittest.TestCase):
    PAIRS = [("a" * number, "b" * (40 - number)) for number in range(1, 33)]

    @staticmethod
    def exact(pairs: list[drift_inputs.Pair]) -> np.ndarray:
        """A score that depends on its row alone."""
        return np.array([len(reference) / 40 for reference, _ in pairs])

    def test_a_graph_like_the_original_does_not_drift(self) -> None:
        figures = drift.measure({"f32": self.exact, "int8": self.exact}, self.PAIRS)
        self.assertEqual(figures["pairs"], 32)
        self.assertEqual(figures["int8"]["difference_largest"], 0.0)
        self.assertEqual(figures["int8"]["batch_mate_largest"], 0.0)
        self.assertAlmostEqual(figures["int8"]["spearman"], 1.0)

    def test_an_offset_and_the_influence_of_batch_mates_are_told_apart(self) -> None:
        def drifting(pairs: list[drift_inputs.Pair]) -> np.ndarray:
            return self.exact(pairs) + 0.01 + (0.5 if len(pairs) > 1 else 0.0)

        figures = drift.measure({"f32": self.exact, "int8": drifting}, self.PAIRS)
        self.assertAlmostEqual(figures["int8"]["difference_largest"], 0.01)
        self.assertAlmostEqual(figures["int8"]["difference_p99"], 0.01)
        self.assertAlmostEqual(figures["int8"]["batch_mate_mean"], 0.5)
        self.assertEqual(figures["f32"], {"batch_mate_largest": 0.0, "batch_mate_mean": 0.0})

    def test_a_score_that_is_no_number_names_its_pair(self) -> None:
        with self.assertRaisesRegex(drift.DriftError, "int8.*nan"):
            drift.measure({"f32": self.exact, "int8": lambda pairs: np.full(len(pairs), np.nan)}, self.PAIRS)


class Heads(unittest.TestCase):
    LOGITS = np.log(np.array([[0.5, 0.3, 0.2]]))
    LABELS = ["entailment", "neutral", "contradiction"]

    def score(self, logits: np.ndarray = LOGITS, **fields: object) -> float:
        return float(drift.head(logits, scoring(**fields))[0])

    def test_every_head_reads_its_label(self) -> None:
        self.assertAlmostEqual(self.score(head="probability", labels=self.LABELS, target="neutral"), 0.3)
        difference = self.score(head="difference", labels=self.LABELS, target="entailment", minus="contradiction")
        self.assertAlmostEqual(difference, 0.3)
        self.assertAlmostEqual(self.score(head="logit", labels=self.LABELS, target="contradiction"), np.log(0.2))
        self.assertAlmostEqual(self.score(np.array([[-1.5]]), head="logit"), -1.5)
        self.assertAlmostEqual(self.score(np.array([[0.0]]), head="sigmoid"), 0.5)

    def test_an_unknown_head_is_refused(self) -> None:
        with self.assertRaisesRegex(drift.DriftError, "argmax"):
            self.score(head="argmax", labels=self.LABELS, target="neutral")


class Inputs(unittest.TestCase):
    def test_the_pairs_are_the_same_every_time_and_of_mixed_length(self) -> None:
        pairs = drift_inputs.pairs()
        self.assertEqual(pairs, drift_inputs.pairs())
        self.assertEqual(len(set(pairs)), drift_inputs.PAIRS)
        lengths = [len(reference) + len(output) for reference, output in pairs]
        self.assertLess(min(lengths), 30)
        self.assertGreater(max(lengths), 1000)

    def test_sentences_end_where_the_next_one_begins(self) -> None:
        text = "It cost 1.5 million. Was it worth it? “Yes!” he said. 12 people left."
        self.assertEqual(len(drift_inputs.sentences(text)), 4)


if __name__ == "__main__":
    unittest.main()
