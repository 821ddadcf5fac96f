"""What a contestant is, the screening that drops the slower settings, and the paired repeats of those that stay."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from process import Pass, Unavailable
from scipy.stats import spearmanr
from talk import say


WARM_UP_PART = 4


class Inputs(Protocol):
    """What every contestant is given."""

    name: str
    # Of a rate.
    unit: str

    def __len__(self) -> int:
        """Pairs, prompts or rounds."""

    @property
    def units(self) -> float:
        """How much work a pass is, in what the rate counts."""

    def describe(self) -> str:
        """The same in words."""

    def head(self, count: int, name: str) -> Inputs:
        """The first ones."""

    def write(self, folder: Path) -> Path:
        """The file the workers read."""

    def read(self, answers: Any) -> Any:
        """A worker's answers."""


class Contestant(Protocol):
    """poq with some options, or a peer with some settings."""

    precision: str

    def describe(self) -> str:
        """Tool, version and settings."""

    def warm_up(self, inputs: Inputs) -> None:
        """Whatever the contestant may do before its first timed pass. Raises Unavailable."""

    def timed_pass(self, inputs: Inputs) -> Pass:
        """Do it once. Raises Unavailable."""


# Encloses a contestant's pass, to see what the others do meanwhile.
Watch = Callable[[Contestant], AbstractContextManager[None]]


@dataclass(eq=False)
class Record:
    """Everything measured of one contestant on one set of inputs."""

    contestant: Contestant
    inputs: Inputs
    passes: list[Pass] = field(default_factory=list)

    def rates(self) -> list[float]:
        """Units of work per second of every repeat."""
        return [(found.units or self.inputs.units) / found.seconds for found in self.passes]

    def median(self) -> float:
        """Units of work per second."""
        return statistics.median(self.rates())

    def command_seconds(self) -> float:
        """Of the whole command, median; only where a pass is a command."""
        return statistics.median(found.command_seconds for found in self.passes)

    def answers(self) -> Any:
        """Of the last pass."""
        return self.passes[-1].answers

    def difference_to(self, other: Record) -> float:
        """Largest absolute difference of a pair's score, where the answers are scores."""
        return float(np.abs(self.answers() - other.answers()).max())

    def spearman_with(self, other: Record) -> float:
        """Rank correlation of the scores."""
        return float(spearmanr(self.answers(), other.answers()).statistic)


class Screening:
    """One pass of everybody on a sample, and why some did not take part."""

    def __init__(self, sample: Inputs, warm_up_part: int = WARM_UP_PART) -> None:
        self.sample = sample
        # One for those who keep memory of the size of a pass from one to the next.
        self.warm_up_part = warm_up_part
        self.records: dict[Contestant, Record] = {}
        self.refusals: dict[str, str] = {}

    def add(self, contestants: Sequence[Contestant]) -> None:
        """One pass each, after a warm-up on a part of the sample."""
        warm_up = self.sample.head(max(1, len(self.sample) // self.warm_up_part), "warm-up")
        for contestant in contestants:
            try:
                contestant.warm_up(warm_up)
                record = Record(contestant, self.sample, [contestant.timed_pass(self.sample)])
            except Unavailable as refusal:
                self.refuse(contestant, str(refusal))
                continue
            self.records[contestant] = record
            say(f"{contestant.describe()}: {record.median():.1f} {self.sample.unit} on {self.sample.describe()}")

    def refuse(self, contestant: Contestant, reason: str) -> None:
        """Note why a contestant cannot be in the repeats."""
        self.records.pop(contestant, None)
        self.refusals[contestant.describe()] = reason
        say(f"{contestant.describe()}: out: {reason}")

    def fastest(self, candidates: Sequence[Contestant]) -> Contestant:
        """The fastest of some. Raises Unavailable with their reasons where none took part."""
        if found := [candidate for candidate in candidates if candidate in self.records]:
            return max(found, key=lambda candidate: self.records[candidate].median())
        reasons = [self.refusals[candidate.describe()] for candidate in candidates]
        raise Unavailable("; ".join(dict.fromkeys(reasons)))


def alternate(
    contestants: Sequence[Contestant], inputs: Inputs, repeats: int, watch: Watch
) -> dict[Contestant, Record]:
    """Everybody once, then everybody again: what the machine does meanwhile hits all of them alike."""
    records = {contestant: Record(contestant, inputs) for contestant in contestants}
    for repeat in range(repeats):
        for contestant, record in records.items():
            with watch(contestant):
                record.passes.append(contestant.timed_pass(inputs))
        rates = ", ".join(f"{record.rates()[-1]:.1f}" for record in records.values())
        say(f"{inputs.name}, repeat {repeat + 1} of {repeats}: {rates} {inputs.unit}")
    return records
