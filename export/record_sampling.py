"""Writes tests/expected/logits_processors.json: logits, settings, and what transformers' logits processors make of them.

    python export/record_sampling.py

Run by hand, in an environment made from `requirements-reference.txt`. Nothing is ordered here: a model with one layer is
asked which processors its `generate` would apply for the settings, and those are called in that order. The cases stand
in `sampling_cases.py`.

Where a threshold falls on a probability, the outcome is a matter of rounding; such a case is marked `exact`. In all
others the nearest probability is far enough away for any arithmetic, or the recording fails. Where top-p cuts through
equal logits, which of them stay depends on an unstable sort; such a case is marked `tied`, and only how many stay counts.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sampling_cases import Case, by_hand, in_combination
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, LogitsProcessor, LogitsProcessorList, logging

TARGET = Path(__file__).resolve().parents[1] / "tests/expected/logits_processors.json"
SETTINGS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "min_new_tokens")
MARGIN = 1e-5  # relative to the threshold; float32 arithmetic errs by less than a hundredth of it

NOTES = {
    "repetition_penalty": "every id of prompt and answer, once however often it occurs: logit * penalty when < 0, else "
    "logit / penalty; ids beyond the vocabulary and left padding do not count; no processor when 1",
    "min_new_tokens": "stop ids get -inf while generated_ids are fewer; the prompt does not count",
    "temperature": "division in float32; no processor when 1",
    "top_k": "what is below the k-th largest logit goes, so ties with it stay; k is at most the vocabulary; "
    "no processor when 0",
    "top_p": "softmax in float32, ascending: a token goes while the sum up to and including it is <= 1 - top_p, compared "
    "in float32; the sum is kept in float64 and rounded to float32 at each token; the last one always stays; "
    "no processor when 1",
    "min_p": "softmax in float32: a token goes when its probability is < min_p times the largest, so equality stays",
    "greedy": "argmax after the processors that are no warpers; the lowest id of equals",
    "probabilities": "softmax in float64 of the processed float32 logits; each warper takes a softmax of its own over what "
    "the one before left",
    "tied": "top-p cuts through equal logits: how many stay is certain, which of them depends on the sort (torch's is "
    "unstable beyond 16 logits where it has AVX-512)",
    "exact": "a threshold falls on a value: the outcome needs arithmetic and comparison in float32",
}


class Generator:
    """Asks transformers which processors it would apply."""

    def __init__(self) -> None:
        config = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
        self.model = LlamaForCausalLM(config)

    def processors(self, case: Case, sample: bool) -> LogitsProcessorList:
        """Those of one step, in order; an absent setting stays absent, although `generate` would take 50 for `top_k`."""
        settings = {name: case.settings.get(name) for name in SETTINGS}
        config = GenerationConfig(do_sample=sample, eos_token_id=case.stop or None, pad_token_id=0, num_beams=1, **settings)
        self.model._prepare_special_tokens(config, kwargs_has_attention_mask=True, device="cpu")
        mask = {"attention_mask": torch.ones(1, len(case.prompt), dtype=torch.long)}
        return self.model._get_logits_processor(config, len(case.prompt), device="cpu", model_kwargs=mask)


def softmax(logits: np.ndarray) -> np.ndarray:
    """In float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


def cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a step kept some and dropped others of equal logits."""
    kept = np.isfinite(after)
    dropped = np.isfinite(before) & ~kept
    return bool(np.isin(before[kept], before[dropped]).any())


def distance(processor: LogitsProcessor, before: np.ndarray) -> float:
    """How far the nearest probability is from a threshold, relative to it."""
    name, finite = type(processor).__name__, before[np.isfinite(before)]
    if name == "TopPLogitsWarper" and processor.top_p > 0:
        return float(np.abs(np.cumsum(np.sort(softmax(finite)))[:-1] / (1 - processor.top_p) - 1).min())
    if name == "MinPLogitsWarper" and processor.min_p > 0:
        probabilities = softmax(finite)
        return float(np.abs(probabilities / probabilities.max() / processor.min_p - 1).min())
    return np.inf


def record(case: Case, generator: Generator) -> dict[str, Any]:
    """One row of the file."""
    history = torch.tensor([case.prompt + case.generated])
    scores = torch.tensor([case.logits], dtype=torch.float32)
    if scores[0].tolist() != case.logits:
        raise SystemExit(f"{case.name}: float32 does not hold the logits")
    greedy = generator.processors(case, sample=False)(history, scores.clone()).argmax(dim=-1).item()
    names, tied, nearest = [], False, np.inf
    for processor in generator.processors(case, sample=True):
        before = scores[0].numpy()
        scores = processor(history, scores.clone())
        names.append(type(processor).__name__)
        tied |= cut(before, scores[0].numpy())
        nearest = min(nearest, distance(processor, before))
    exact = nearest < 1e-7
    if not exact and nearest < MARGIN:
        raise SystemExit(f"{case.name}: a threshold is {nearest:.1e} from a value; change the case")
    processed = scores[0].numpy()
    kept = np.flatnonzero(np.isfinite(processed))
    return {
        "name": case.name,
        "logits": case.logits,
        "prompt_ids": case.prompt,
        "generated_ids": case.generated,
        "stop_ids": case.stop,
        "settings": {name: case.settings.get(name) for name in SETTINGS},
        "processors": names,
        "tied": tied,
        "exact": exact,
        "kept": kept.tolist(),
        "probabilities": softmax(processed[kept]).tolist(),
        "greedy": greedy,
    }


def order(rows: list[dict[str, Any]]) -> list[str]:
    """All processors in the order in which they were found applied; the case with everything has them all."""
    found = max((row["processors"] for row in rows), key=len)
    for row in rows:
        if row["processors"] != [name for name in found if name in row["processors"]]:
            raise SystemExit(f"{row['name']}: the order {row['processors']} is not that of {found}")
    return found


def main() -> None:
    logging.set_verbosity_error()  # that settings of sampling are of no use to greedy decoding is known here
    torch.set_num_threads(1)
    generator = Generator()
    rows = [record(case, generator) for case in by_hand() + in_combination()]
    head = {
        "reference": f"transformers {version('transformers')}, torch {version('torch')}, float32, CPU",
        "order": order(rows),
        "notes": NOTES,
        "cases_tied": sum(row["tied"] for row in rows),
        "cases_exact": sum(row["exact"] for row in rows),
    }
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    TARGET.write_text(f'{json.dumps(head, indent=1)[:-2]},\n "cases": [\n{lines}\n]}}\n', encoding="utf-8")
    json.loads(TARGET.read_text(encoding="utf-8"))
    counts = f"{len(rows)} cases, {head['cases_tied']} tied, {head['cases_exact']} exact"
    print(f"{TARGET.name}: {counts}; {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
