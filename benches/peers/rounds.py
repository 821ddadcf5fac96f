"""The network that every contestant simulates, and whether what they say it earned can be true.

Scores and costs are those of a run of poq, so that poq and the peers pay for the same thing. Every evaluator is drawn in
every round, so the exact distribution of every reward can be written down: each contestant is held to that.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# The mechanism's coefficients (Equations 2 and 5), the same for inference nodes and evaluators, and K = all of them.
ALPHA, BETA = 1.0, 0.3
QUANTILES = (0.05, 0.5, 0.95)
SEED = 2512
# Differences from the exact value, in standard errors, that chance does not make.
MOST_ERRORS = 5.0
# Rewards that differ by less are the same one, added up in another order.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Earned:
    """Rewards of a node over its jobs; None where a contestant does not say."""

    jobs: int
    mean: float
    variance: float | None
    quantiles: tuple[float | None, ...]

    def missing(self) -> list[str]:
        """What is not said."""
        said = {f"{part:.0%} quantile": value for part, value in zip(QUANTILES, self.quantiles)}
        said["variance"] = self.variance
        return [name for name, value in said.items() if value is None]


@dataclass(frozen=True)
class Played:
    """The answers of a pass: its rounds, and what everybody earned, in the order of the network's nodes."""

    rounds: int
    nodes: tuple[Earned, ...]


@dataclass(frozen=True, eq=False)
class Network:
    """Who scored what, and what everybody costs."""

    # [record, inference node, evaluator], in 0..10.
    scores: np.ndarray
    inference_costs: list[float]
    evaluator_costs: list[float]

    def rewards(self) -> list[tuple[float, np.ndarray]]:
        """Of every node: the share of the rounds that pay it, and the rewards that it then has with equal chance."""
        mean = self.scores.mean(axis=2)
        inference = ALPHA * mean / 10 - BETA * np.array(self.inference_costs)
        closeness = 1 - np.abs(self.scores - mean[:, :, None]) / 10
        evaluators = ALPHA * closeness - BETA * np.array(self.evaluator_costs)
        of_nodes = [(1 / inference.shape[1], np.sort(column)) for column in inference.T]
        return of_nodes + [(1.0, np.sort(column)) for column in evaluators.reshape(-1, evaluators.shape[2]).T]


@dataclass(frozen=True, eq=False)
class Rounds:
    """So many rounds of a network; slower contestants play a fixed part of them."""

    name: str
    network: Network
    count: int
    unit = "M rounds/s"

    def __len__(self) -> int:
        return self.count

    @property
    def units(self) -> float:
        """Millions of rounds."""
        return self.count / 1e6

    def describe(self) -> str:
        """How many there are."""
        return f"{self.count:,} rounds or a part of them"

    def head(self, count: int, name: str) -> Rounds:
        """Fewer of them."""
        return dataclasses.replace(self, count=count, name=name)

    def write(self, folder: Path) -> Path:
        """The file the workers read."""
        path = folder / f"rounds-{self.count}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        network = {
            "scores": self.network.scores.tolist(),
            "inference_costs": self.network.inference_costs,
            "evaluator_costs": self.network.evaluator_costs,
            "alpha": ALPHA,
            "beta": BETA,
            "quantiles": QUANTILES,
            "rounds": self.count,
            "seed": SEED,
        }
        path.write_text(json.dumps(network), encoding="utf-8")
        return path

    def read(self, answers: dict) -> Played:
        """A worker's statistics."""
        nodes = [Earned(**node | {"quantiles": tuple(node["quantiles"])}) for node in answers["nodes"]]
        return Played(answers["rounds"], tuple(nodes))


def wrong(network: Network, played: Played) -> str:
    """What a contestant does not say, or says and cannot be true; nothing where all is well."""
    if missing := sorted({name for node in played.nodes for name in node.missing()}):
        return f"it does not say: {', '.join(missing)}"
    what, errors = largest_error(network, played)
    return "" if errors < MOST_ERRORS else f"{what} is {errors:.1f} standard errors from its exact value"


def largest_error(network: Network, played: Played) -> tuple[str, float]:
    """The statistic that is farthest from its exact value, and how many standard errors; what is not said is left out."""
    rewards = network.rewards()
    if len(rewards) != len(played.nodes):
        return f"{len(played.nodes)} nodes instead of {len(rewards)}", math.inf
    found = {}
    for index, ((share, values), node) in enumerate(zip(rewards, played.nodes)):
        for name, errors in errors_of(node, share, values, played.rounds).items():
            found[f"{name} of node {index}"] = errors
    # No number is as wrong as can be.
    return max(found.items(), key=lambda item: math.inf if math.isnan(item[1]) else item[1])


def errors_of(node: Earned, share: float, values: np.ndarray, rounds: int) -> dict[str, float]:
    """Every statistic of a node against its exact value. `values` are the possible rewards, sorted."""
    if node.jobs == 0:
        return {"jobs": math.inf}
    mean, variance, fourth = values.mean(), values.var(), ((values - values.mean()) ** 4).mean()
    found = {
        "jobs": over(abs(node.jobs - rounds * share), math.sqrt(rounds * share * (1 - share))),
        "mean": over(abs(node.mean - mean), math.sqrt(variance / node.jobs)),
    }
    if node.variance is not None:
        found["variance"] = over(abs(node.variance - variance), math.sqrt((fourth - variance**2) / node.jobs))
    for part, value in zip(QUANTILES, node.quantiles):
        if value is not None:
            # The share of jobs that earn less, and that earn no more: a quantile's part lies between them.
            below = np.searchsorted(values, value - ROUNDING) / len(values)
            up_to = np.searchsorted(values, value + ROUNDING) / len(values)
            outside = max(below - part, part - up_to, 0.0)
            found[f"{part:.0%} quantile"] = outside / math.sqrt(part * (1 - part) / node.jobs)
    return {name: float(errors) for name, errors in found.items()}


def over(difference: float, error: float) -> float:
    """A difference in standard errors, but for rounding."""
    return 0.0 if difference <= ROUNDING else difference / error if error else math.inf
