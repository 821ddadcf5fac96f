"""The prompts that every tool answers: questions on passages, five to a passage, cut from the shipped corpus.

Everybody gets the same strings, with the instruction and the chat template already around them; poq gets the questions
and passages as a data set of its own and renders them itself, and what it rendered is held against these strings.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from settings import DATASETS, PASSAGE_WORDS, QA_PROMPT, QUESTIONS_PER_PASSAGE

SEED = 2512
DATA_SET = "peers_squad"


@dataclass(frozen=True)
class Question:
    """A question, the passage it is about, and a span of the passage."""

    question_id: str
    text: str
    passage: str
    answer: str


@dataclass(frozen=True)
class Answer:
    """What a tool wrote: the text without special tokens, and of how many new tokens it is."""

    text: str
    tokens: int


@dataclass(frozen=True, eq=False)
class Prompts:
    """Questions by position, those of a passage side by side, and the whole prompts."""

    name: str
    questions: list[Question]
    texts: list[str]
    new_tokens: int
    unit = "tokens/s"

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def units(self) -> int:
        """New tokens that a pass makes."""
        return len(self) * self.new_tokens

    def describe(self) -> str:
        """How much there is to do."""
        return f"{len(self)} prompts, {self.new_tokens} new tokens each"

    def head(self, count: int, name: str) -> Prompts:
        """The first ones, whole passages of them where that is possible."""
        if count > QUESTIONS_PER_PASSAGE:
            count -= count % QUESTIONS_PER_PASSAGE
        return Prompts(name, self.questions[:count], self.texts[:count], self.new_tokens)

    def write(self, folder: Path) -> Path:
        """The file the workers read."""
        path = folder / f"{self.name}-{len(self)}-{self.new_tokens}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"prompts": self.texts, "new_tokens": self.new_tokens}), encoding="utf-8")
        return path

    def read(self, answers: list[dict]) -> list[Answer]:
        """A worker's answers."""
        return [Answer(**answer) for answer in answers]

    def write_data_set(self, folder: Path) -> Path:
        """The same questions as a SQuAD file in a registry of data sets, as poq reads it; returns its folder."""
        folder = folder / f"{self.name}-{len(self)}"
        folder.mkdir(parents=True, exist_ok=True)
        paragraphs: dict[str, list[dict]] = {}
        for one in self.questions:
            answers = [{"text": one.answer, "answer_start": one.passage.index(one.answer)}]
            paragraphs.setdefault(one.passage, []).append(
                {"id": one.question_id, "question": one.text, "answers": answers}
            )
        articles = [{"context": passage, "qas": asked} for passage, asked in paragraphs.items()]
        squad = {"version": "1.1", "data": [{"title": self.name, "paragraphs": articles}]}
        (folder / "squad.json").write_text(json.dumps(squad, ensure_ascii=False), encoding="utf-8")
        entry = {"key": DATA_SET, "format": "squad", "task_type": "qa", "path": "squad.json"}
        entry |= {"licence": "MIT OR Apache-2.0", "source": "cut from quick_squad by bench-peers", "version": "1"}
        fields = [f"{name} = {json.dumps(value)}" for name, value in entry.items()]
        lines = ["schema_version = 1", "[[dataset]]", *fields]
        (folder / "registry.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder


def make(count: int, new_tokens: int, model_folder: Path) -> Prompts:
    """So many prompts, in the order of shuffled passages, through the chat template of an exported model."""
    template = chat_template(model_folder)
    questions = shipped_questions()[:count]
    if len(questions) < count:
        hint = f"hint: choose at most {len(questions)} with --prompts"
        raise SystemExit(f"error: the shipped corpus is too small for {count} prompts\n{hint}")
    instructions = [QA_PROMPT.replace("{context}", one.passage).replace("{question}", one.text) for one in questions]
    return Prompts("prompts", questions, [template(text) for text in instructions], new_tokens)


def shipped_questions(skipped_words: int = 0) -> list[Question]:
    """Five questions on every passage of the shipped corpus, passages in random order, each cut to its beginning.

    `skipped_words` cuts other passages from the same texts: they begin so many words later.

    A gold answer is kept where it still lies in the passage; else the first word stands in, for the format wants one
    and nothing scores these answers.
    """
    squad = json.loads((DATASETS / "quick/squad.json").read_text(encoding="utf-8"))
    paragraphs = [paragraph for article in squad["data"] for paragraph in article["paragraphs"]]
    random.Random(SEED).shuffle(paragraphs)
    found = []
    for paragraph in paragraphs:
        words = paragraph["context"].split()[skipped_words : skipped_words + PASSAGE_WORDS]
        passage = " ".join(words)
        for qa in paragraph["qas"][:QUESTIONS_PER_PASSAGE]:
            gold = qa["answers"][0]["text"]
            found.append(Question(qa["id"], qa["question"], passage, gold if gold in passage else words[0]))
    return found


def chat_template(model_folder: Path):
    """A function from an instruction to the prompt, by the template that was exported with the model."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    source = (model_folder / "chat_template.jinja").read_text(encoding="utf-8")
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source)
    return lambda text: template.render(messages=[{"role": "user", "content": text}], add_generation_prompt=True)
