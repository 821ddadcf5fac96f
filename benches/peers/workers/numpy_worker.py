"""NumPy as far as it goes, in chunks that stay in the cache, in two ways.

`rewards` is Algorithm 1 in whole arrays: draw, look up the scores, agree, pay, and take the statistics of what was paid.
`counts` does what poq does: a round's record and node decide all that it pays, so it is enough to count how often each
pair is drawn and to weigh every pair's rewards by that in the end. What is drawn is every single round all the same.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from workers.serve import Pass, serve, versions
from workers.simulation import Earned, Network, Played, millions, read_network, share, summarise

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
Tally = Callable[[np.ndarray, int], np.ndarray]


def load(options: dict) -> tuple[Pass, str]:
    """The helpers that the options ask for, waiting."""
    helpers = {"threads": Threads, "processes": Processes}[options["helpers"]](options["number"])
    method = {"counts": by_counts, "rewards": by_rewards}[options["method"]]

    def run(network: Network, chunk: int) -> Played:
        rounds = share(network, options["divisor"])
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
    tally: str

    def random(self) -> np.random.Generator:
        """A stream of its own."""
        return np.random.Generator(getattr(np.random, self.generator)(self.seed))


def parts(rounds: int, chunk: int, seed: int, options: dict) -> list[Part]:
    """The rounds, as many for each helper."""
    number = options["number"]
    shares = [rounds // number + (index < rounds % number) for index in range(number)]
    seeds = np.random.SeedSequence(seed).spawn(number)
    names = (options["generator"], options["draw"], options["tally"])
    return [Part(own, chunk, stream, *names) for own, stream in zip(shares, seeds)]


@dataclass(frozen=True)
class Arrays:
    """The network by pair of record and inference node, the node varying fastest."""

    # One array per evaluator.
    scores: list[np.ndarray]
    # The inference node of a pair, and what it costs times its weight.
    node: np.ndarray
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
            np.tile(np.arange(nodes, dtype=np.uint8), records),
            np.tile(network.beta * np.array(network.inference_costs), records),
            [network.beta * cost for cost in network.evaluator_costs],
            nodes,
            network.alpha,
            network.quantiles,
        )

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
    """All rewards of all rounds, then their statistics, node by node."""
    rounds = sum(part.rounds for part in parts)
    node = np.empty(rounds, np.uint8)
    inference = np.empty(rounds)
    evaluators = [np.empty(rounds) for _ in network.scores]
    ends = np.cumsum([part.rounds for part in parts]).tolist()

    def play(part: Part, end: int) -> None:
        random, draw = part.random(), DRAWS[part.draw]
        for begin in range(end - part.rounds, end, part.chunk):
            here = slice(begin, min(begin + part.chunk, end))
            pairs = draw(random, len(network.node), here.stop - here.start)
            node[here] = network.node.take(pairs)
            network.pay(pairs, inference[here], [rewards[here] for rewards in evaluators])

    helpers.map(play, parts, ends)
    by_node = [partial(np.compress, node == one, inference) for one in range(network.nodes)]
    whole = [partial(np.asarray, rewards) for rewards in evaluators]
    return helpers.map(partial(earned, quantiles=network.quantiles), [*by_node, *whole])


def earned(choose: Callable[[], np.ndarray], quantiles: list[float]) -> Earned:
    """Statistics of a node's rewards."""
    rewards = choose()
    values = np.quantile(rewards, quantiles).tolist()
    return Earned(len(rewards), float(rewards.mean()), float(rewards.var(ddof=1)), values)


# ---- the second way: how often every pair is drawn -----------------------------------------------


def by_counts(network: Arrays, parts: list[Part], helpers: Threads | Processes) -> list[Earned]:
    """Every pair's rewards once, weighed by how often it was drawn."""
    outcomes = len(network.node)
    counts = sum(helpers.map(count, parts, [outcomes] * len(parts)))
    inference, evaluators = np.empty(outcomes), [np.empty(outcomes) for _ in network.scores]
    network.pay(np.arange(outcomes), inference, evaluators)
    of_nodes = [(inference[node :: network.nodes], counts[node :: network.nodes]) for node in range(network.nodes)]
    of_evaluators = [(rewards, counts) for rewards in evaluators]
    return [weighed(*pair, network.quantiles) for pair in (*of_nodes, *of_evaluators)]


def count(part: Part, outcomes: int) -> np.ndarray:
    """How often each of the outcomes is drawn."""
    random, draw, tally = part.random(), DRAWS[part.draw], TALLIES[part.tally]
    counts = np.zeros(outcomes, np.int64)
    left = part.rounds
    while left:
        found = tally(draw(random, outcomes, min(left, part.chunk)), outcomes)
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
    """As few bits as reach all outcomes, of a quarter of a 64-bit word. Whoever counts them leaves out what is too large."""
    words = random.integers(0, 2**64, -(-number // 4), dtype=np.uint64).view(np.uint16)[:number]
    return np.bitwise_and(words, 2 ** (outcomes - 1).bit_length() - 1, out=words)


def bincount(drawn: np.ndarray, outcomes: int) -> np.ndarray:
    """One counter per outcome."""
    return np.bincount(drawn, minlength=outcomes)[:outcomes]


def by_sorting(drawn: np.ndarray, outcomes: int) -> np.ndarray:
    """Where each outcome begins in the sorted draws."""
    drawn.sort()
    return np.diff(np.searchsorted(drawn, np.arange(outcomes + 1, dtype=drawn.dtype)))


DRAWS: dict[str, Draw] = {"int64": bounded(np.int64), "uint16": bounded(np.uint16), "masked": masked}
TALLIES: dict[str, Tally] = {"bincount": bincount, "sort": by_sorting}


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
