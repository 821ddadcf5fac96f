"""The distributions and settings whose processing `record_sampling.py` records.

Logits are multiples of 1/4096, which float32 and JSON both hold exactly. Those written out have ties or thresholds at a
chosen place; the others are drawn from one seeded generator, so that the order of the cases matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SEED = 31072
STEP = 4096  # logits are multiples of 1/STEP


@dataclass(frozen=True)
class Case:
    """One distribution, what came before it, and what is asked."""

    name: str
    logits: list[float]
    settings: dict[str, float | int] = field(default_factory=dict)
    prompt: list[int] = field(default_factory=lambda: [0])
    generated: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)


GENERATOR = np.random.default_rng(SEED)
FALLING = [3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5]
MIXED = [2.0, -1.0, 0.5, -0.25, 0.0, 1.75, -3.0, 1.0]


def drawn(size: int, scale: float) -> list[float]:
    """Normal logits."""
    return (np.round(GENERATOR.normal(scale=scale, size=size) * STEP) / STEP).tolist()


def natural(size: int) -> list[float]:
    """Few likely tokens over a long tail, as language models answer: falling with the logarithm of the rank."""
    values = 6 - 1.3 * np.log1p(GENERATOR.permutation(size)) + GENERATOR.normal(scale=0.4, size=size)
    return (np.round(values * STEP) / STEP).tolist()


def ids(size: int, count: int) -> list[int]:
    """A history, with repetitions when it is long."""
    return GENERATOR.integers(0, size, count).tolist()


def by_hand() -> list[Case]:
    """What has to be known exactly: ties, edges, and one setting at a time."""
    return [
        Case("nothing_set", FALLING),
        Case(
            "everything_off",
            FALLING,
            {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "min_new_tokens": 0},
            stop=[0],
        ),
        Case("temperature_0.1", FALLING, {"temperature": 0.1}),
        Case("temperature_0.7", FALLING, {"temperature": 0.7}),
        Case("temperature_2", FALLING, {"temperature": 2.0}),
        Case("top_k_1", FALLING, {"top_k": 1}),
        Case("top_k_3", FALLING, {"top_k": 3}),
        Case("top_k_equals_vocabulary", FALLING, {"top_k": 10}),
        Case("top_k_exceeds_vocabulary", FALLING, {"top_k": 50}),
        Case("top_k_tie_at_the_boundary_keeps_all", [1.0, 4.0, 2.0, 2.0, 3.0, 2.0, -1.0, 2.0], {"top_k": 3}),
        Case("top_k_1_tie_keeps_all", [0.5, 4.0, 2.0, 4.0, 3.0, 4.0, -1.0, 2.0], {"top_k": 1}),
        Case("top_p_0.05_keeps_one", FALLING, {"top_p": 0.05}),
        Case("top_p_0.5", FALLING, {"top_p": 0.5}),
        Case("top_p_0.9", FALLING, {"top_p": 0.9}),
        Case("top_p_0_keeps_one", FALLING, {"top_p": 0.0}),
        Case("top_p_tie_inside_the_kept", [3.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0], {"top_p": 0.9}),
        Case("top_p_tie_at_the_boundary", [4.0, 2.0, 2.0, 2.0, 2.0, 0.0, -1.0, -2.0], {"top_p": 0.8}),
        Case("top_p_four_equal_threshold_on_a_sum", [1.0, 1.0, 1.0, 1.0, -250.0, -250.0, -250.0, -250.0], {"top_p": 0.5}),
        Case("top_p_ten_equal_threshold_on_a_sum_in_float32", [0.25] * 10, {"top_p": 0.9}),
        Case("top_p_flat_300", [0.0] * 300, {"top_p": 0.335}),
        Case("min_p_0.01", FALLING, {"min_p": 0.01}),
        Case("min_p_0.2", FALLING, {"min_p": 0.2}),
        Case("min_p_0.5", FALLING, {"min_p": 0.5}),
        Case("min_p_1_keeps_the_ties_of_the_best", [1.0, 2.0, 2.0, 0.0, -1.0, 2.0, 1.5, 0.5], {"min_p": 1.0}),
        Case("min_p_flat_keeps_all", [-4.0] * 9, {"min_p": 0.5}),
        Case("penalty_1.3_on_both_signs", MIXED, {"repetition_penalty": 1.3}, prompt=[0, 1, 4], generated=[5, 6]),
        Case("penalty_0.8_rewards", MIXED, {"repetition_penalty": 0.8}, prompt=[2], generated=[3, 7]),
        Case("penalty_counts_the_prompt_alone_too", MIXED, {"repetition_penalty": 2.0}, prompt=[0, 5]),
        Case("penalty_once_however_often", MIXED, {"repetition_penalty": 1.5}, prompt=[0, 0, 0], generated=[1, 0, 1, 1]),
        Case(
            "penalty_ignores_ids_beyond_the_vocabulary",
            MIXED,
            {"repetition_penalty": 1.5},
            prompt=[8, 200, 0],
            generated=[9],
        ),
        Case(
            "penalty_changes_the_greedy_choice",
            [2.0, 1.75, 1.0, 0.0, -1.0, -2.0, -2.5, -3.0],
            {"repetition_penalty": 1.2},
            generated=[0],
        ),
        Case("min_new_tokens_bars_the_stop_ids", MIXED, {"min_new_tokens": 3}, generated=[2, 3], stop=[0, 5]),
        Case("min_new_tokens_reached", MIXED, {"min_new_tokens": 3}, generated=[2, 3, 4], stop=[0, 5]),
        Case("min_new_tokens_does_not_count_the_prompt", MIXED, {"min_new_tokens": 1}, prompt=[1, 2, 3, 4], stop=[0]),
        Case("min_new_tokens_then_top_k", MIXED, {"min_new_tokens": 2, "top_k": 2}, generated=[7], stop=[0]),
        Case("min_new_tokens_leaves_fewer_than_top_k", MIXED, {"min_new_tokens": 2, "top_k": 6}, stop=[0, 1, 2, 5]),
        Case("greedy_tie_takes_the_lowest_id", [0.0, 3.0, -1.0, 3.0, 3.0, 2.0, 1.0, 0.5], {"temperature": 0.5}),
        Case("peaked", [30.0, 0.0, -10.0, 5.0, -30.0, 1.0, 2.0, 3.0], {"temperature": 0.3, "top_p": 0.95, "min_p": 0.01}),
    ]


def in_combination() -> list[Case]:
    """Several settings at once, on drawn logits."""
    common = {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05}
    return [
        Case("drawn_40_top_k_top_p", drawn(40, 2), {"top_k": 12, "top_p": 0.85}),
        Case("drawn_64_temperature_top_p", drawn(64, 3), {"temperature": 1.5, "top_p": 0.6}),
        Case("drawn_100_top_p_min_p", drawn(100, 2), {"top_p": 0.95, "min_p": 0.15}),
        Case("drawn_100_temperature_min_p", drawn(100, 4), {"temperature": 2.0, "min_p": 0.05}),
        Case(
            "drawn_120_negative_penalty",
            (np.array(drawn(120, 2)) - 12).tolist(),
            {"repetition_penalty": 1.1, "top_k": 30},
            ids(120, 60),
            ids(120, 30),
        ),
        Case("drawn_150_flat", drawn(150, 0.2), {"temperature": 1.2, "top_k": 50, "top_p": 0.9}),
        Case("natural_200_common_settings", natural(200), common, ids(200, 25), ids(200, 10), [7]),
        Case(
            "natural_300_everything",
            natural(300),
            common | {"top_p": 0.95, "min_p": 0.02, "min_new_tokens": 12},
            ids(300, 40),
            ids(300, 11),
            [3, 250],
        ),
        Case(
            "natural_300_cold",
            natural(300),
            {"temperature": 0.2, "top_k": 40, "top_p": 0.95, "repetition_penalty": 1.2},
            ids(300, 80),
            ids(300, 50),
        ),
        Case(
            "natural_300_hot_reward",
            natural(300),
            {"temperature": 1.8, "top_p": 0.99, "min_p": 0.1, "repetition_penalty": 0.9},
            ids(300, 30),
        ),
        Case(
            "natural_256_penalty_and_minimum",
            natural(256),
            {"repetition_penalty": 1.5, "min_new_tokens": 5},
            ids(256, 100),
            ids(256, 4),
            [0, 1, 2],
        ),
    ]
