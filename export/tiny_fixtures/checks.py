"""Runs the written fixtures in ONNX Runtime: right-padded batches must answer as single rows do."""

from __future__ import annotations

import pathlib

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

PROMPTS = [
    "Who is the king of France?",
    "What is the capital of Germany, and when was it built?",
    "One",
    "Name a river in London.",
    "Tell me about water and fire.",
    "Résumé: déjà vu 你好 🙂",
    "Is the moon big or small? Answer in one word, and say why the sun is not green in the morning.",
    "12 + 30 = ?",
]
PAIRS = [
    ("paris is the capital of france", "the capital of france is paris"),
    ("poison in the water", "the water is good"),
    ("no", "yes, it was a big black dog by the river in berlin"),
    ("the cat", "the cat"),
]


def _session(folder: pathlib.Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])


def greedy(folder: pathlib.Path, prompts: list[str], steps: int) -> list[list[int]]:
    """Greedy continuation of right-padded prompts, stopping each row at its end of turn."""
    session, tokenizer = _session(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|im_end|>")
    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    rows = [tokenizer.encode(template.format(prompt), add_special_tokens=False).ids for prompt in prompts]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    ids = np.zeros((len(rows), lengths.max()), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
    feeds = {"input_ids": ids, "logits_index": lengths - 1}
    for argument in session.get_inputs():
        if argument.name.startswith("past"):
            feeds[argument.name] = np.zeros((len(rows), argument.shape[1], 0, argument.shape[3]), dtype=np.float32)
    names = [value.name for value in session.get_outputs()]
    answers: list[list[int]] = [[] for _ in rows]
    open_rows = set(range(len(rows)))
    total = ids.shape[1]
    for _ in range(steps):
        feeds["attention_mask"] = (np.arange(total)[None, :] < lengths[:, None]).astype(np.int64)
        outputs = dict(zip(names, session.run(names, feeds), strict=True))
        chosen = outputs["logits"][:, 0].argmax(-1)
        for index in list(open_rows):
            answers[index].append(int(chosen[index]))
            if chosen[index] == end:
                open_rows.discard(index)
        if not open_rows:
            break
        feeds = {name.replace("present", "past_key_values"): value for name, value in outputs.items() if name != "logits"}
        feeds |= {"input_ids": chosen[:, None].astype(np.int64), "logits_index": np.zeros(len(rows), dtype=np.int64)}
        lengths, total = lengths + 1, total + 1
    return answers


def check_decoder(folder: pathlib.Path) -> str:
    """Batched greedy equals single greedy, answers differ, and some (not all) end by themselves."""
    batched = greedy(folder, PROMPTS, 20)
    for prompt, answer in zip(PROMPTS, batched, strict=True):
        single = greedy(folder, [prompt], 20)[0]
        if single != answer:
            raise AssertionError(f"{folder.name}: {prompt!r} answers {answer} in a batch and {single} alone")
    ended = sum(len(answer) < 20 for answer in batched)
    distinct = len({tuple(answer) for answer in batched})
    if not 0 < ended < len(PROMPTS) or distinct < len(PROMPTS) - 1:
        raise AssertionError(f"{folder.name}: {ended} answers ended and {distinct} are distinct of {len(PROMPTS)}")
    return f"batched = single for {len(PROMPTS)} prompts, {ended} ended, {distinct} distinct"


def encode(folder: pathlib.Path, texts: list, length: int | None = None) -> np.ndarray:
    """The graph's output for texts or pairs, mean-pooled when it has one vector per token."""
    session, tokenizer = _session(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=length)
    rows = tokenizer.encode_batch(texts)
    arrays = {
        "input_ids": [row.ids for row in rows],
        "attention_mask": [row.attention_mask for row in rows],
        "token_type_ids": [row.type_ids for row in rows],
    }
    feeds = {value.name: np.array(arrays[value.name], dtype=np.int64) for value in session.get_inputs()}
    (output,) = session.run(None, feeds)
    if output.ndim == 3:
        mask = feeds["attention_mask"][..., None]
        output = (output * mask).sum(1) / mask.sum(1)
    return output


def check_encoder(folder: pathlib.Path, pairs: bool, poisoned: bool = False) -> str:
    """Batched equals single within float rounding; a poisoned model answers NaN exactly where it should."""
    texts: list = PAIRS if pairs else PROMPTS
    batched = encode(folder, texts, length=100)
    single = np.concatenate([encode(folder, [text]) for text in texts])
    difference = np.nanmax(np.abs(batched - single))
    expected_nan = [poisoned and text[0].startswith("poison") for text in texts]
    if np.isnan(batched).all(-1).tolist() != expected_nan or difference > 1e-5:
        raise AssertionError(f"{folder.name}: batched and single differ by {difference}, outputs {batched}")
    return f"batched = single within {difference:.1e}"
