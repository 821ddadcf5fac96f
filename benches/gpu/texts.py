"""Tokenizers, prompts and pairs, made from the shipped corpus: nothing has to be fetched, and every tool gets the same.

Tokenizers know whole words. Those of the published models cut rare words into pieces; what that changes is the number of
tokens, which is the same for every tool here and stands in the results.
"""

from __future__ import annotations

import json
from functools import cache

import prompts
from inputs import Pairs, distinct
from prompts import Prompts, Question
from settings import DATASETS, QA_PROMPT, QUESTIONS_PER_PASSAGE
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

USER, END, ASSISTANT, UNKNOWN = "<|user|>", "<|end|>", "<|assistant|>", "<unk>"
CHAT_TEMPLATE = f"{USER}\n{{{{ messages[0]['content'] }}}}{END}\n{ASSISTANT}\n"
# By architecture: padding, start, separator, unknown. The padding of RoBERTa is token 1, for positions are counted from it.
ENCODER_SPECIALS = {
    "bert": ("[PAD]", "[CLS]", "[SEP]", "[UNK]"),
    "deberta-v2": ("[PAD]", "[CLS]", "[SEP]", "[UNK]"),
    "roberta": ("<pad>", "<s>", "</s>", "<unk>"),
}
# Words by which the next cut of the same passages is moved.
SHIFT = 2


@cache
def words(lower: bool) -> tuple[str, ...]:
    """Every word and punctuation mark of the shipped corpus and of the instruction."""
    texts = [
        QA_PROMPT,
        *((DATASETS / name).read_text(encoding="utf-8") for name in ("quick/squad.json", "quick/news.jsonl")),
    ]
    split = pre_tokenizers.Whitespace()
    found = {piece for text in texts for piece, _ in split.pre_tokenize_str(text.lower() if lower else text)}
    return tuple(sorted(found))


def vocabulary(specials: list[str], lower: bool, size: int) -> dict[str, int]:
    """Special tokens, then words, then made-up ones until every id of the model has a text."""
    known = list(dict.fromkeys([*specials, *words(lower)]))[:size]
    known += [f"word{number}" for number in range(size - len(known))]
    return {token: number for number, token in enumerate(known)}


def decoder_tokenizer(size: int) -> Tokenizer:
    """For an LLM whose vocabulary has `size` tokens."""
    specials = [UNKNOWN, USER, END, ASSISTANT]
    tokenizer = Tokenizer(models.WordLevel(vocabulary(specials, False, size), unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


def encoder_tokenizer(kind: str, size: int) -> Tokenizer:
    """For an encoder of a `model_type`, with its frame around one text and around two."""
    padding, start, separator, unknown = ENCODER_SPECIALS[kind]
    specials = [start, padding, separator, unknown] if kind == "roberta" else [padding, start, separator, unknown]
    table = vocabulary(specials, True, size)
    tokenizer = Tokenizer(models.WordLevel(table, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    second = 0 if kind == "roberta" else 1
    between = f"{separator} {separator}" if kind == "roberta" else separator
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {separator}",
        pair=f"{start} $A {between} $B:{second} {separator}:{second}",
        special_tokens=[(start, table[start]), (separator, table[separator])],
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


def make_prompts(count: int, new_tokens: int) -> Prompts:
    """So many prompts: one question on every passage of 80 words, and on other cuts of the same texts where more are wanted.

    No two prompts share more than the instruction: the passages of the paper's sample of SQuAD are hardly ever the same.
    """
    chosen: list[Question] = []
    cut = 0
    while len(chosen) < count:
        asked = prompts.shipped_questions(cut * SHIFT)
        by_passage = {one.passage: one for one in asked[cut % QUESTIONS_PER_PASSAGE :: QUESTIONS_PER_PASSAGE]}
        chosen += [Question(f"{one.question_id}-{cut}", one.text, one.passage, one.answer) for one in by_passage.values()]
        cut += 1
    del chosen[count:]
    instructions = [QA_PROMPT.replace("{context}", one.passage).replace("{question}", one.text) for one in chosen]
    return Prompts("prompts", chosen, [f"{USER}\n{text}{END}\n{ASSISTANT}\n" for text in instructions], new_tokens)


@cache
def make_pairs(count: int) -> Pairs:
    """So many pairs of a few words to about 200 tokens in random order; no text occurs twice."""
    return distinct(count)


def tokenizer_config(kind: str | None) -> str:
    """What transformers has to be told beside `tokenizer.json`."""
    config: dict[str, object] = {"tokenizer_class": "PreTrainedTokenizerFast", "padding_side": "left"}
    if kind is None:
        return json.dumps(config | {"unk_token": UNKNOWN, "pad_token": UNKNOWN, "eos_token": END})
    padding, start, separator, unknown = ENCODER_SPECIALS[kind]
    names = {"pad_token": padding, "cls_token": start, "sep_token": separator, "unk_token": unknown}
    inputs = ["input_ids", *(["token_type_ids"] if kind == "bert" else []), "attention_mask"]
    return json.dumps(config | names | {"padding_side": "right", "model_input_names": inputs})
