"""NumPy as far as it goes, in chunks that stay in the cache, in two ways.

`rewards` is Algorithm 1 in whole arrays: draw, look up the scores, agree, pay, take the statistics of what was paid.
`counts` does what poq does: a round's record and node decide all that it pays, so it is enough to count how often each
pair is drawn and to weigh every pair's rewards by that in the end. What is drawn is every single round all the same.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from workers.serve import Pass, serve, versions
from workers.simulation import Earned, Network, Played, millions, read_network, summarise

Draw = Callable[[np.random.Generator, int, int], np.ndarray]

# More than any reward, so that rewards of different nodes stay apart.
APART = 10.0


def load(options: dict) -> tuple[Pass, str]:
    """The helpers that the options ask for, waiting."""
    helpers = {"threads": Threads, "processes": Processes}[options["helpers"]](options["number"])
    method = {"counts": by_counts, "rewards": by_rewards}[options["method"]]

    def run(network: Network, chunk: int) -> Played:
        rounds = min(network.rounds, options["most_rounds"] or network.rounds)
        return Played(rounds, method(Arrays.of(network), parts(rounds, chunk, network.seed, options), helpers))

    return run, versions("numpy")


@dataclass(frozen=True)
class Part:
    """What one helper does: so many rounds of its own random stream."""

    rounds: int
    chunk: int
    seed: np.random.SeedSequence
    # Names, for a part may have to travel to another process.
    generator: str
    draw: str

    def random(self) -> np.random.Generator:
        """A stream of its own."""
        return np.random.Generator(getattr(np.random, self.generator)(self.seed))


def parts(rounds: int, chunk: int, seed: int, options: dict) -> list[Part]:
    """The rounds, as many for each helper."""
    number = options["number"]
    shares = [rounds // number + (index < rounds % number) for index in range(number)]
    seeds = np.random.SeedSequence(seed).spawn(number)
    return [Part(own, chunk, seed, options["generator"], options["draw"]) for own, seed in zip(shares, seeds)]


@dataclass(frozen=True)
class Arrays:
    """The network by pair of record and inference node, the node varying fastest."""

    # One array per evaluator.
    scores: list[np.ndarray]
    # What the pair's inference node costs, times the weight of cost.
    inference_price: np.ndarray
    evaluator_prices: list[float]
    nodes: int
    alpha: float
    quantiles: list[float]

    @classmethod
    def of(cls, network: Network) -> Arrays:
        """From nested lists."""
        scores = np.array(network.scores)
        records, nodes, evaluators = scores.shape
        return cls(
            list(np.ascontiguousarray(scores.reshape(-1, evaluators).T)),
            np.tile(network.beta * np.array(network.inference_costs), records),
            [network.beta * cost for cost in network.evaluator_costs],
            nodes,
            network.alpha,
            network.quantiles,
        )

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.inference_price)

    def pay(self, pairs: np.ndarray, inference: np.ndarray, evaluators: list[np.ndarray]) -> None:
        """Equations 1 to 5 for some pairs: the rewards of their inference node and of every evaluator."""
        scores = [column.take(pairs) for column in self.scores]
        mean = sum(scores[1:], scores[0]) / len(scores)
        np.subtract(mean * (self.alpha / 10), self.inference_price.take(pairs), out=inference)
        for reward, score, price in zip(evaluators, scores, self.evaluator_prices):
            deviation = np.abs(score - mean)
            np.subtract(self.alpha - price, deviation * (self.alpha / 10), out=reward)


# ---- the first way: what every round pays --------------------------------------------------------


def by_rewards(network: Arrays, parts: list[Part], helpers: Threads) -> list[Earned]:
    """All rewards of all rounds, then their statistics, node by node.

    Quantiles come from sorting: `np.partition`, and `np.quantile` with it, takes several times as long. Inference nodes
    are told apart by a number added to their rewards, so that one sort serves all of them.
    """
    kept = room(sum(part.rounds for part in parts), 1 + len(network.scores))
    ends = np.cumsum([part.rounds for part in parts]).tolist()
    shifts = np.tile(APART * np.arange(network.nodes), network.pairs // network.nodes)

    def play(part: Part, end: int) -> None:
        random, draw = part.random(), DRAWS[part.draw]
        for begin in range(end - part.rounds, end, part.chunk):
            here = slice(begin, min(begin + part.chunk, end))
            pairs = draw(random, network.pairs, here.stop - here.start)
            inference, *evaluators = (rewards[here] for rewards in kept)
            network.pay(pairs, inference, evaluators)
            inference += shifts.take(pairs)

    helpers.map(play, parts, ends)
    helpers.map(np.ndarray.sort, kept)
    inference, *evaluators = kept
    starts = np.searchsorted(inference, APART * (np.arange(network.nodes + 1) - 0.5))
    by_node = [inference[begin:end] for begin, end in pairwise(starts)]
    shifted = [APART * node for node in range(network.nodes)] + [0.0] * len(evaluators)
    return helpers.map(partial(earned, network.quantiles), [*by_node, *evaluators], shifted)


@lru_cache(maxsize=1)
def room(rounds: int, nodes: int) -> list[np.ndarray]:
    """Where all rewards are kept, from one pass to the next: to be given fresh memory takes longer than to fill it."""
    return [np.empty(rounds) for _ in range(nodes)]


def earned(quantiles: list[float], rewards: np.ndarray, shift: float) -> Earned:
    """Statistics of a node's sorted rewards, to which `shift` was added."""
    values = rewards[[int(part * len(rewards)) for part in quantiles]] - shift
    return Earned(len(rewards), float(rewards.mean()) - shift, float(rewards.var(ddof=1)), values.tolist())


# ---- the second way: how often every pair is drawn -----------------------------------------------


def by_counts(network: Arrays, parts: list[Part], helpers: Threads | Processes) -> list[Earned]:
    """Every pair's rewards once, weighed by how often it was drawn."""
    counts = sum(helpers.map(count, parts, [network.pairs] * len(parts)))
    inference, *evaluators = (np.empty(network.pairs) for _ in range(1 + len(network.scores)))
    network.pay(np.arange(network.pairs), inference, evaluators)
    of_nodes = [(inference[node :: network.nodes], counts[node :: network.nodes]) for node in range(network.nodes)]
    of_evaluators = [(rewards, counts) for rewards in evaluators]
    return [weighed(*pair, network.quantiles) for pair in (*of_nodes, *of_evaluators)]


def count(part: Part, outcomes: int) -> np.ndarray:
    """How often each of the outcomes is drawn."""
    random, draw = part.random(), DRAWS[part.draw]
    counts = np.zeros(outcomes, np.int64)
    left = part.rounds
    while left:
        drawn = draw(random, outcomes, min(left, part.chunk))
        found = np.bincount(drawn, minlength=outcomes)[:outcomes]
        counts += found
        left -= int(found.sum())
    return counts


def weighed(values: np.ndarray, counts: np.ndarray, quantiles: list[float]) -> Earned:
    """Statistics of values that occur so often."""
    jobs = int(counts.sum())
    mean = float(values @ counts) / jobs
    variance = float((values - mean) ** 2 @ counts) / (jobs - 1)
    order = np.argsort(values)
    reached = np.searchsorted(np.cumsum(counts[order]), [part * jobs for part in quantiles], side="right")
    return Earned(jobs, mean, variance, values[order[reached]].tolist())


def bounded(kind: type) -> Draw:
    """`Generator.integers`, Lemire's method, in integers of one size."""
    return lambda random, outcomes, number: random.integers(0, outcomes, number, dtype=kind)


def masked(random: np.random.Generator, outcomes: int, number: int) -> np.ndarray:
    """As few bits of a quarter of a 64-bit word as reach all outcomes; whoever counts them leaves out what is too large."""
    words = random.integers(0, 2**64, -(-number // 4), dtype=np.uint64).view(np.uint16)[:number]
    return np.bitwise_and(words, 2 ** (outcomes - 1).bit_length() - 1, out=words)


DRAWS: dict[str, Draw] = {"int64": bounded(np.int64), "uint16": bounded(np.uint16), "masked": masked}


# ---- helpers -------------------------------------------------------------------------------------


class Threads:
    """Threads of this process; NumPy lets go of the interpreter while it works on an array."""

    def __init__(self, number: int) -> None:
        self.pool = ThreadPoolExecutor(number)
        self.map(abs, range(number))

    def map(self, function: Callable[..., Any], *arguments: Iterable) -> list:
        """Like `map`, side by side."""
        return list(self.pool.map(function, *arguments))


class Processes:
    """Processes that wait on a pipe. They end with this one, for then their pipe is closed."""

    def __init__(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        for _ in range(number):
            ours, theirs = context.Pipe()
            context.Process(target=obey, args=(theirs,), daemon=True).start()
            theirs.close()
            self.pipes.append(ours)
        self.map(abs, range(number))

    def map(self, function: Callable[..., Any], *arguments: Iterable) -> list:
        """Like `map`, one call to each process."""
        calls = list(zip(self.pipes, *arguments))
        for pipe, *values in calls:
            pipe.send((function, values))
        return [pipe.recv() for pipe, *_ in calls]


def obey(pipe: Connection) -> None:
    """Call what comes through the pipe until it is closed."""
    while True:
        try:
            function, values = pipe.recv()
        except EOFError:
            return
        pipe.send(function(*values))


if __name__ == "__main__":
    serve(load, read=read_network, summarise=summarise, units=millions)
