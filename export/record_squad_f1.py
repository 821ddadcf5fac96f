"""Writes tests/expected/squad_f1.json: answers with their exact match and F1 by the official SQuAD rules.

    python export/record_squad_f1.py

The rules, as the evaluation of SQuAD v1.1 defines them. A text is normalised by lower-casing it, deleting ASCII
punctuation, replacing the whole words a, an and the by a space, and collapsing white space. Exact match asks whether
two normalised texts are equal. F1 is the harmonic mean of precision and recall over normalised words, a repeated word
counting as often as both sides have it; without a common word it is 0, except that two empty texts agree (the later
SQuAD evaluation says so; the first one leaves it open). Several references: the best one counts.

"Lower case", "word" and "white space" are Python's here, as in every published number: a combining mark is no part of
a word, a superscript digit is, and a no-break space separates. Cases that tell those apart from other definitions are
written out by hand; the others are drawn from a seeded generator. Standard library only.
"""

from __future__ import annotations

import json
import random
import re
import string
from collections import Counter
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "tests/expected/squad_f1.json"
GENERATED = 1200
SEED = 1755

DELETED = dict.fromkeys(map(ord, string.punctuation))
ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def words(text: str) -> list[str]:
    """The words that count."""
    return ARTICLE.sub(" ", text.lower().translate(DELETED)).split()


def exact_match(prediction: str, reference: str) -> float:
    """1 when nothing but case, punctuation, articles and spacing differs."""
    return float(words(prediction) == words(reference))


def f1(prediction: str, reference: str) -> float:
    """Overlap of the two multisets of words."""
    found, wanted = words(prediction), words(reference)
    if not found and not wanted:
        return 1.0
    shared = (Counter(found) & Counter(wanted)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(found), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


BY_HAND: list[tuple[str, list[str]]] = [
    ("", [""]),
    ("", ["Paris"]),
    ("Paris", [""]),
    ("Paris", ["", "Paris"]),
    ("...", ["!?"]),
    ("the", ["a"]),
    ("The.", ["Paris"]),
    ("the the cat", ["cat"]),
    ("cat cat dog", ["cat dog dog"]),
    ("The Eiffel Tower", ["Eiffel tower.", "a tower"]),
    ("U.S.A.", ["USA", "the U. S. A."]),
    ("well-known", ["well known", "wellknown"]),
    ("can't", ["cant", "can not"]),
    ("a.n answer", ["an answer", "n answer"]),  # punctuation goes before articles do
    ("the_end", ["the end", "theend"]),
    ("anthem", ["them", "an them"]),
    ("A-Team", ["ateam", "team"]),
    ("$3,000.50", ["300050", "3000.50"]),
    ("naïve", ["naive", "nai\u0308ve"]),
    ("e\u0301cole", ["école", "ecole"]),
    ("a\u0301 b", ["\u0301 b", "á b"]),  # a combining mark ends the article before it
    ("the\u0301 end", ["\u0301 end", "the end"]),
    ("x an\u0303 y", ["x \u0303 y", "x y"]),
    ("a² + b²", ["a² b²", "² b²"]),  # a superscript digit is part of the word
    ("the①", ["①", "the ①"]),
    ("aª", ["ª", "aª"]),
    ("a\u200db", ["b", "\u200db"]),  # a zero-width joiner is neither word nor white space
    ("the\u200bend", ["\u200bend", "end"]),
    ("soft\u00adhyphen", ["softhyphen", "soft hyphen"]),
    ("one\u00a0two", ["one two", "onetwo"]),
    ("one\u3000two\u2003three", ["one two three"]),
    ("one\u1680two", ["one two"]),
    ("one\u180etwo", ["one two", "onetwo"]),
    ("one\x1ctwo\x1fthree\x85four", ["one two three four"]),
    ("one\ttwo\r\nthree\x0bfour\x0cfive", ["one two three four five"]),
    ("İstanbul", ["istanbul", "i\u0307stanbul"]),
    ("STRASSE", ["straße", "strasse"]),
    ("GROẞ", ["groß", "gross"]),
    ("ΟΔΟΣ", ["οδος", "οδοσ"]),  # the last sigma of a word is lower-cased differently
    ("ΟΔΟΣ.", ["οδος", "οδοσ"]),
    ("Ǆungla ǅungla", ["ǆungla ǆungla"]),
    ("ＡＢＣ", ["ａｂｃ", "abc"]),
    ("Ⅻ", ["ⅻ", "xii"]),
    ("Ａ the ａ", ["ａ ａ", "a the a"]),  # a full-width a is no article
    ("“the” ‘cat’", ["cat", "“ ” ‘cat’"]),  # only ASCII punctuation is deleted
    ("10–12", ["10-12", "1012", "10–12"]),
    ("東京。", ["東京", "東京。"]),
    ("the東京", ["東京", "the 東京"]),
    ("👍🏽 a👍", ["👍🏽 👍", "👍🏽"]),
    ("a", ["A", "b"]),
    ("0", ["O", "0.0"]),
    ("\ufeffParis", ["Paris", "\ufeffparis"]),
    ("AN An aN THE tHe", ["", "a"]),
    ("the 'the' \"the\"", ["", "the"]),
]

WORDS = (
    "paris london the a an cat dog 1969 42 3.5 $7 u.s. école straße İzmir Ünal naïve 北京 東京 мир Σωκράτης ΟΔΟΣ 👍 🇫🇷 "
    "cafe\u0301 a\u0301 x² ① river's half-life of in and Queen VICTORIA iPhone – — … “yes” «non» \u200b \u0301 it's e.g. "
    "The A An THE theatre another Anne"
).split(" ")
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u2009", " \r\n"]
MARKS = ["", "", "", "", ".", ",", "!", "?", ";", "'", '"', "(", ")", "-", "_", "/", "%", "…", "。"]


def phrase(chooser: random.Random, longest: int) -> str:
    """Words, marks and spaces in any order; sometimes nothing at all."""
    count = chooser.randint(0 if chooser.random() < 0.15 else 1, longest)
    return "".join(chooser.choice(WORDS) + chooser.choice(MARKS) + chooser.choice(SPACES) for _ in range(count)).rstrip(" ")


def variation(chooser: random.Random, text: str) -> str:
    """The same answer as somebody else would have put it: most pairs of unrelated phrases share nothing."""
    parts = text.split(" ")
    for _ in range(chooser.randint(0, 5)):
        place = chooser.randrange(len(parts))
        match chooser.randrange(6):
            case 0:
                parts[place] = parts[place].upper()
            case 1:
                parts[place] = parts[place].lower()
            case 2:
                parts.insert(place, chooser.choice(WORDS))
            case 3 if len(parts) > 1:
                parts.pop(place)
            case 4:
                parts.insert(place, parts[chooser.randrange(len(parts))])
            case 5:
                parts[place] += chooser.choice(MARKS)
    return " ".join(parts)


def cases() -> list[tuple[str, list[str]]]:
    """The cases written by hand, then the generated ones."""
    chooser = random.Random(SEED)
    found = list(BY_HAND)
    for _ in range(GENERATED):
        prediction = phrase(chooser, 9)
        references = []
        for _ in range(chooser.choice((1, 1, 1, 2, 4))):
            related = chooser.random() < 0.5
            references.append(variation(chooser, prediction) if related else phrase(chooser, 6))
        found.append((prediction, references))
    return found


def main() -> None:
    rows = []
    for prediction, references in cases():
        best = {
            "exact_match": max(exact_match(prediction, reference) for reference in references),
            "f1": max(f1(prediction, reference) for reference in references),
        }
        rows.append({"prediction": prediction, "references": references} | best)
    # Escaped, so that invisible characters survive editors and can be told apart in a diff.
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    scores = [row["f1"] for row in rows]
    between = sum(0 < score < 1 for score in scores)
    print(f"{TARGET.name}: {len(rows)} cases, F1 0 in {scores.count(0.0)}, 1 in {scores.count(1.0)}, between in {between}")


if __name__ == "__main__":
    main()
