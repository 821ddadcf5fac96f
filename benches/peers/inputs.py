"""The (reference, output) pairs that every tool scores, cut from the shipped data sets.

Everybody gets the same lists. They are made anew in every run from one seed, so a result names its inputs completely by
the number of pairs. Lengths are those of the real work: gold answers of a few words, answers of a sentence, highlights,
excerpts of up to about 200 tokens, in random order.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from settings import DATASETS
from tokenizers import Tokenizer

SEED = 2512
MODELS_PER_REFERENCE = 5
QA_SHARE = 0.45
# Share of the short references that are gold answers of the data set; there are too few for all.
GOLD_SHARE = 0.5
# Share of outputs about their reference's own passage, and of those that start where the reference starts.
RELATED_SHARE = 0.8
SAME_START_SHARE = 0.5

MOST_DRAWS = 1000

# Words in a text of each kind, both ends included.
PHRASE = (1, 8)
SENTENCE = (8, 30)
SUMMARY = (30, 55)
EXCERPT = (60, 150)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs by position. Five in a row share their reference where `models_per_reference` is 5."""

    name: str
    references: list[str]
    outputs: list[str]
    models_per_reference: int = 1
    unit = "pairs/s"

    def __len__(self) -> int:
        return len(self.references)

    @property
    def units(self) -> int:
        """Pairs."""
        return len(self)

    def describe(self) -> str:
        """How many there are."""
        return f"{len(self)} pairs"

    def row_ids(self) -> list[tuple[str, str]]:
        """(task, model) of every pair, as poq is given them."""
        each = self.models_per_reference
        return [(f"task_{row // each:06}", f"model_{row % each}") for row in range(len(self))]

    def distinct_share(self) -> float:
        """Distinct texts per text slot; a tool that encodes both lists as they are fills two slots per pair."""
        return len({*self.references, *self.outputs}) / (2 * len(self))

    def head(self, count: int, name: str) -> Pairs:
        """The first pairs; as the order is random, a smaller sample of the same kind."""
        return Pairs(name, self.references[:count], self.outputs[:count], self.models_per_reference)

    def write(self, folder: Path) -> Path:
        """The file the workers read."""
        path = folder / f"{self.name}-{len(self)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"references": self.references, "outputs": self.outputs}), encoding="utf-8")
        return path

    def read(self, answers: list) -> np.ndarray:
        """A worker's scores."""
        return np.array(answers)


@dataclass(frozen=True)
class Passage:
    """A shipped article or paragraph as words, with the positions where its sentences begin and its gold answers."""

    words: list[str]
    starts: list[int]
    answers: list[str]

    @classmethod
    def of(cls, text: str, answers: list[str]) -> Passage:
        """Split a text at white space, and into sentences where white space follows a full stop."""
        words, starts = [], []
        for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
            starts.append(len(words))
            words += sentence.split()
        return cls(words, starts, answers)

    def cut(self, start: int, count: int) -> str:
        """`count` words from `start`, fewer at the end of the passage; an answer cut off by a token limit looks so."""
        return " ".join(self.words[start : start + count])


def shipped_passages() -> list[Passage]:
    """Every paragraph and article of the shipped corpus."""
    squad = json.loads((DATASETS / "quick/squad.json").read_text(encoding="utf-8"))
    found = []
    for paragraph in (paragraph for article in squad["data"] for paragraph in article["paragraphs"]):
        answers = [answer["text"] for question in paragraph["qas"] for answer in question["answers"]]
        found.append(Passage.of(paragraph["context"], answers))
    for line in (DATASETS / "quick/news.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.append(Passage.of(row["article"], row["highlights"].splitlines()))
    return found


Output = Callable[[Passage, int], str]


class Drawer:
    """Draws texts that were never drawn before."""

    def __init__(self) -> None:
        self.random = random.Random(SEED)
        self.passages = shipped_passages()
        self.seen: set[str] = set()

    def new(self, draw: Callable[[], str]) -> str:
        """Draw until the text is a new one."""
        for _ in range(MOST_DRAWS):
            if (text := draw()) not in self.seen:
                self.seen.add(text)
                return text
        raise SystemExit("error: the shipped corpus is too small for so many pairs\nhint: choose fewer with --pairs")

    def group(self, outputs: int) -> tuple[str, list[str]]:
        """A reference and what so many models answered."""
        chance, passage = self.random, self.random.choice(self.passages)
        begin = chance.choice([start for start in passage.starts if start + SUMMARY[1] <= len(passage.words)] or [0])
        draw = self._question if chance.random() < QA_SHARE else self._article
        reference, output = draw(passage, begin)

        def related() -> str:
            if chance.random() > RELATED_SHARE:
                other = chance.choice(self.passages)
                return output(other, chance.choice(other.starts))
            return output(passage, begin if chance.random() < SAME_START_SHARE else chance.choice(passage.starts))

        return self.new(reference), [self.new(related) for _ in range(outputs)]

    def _question(self, passage: Passage, begin: int) -> tuple[Callable[[], str], Output]:
        """A gold answer or as many words, answered by a phrase or a sentence."""
        chance = self.random

        def reference() -> str:
            if chance.random() < GOLD_SHARE:
                return chance.choice(passage.answers)
            return passage.cut(chance.randrange(len(passage.words)), chance.randint(*PHRASE))

        def output(source: Passage, start: int) -> str:
            return source.cut(start, chance.randint(*chance.choice((PHRASE, SENTENCE))))

        return reference, output

    def _article(self, passage: Passage, begin: int) -> tuple[Callable[[], str], Output]:
        """As many words as highlights have, answered by a sentence, as many words again, or a longer excerpt."""
        chance = self.random

        def reference() -> str:
            return passage.cut(begin, chance.randint(*SUMMARY))

        def output(source: Passage, start: int) -> str:
            return source.cut(start, chance.randint(*chance.choice((SENTENCE, SUMMARY, SUMMARY, EXCERPT, EXCERPT))))

        return reference, output


def distinct(count: int) -> Pairs:
    """Pairs in which no text occurs twice: nothing can be saved by encoding a text once."""
    drawer = Drawer()
    groups = [drawer.group(1) for _ in range(count)]
    return Pairs("distinct", [reference for reference, _ in groups], [outputs[0] for _, outputs in groups])


def repeated(count: int) -> Pairs:
    """Five outputs per reference, as five models answering each prompt leave them: six distinct texts in ten slots."""
    drawer = Drawer()
    groups = [drawer.group(MODELS_PER_REFERENCE) for _ in range(max(1, count // MODELS_PER_REFERENCE))]
    references = [reference for reference, outputs in groups for _ in outputs]
    return Pairs("repeated", references, [text for _, outputs in groups for text in outputs], MODELS_PER_REFERENCE)


def token_lengths(pairs: Pairs, tokenizer: str) -> tuple[float, int]:
    """Mean and largest number of tokens of a text, before anything is cut off."""
    encoded = Tokenizer.from_file(tokenizer).encode_batch([*pairs.references, *pairs.outputs])
    lengths = [len(row) for row in encoded]
    return sum(lengths) / len(lengths), max(lengths)
