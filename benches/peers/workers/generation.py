"""What the workers that generate share: the inputs as written by the harness, answers, batches of similar length."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tokenizers import Tokenizer


class Prompts(NamedTuple):
    """Whole prompts, the chat template applied, and how many tokens each answer has to have."""

    texts: list[str]
    new_tokens: int


class Answer(NamedTuple):
    """Text without special tokens, and the ids it was made from."""

    text: str
    ids: Sequence[int]


def read_prompts(path: str) -> Prompts:
    """The file of inputs."""
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    return Prompts(found["prompts"], found["new_tokens"])


def summarise(answers: list[Answer]) -> list[dict]:
    """As they are sent back."""
    return [{"text": answer.text, "tokens": len(answer.ids)} for answer in answers]


def answers(tokenizer: Tokenizer, rows: Sequence[Sequence[int]]) -> list[Answer]:
    """Texts of new token ids."""
    texts = tokenizer.decode_batch([list(map(int, row)) for row in rows], skip_special_tokens=True)
    return [Answer(text, row) for text, row in zip(texts, rows)]


def in_batches(
    prompts: list[list[int]], batch_size: int, generate: Callable[[list[list[int]]], list[list[int]]]
) -> list[list[int]]:
    """New tokens of tokenised prompts: longest first, so that a batch has little padding, and in the prompts' order."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    found: list[list[int]] = [[] for _ in prompts]
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        for index, row in zip(chosen, generate([prompts[index] for index in chosen])):
            found[index] = row
    return found
