"""The script that one writes from the paper: dictionaries, one round after the other, every reward kept in a list.

Written with care all the same: an index is a random number times a length, for `random.choice` takes longer.
"""

from __future__ import annotations

import platform
import random
import statistics

from workers.serve import Pass, serve
from workers.simulation import Earned, Network, Played, millions, read_network, share, summarise


def load(options: dict) -> tuple[Pass, str]:
    """Nothing to load."""

    def run(network: Network, _: int) -> Played:
        rounds = share(network, options["divisor"])
        return Played(rounds, [earned(rewards, network.quantiles) for rewards in play(network, rounds)])

    return run, f"Python {platform.python_version()}"


def play(network: Network, rounds: int) -> list[list[float]]:
    """The rewards of every node, job by job."""
    chance = random.Random(network.seed).random
    records = [[dict(enumerate(row)) for row in rows] for rows in network.scores]
    inference: dict[int, list[float]] = {node: [] for node in range(len(network.inference_costs))}
    evaluators: dict[int, list[float]] = {node: [] for node in range(len(network.evaluator_costs))}
    alpha, beta = network.alpha, network.beta
    for _ in range(rounds):
        record = records[int(chance() * len(records))]
        node = int(chance() * len(record))
        judged = record[node]
        mean = sum(judged.values()) / len(judged)
        inference[node].append(alpha * mean / 10 - beta * network.inference_costs[node])
        for evaluator, score in judged.items():
            closeness = 1 - abs(score - mean) / 10
            evaluators[evaluator].append(alpha * closeness - beta * network.evaluator_costs[evaluator])
    return [*inference.values(), *evaluators.values()]


def earned(rewards: list[float], quantiles: list[float]) -> Earned:
    """Their mean, variance and quantiles."""
    mean = statistics.fmean(rewards)
    variance = sum((reward - mean) ** 2 for reward in rewards) / (len(rewards) - 1)
    rewards.sort()
    return Earned(len(rewards), mean, variance, [rewards[int(part * len(rewards))] for part in quantiles])


if __name__ == "__main__":
    serve(load, read=read_network, summarise=summarise, units=millions)
