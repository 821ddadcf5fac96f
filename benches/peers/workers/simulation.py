"""What the workers that simulate share: the network as the harness wrote it, and what its nodes earned as it is sent back.

Every evaluator is drawn in every round (K = 3 of 3), so a round draws a record and an inference node and nothing else.
"""

from __future__ import annotations

import json
from typing import NamedTuple


class Network(NamedTuple):
    """Who scored what, what everybody costs, what a round pays, and how many rounds to play."""

    # By record, inference node and evaluator, in 0..10.
    scores: list[list[list[float]]]
    inference_costs: list[float]
    evaluator_costs: list[float]
    alpha: float
    beta: float
    # Which quantiles of the rewards are asked for.
    quantiles: list[float]
    rounds: int
    seed: int


class Earned(NamedTuple):
    """Rewards of a node over its jobs."""

    jobs: int
    mean: float
    variance: float
    quantiles: list[float]


class Played(NamedTuple):
    """A pass: its rounds, and what everybody earned, inference nodes before evaluators."""

    rounds: int
    nodes: list[Earned]


def read_network(path: str) -> Network:
    """The file of inputs."""
    with open(path, encoding="utf-8") as file:
        return Network(**json.load(file))


def share(network: Network, divisor: int) -> int:
    """The rounds that a tool plays: fewer the slower it is, so that every pass takes about as long."""
    return max(min(network.rounds, 1000), network.rounds // divisor)


def millions(played: Played) -> float:
    """Of rounds, which is what the rate counts."""
    return played.rounds / 1e6


def summarise(played: Played) -> dict:
    """As it is sent back."""
    return {"rounds": played.rounds, "nodes": [earned._asdict() for earned in played.nodes]}
