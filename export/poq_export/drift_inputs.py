"""The pairs of texts on which the drift of an 8-bit graph is measured: made from the committed quick datasets.

No model has to answer first. A question's accepted answer stands beside sentences of its passage, a news summary
beside sentences of its article: the texts an evaluator meets, from one word to a few hundred, alike and unlike.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path

Pair = tuple[str, str]  # reference, output

DATASETS = Path(__file__).resolve().parents[2] / "datasets" / "quick"
FILES = ("squad.json", "news.jsonl")
PAIRS = 200
SEED = 2024
LONG_EVERY = 8  # articles between two that are taken whole: a batch is as slow as its longest row


def digest() -> str:
    """Hash of what the pairs are made from; a manifest with another one holds figures of other pairs."""
    content = hashlib.sha256()
    for name in FILES:
        content.update((DATASETS / name).read_bytes())
    return content.hexdigest()


def pairs(count: int = PAIRS) -> list[Pair]:
    """Half of them questions, half of them news, in an order that puts short beside long."""
    chooser = random.Random(SEED)
    found = chooser.sample(_answers(chooser), count // 2) + chooser.sample(_summaries(chooser), count - count // 2)
    chooser.shuffle(found)
    return found


def sentences(text: str) -> list[str]:
    """Split after a full stop, question or exclamation mark, unless the next word goes on in lower case."""
    return [part for part in re.split(r"(?<=[.!?])\s+(?=[^a-z\s])", text.strip()) if part]


def _answers(chooser: random.Random) -> list[Pair]:
    """Per question: a sentence of the passage, any other accepted answer, and the answer to another question."""
    found = []
    for article in json.loads((DATASETS / "squad.json").read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            passage = sentences(paragraph["context"])
            answers = [[answer["text"] for answer in question["answers"]] for question in paragraph["qas"]]
            for accepted in answers:
                others = [sentence for sentence in passage if accepted[0] not in sentence]
                found += [(accepted[0], text) for text in passage if accepted[0] in text]
                found.append((accepted[0], chooser.choice(others or passage)))
                found.append((accepted[0], chooser.choice(accepted[1:] or chooser.choice(answers))))
    return list(dict.fromkeys(found))


def _summaries(chooser: random.Random) -> list[Pair]:
    """Per article: one highlight beside a sentence, and all of them beside a stretch, the lead and, at times, the whole."""
    found = []
    for number, line in enumerate((DATASETS / "news.jsonl").read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        article, highlights = sentences(row["article"]), row["highlights"].splitlines()
        summary = " ".join(highlights)
        start, length = chooser.randrange(len(article)), chooser.randint(2, 5)
        found += [(highlight, chooser.choice(article)) for highlight in highlights]
        found.append((summary, " ".join(article[start : start + length])))
        found.append((summary, " ".join(article[:2])))
        if number % LONG_EVERY == 0:
            found.append((summary, row["article"]))
    return list(dict.fromkeys(found))
