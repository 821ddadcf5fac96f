"""Runs the written fixtures in ONNX Runtime: right-padded batches must answer as single rows do, and both as numpy."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import onnxruntime
from poq_export import quantize
from poq_export.decoder_session import DecoderSession
from tokenizers import Encoding, Tokenizer

from .arithmetic import Arithmetic

EXPECTED = pathlib.Path(__file__).resolve().parents[2] / "tests" / "expected" / "tiny_families_greedy.json"
CLOSE = 1e-3  # logits nearer than this may change places
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"

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


def _session(folder: pathlib.Path, graph: str = "model.onnx") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(folder / graph, options, providers=["CPUExecutionProvider"])


def greedy(folder: pathlib.Path, prompts: list[str], steps: int) -> list[list[int]]:
    """Greedy continuation of right-padded prompts, stopping each row at its end of turn."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|im_end|>")
    rows = [tokenizer.encode(CHAT.format(prompt), add_special_tokens=False).ids for prompt in prompts]
    _, tokens = DecoderSession(folder / "model.onnx").greedy(rows, steps)
    answers = []
    for row in tokens.tolist():
        answers.append(row[: row.index(end) + 1] if end in row else row)
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


def check_recorded_decoder(folder: pathlib.Path) -> str:
    """As any decoder, and greedy answers are those that the reference gave (`record_families.py`)."""
    note = check_decoder(folder)
    recorded = json.loads(EXPECTED.read_text(encoding="utf-8"))[folder.name]
    session = DecoderSession(folder / "model.onnx")
    steps = len(recorded[0]["greedy"])
    for entry in recorded:
        _, tokens = session.greedy([entry["ids"]], steps)
        same = next((at for at in range(steps) if tokens[0, at] != entry["greedy"][at]), steps)
        if same < steps and min(entry["margins"][: same + 1]) > CLOSE:
            raise AssertionError(f"{folder.name}: {entry['ids']} continues with {tokens[0].tolist()}, not {entry['greedy']}")
    return f"{note}; as the reference for {len(recorded)} prompts"


def tokenize(folder: pathlib.Path, texts: list, limit: int) -> list[Encoding]:
    """Rows of a batch, cut off and not yet padded."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(limit)
    return tokenizer.encode_batch(texts)


def encode(session: onnxruntime.InferenceSession, rows: list[Encoding], length: int | None = None) -> np.ndarray:
    """The graph's output for the rows of a batch, mean-pooled when it has one vector per token."""
    length = length or max(len(row.ids) for row in rows)
    fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    feeds = {value.name: np.zeros((len(rows), length), dtype=np.int64) for value in session.get_inputs()}
    for name, feed in feeds.items():
        for line, row in zip(feed, rows, strict=True):
            line[: len(row.ids)] = getattr(row, fields[name])
    (output,) = session.run(None, feeds)
    if output.ndim == 3:
        mask = feeds["attention_mask"][..., None]
        output = (output * mask).sum(1) / mask.sum(1)
    return output


def check_encoder(folder: pathlib.Path, pairs: bool, poisoned: bool = False, fixed_length: int | None = None) -> str:
    """Batched, single and numpy agree within float rounding; a poisoned model answers NaN exactly where it should."""
    texts: list = PAIRS if pairs else PROMPTS
    rows, session, arithmetic = tokenize(folder, texts, fixed_length or 128), _session(folder), Arithmetic(folder)
    batched = encode(session, rows, fixed_length or 100)
    single = np.concatenate([encode(session, [row], fixed_length) for row in rows])
    expected = np.array([arithmetic.answer(row) for row in rows])
    difference = max(np.nanmax(np.abs(batched - single)), np.nanmax(np.abs(single - expected)))
    expected_nan = [poisoned and text[0].startswith("poison") for text in texts]
    if np.isnan(batched).all(-1).tolist() != expected_nan or difference > 1e-5:
        raise AssertionError(f"{folder.name}: batched, single and numpy differ by {difference}, outputs {batched}")
    note = f"batched = single = numpy within {difference:.1e}"
    if (folder / quantize.GRAPH).exists():
        note += f"; 8-bit within {check_quantized(folder, rows, expected):.1e}"
    return note


def check_quantized(folder: pathlib.Path, rows: list[Encoding], expected: np.ndarray) -> float:
    """The 8-bit variant is near, and neither equal to the exact answer nor free of its batch-mates' influence."""
    session = _session(folder, quantize.GRAPH)
    single = np.concatenate([encode(session, [row]) for row in rows])
    difference, influence = np.abs(single - expected).max(), np.abs(encode(session, rows) - single).max()
    if not 1e-5 < difference < 0.1 or not 1e-5 < influence < 0.1:
        raise AssertionError(f"{folder.name}: 8-bit differs by {difference}, and by {influence} in a batch")
    return difference
