"""How far an evaluator's graphs in 8 bits and in f16 stray from the f32 graph, on the score that the engine would give.

Quantised activations share one scale per batch, so two things are measured: how much a row's score differs from f32,
and how much it depends on the rows it shares a batch with. The same batches through the f32 graph are the control.
Nothing is refused here: whether a score is good enough is for its user to say, and the manifest holds the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import drift_inputs
from .drift_inputs import Pair
from .encoder_gate import Encoder
from .encoders import VARIANTS
from .registry import Model, Scoring

BATCH = 8

Score = Callable[[list[Pair]], np.ndarray]  # (reference, output) pairs of one batch → one score each


class DriftError(Exception):
    """A graph's answer is no number."""


def report(model: Model, out_dir: Path) -> dict:
    """The manifest's `drift` entry for an exported evaluator.

    `w8` is the graph with 8-bit weights on ONNX Runtime, which computes it in f32: what rounding the weights alone does.
    `f16` is computed by the CPU, which rounds what goes in and out of an operator to f16 and adds up in f32.
    """
    names = {"f32": "model.onnx"} | {name: variant.GRAPH for name, variant in VARIANTS.items()}
    graphs = {name: Encoder(model, out_dir, graph) for name, graph in names.items() if graph in model.files}
    return measure({name: scorer(encoder) for name, encoder in graphs.items()}, drift_inputs.pairs())


def summary(figures: dict) -> list[str]:
    """The main figures, for one line of progress."""
    names = ("difference_largest", "difference_mean", "spearman", "batch_mate_largest")
    variants = [name for name in figures if name not in ("pairs", "f32")]
    shown = [f"{variant} {name} {figures[variant][name]:.3g}" for variant in variants for name in names]
    return [f"{figures['pairs']} pairs", *shown]


def measure(scores: dict[str, Score], pairs: list[Pair]) -> dict:
    """All figures, from the `f32` way of scoring pairs and the others."""
    alone = {name: _run(score, pairs, 1, name) for name, score in scores.items()}
    mates = {name: np.abs(_run(score, pairs, BATCH, name) - alone[name]) for name, score in scores.items()}
    figures = {name: _against(alone["f32"], alone[name]) | _mate_figures(mates[name]) for name in scores if name != "f32"}
    return {"pairs": len(pairs), "f32": _mate_figures(mates["f32"]), **figures}


def _against(exact: np.ndarray, found: np.ndarray) -> dict[str, float]:
    difference = np.abs(found - exact)
    return {
        "difference_largest": float(difference.max()),
        "difference_mean": float(difference.mean()),
        "difference_p99": float(np.percentile(difference, 99)),
        "spearman": spearman(exact, found),
        "pearson": pearson(exact, found),
    }


def scorer(encoder: Encoder) -> Score:
    """Score pairs as the engine does: cosine of the sentence vectors, or the model's head on its logits."""
    scoring = encoder.scoring

    def vectors(texts: list[str]) -> np.ndarray:
        return encoder.run([encoder.tokenize(text) for text in texts]).astype(np.float64)

    def cosine(pairs: list[Pair]) -> np.ndarray:
        return (vectors([reference for reference, _ in pairs]) * vectors([output for _, output in pairs])).sum(axis=1)

    def logits(pairs: list[Pair]) -> np.ndarray:
        turned = [pair[::-1] if scoring.order == "output_reference" else pair for pair in pairs]
        return head(encoder.run([encoder.tokenize(pair) for pair in turned]).astype(np.float64), scoring)

    return logits if encoder.model.architecture == "cross_encoder" else cosine


def head(logits: np.ndarray, scoring: Scoring) -> np.ndarray:
    """One score per row of logits."""
    columns = {label: column for column, label in enumerate(scoring.labels or [])}
    target = logits[:, columns[scoring.target] if len(columns) > 1 else 0]
    if scoring.head == "logit":
        return target
    if scoring.head == "sigmoid":
        return 1 / (1 + np.exp(-target))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    probability = shares[:, columns[scoring.target]]
    if scoring.head == "probability":
        return probability
    if scoring.head == "difference":
        return probability - shares[:, columns[scoring.minus]]
    raise DriftError(f"unknown head `{scoring.head}`")


def ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each value from 1 up; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Linear correlation; 0 when either is constant and there is nothing to correlate."""
    first, second = first - first.mean(), second - second.mean()
    norm = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / norm) if norm > 0 else 0.0


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of the ranks."""
    return pearson(ranks(first), ranks(second))


def _run(score: Score, pairs: list[Pair], batch: int, name: str) -> np.ndarray:
    found = np.concatenate([score(pairs[start : start + batch]) for start in range(0, len(pairs), batch)])
    if not np.isfinite(found).all():
        place = int(np.flatnonzero(~np.isfinite(found))[0])
        raise DriftError(f"the {name} graph scores {found[place]} for {pairs[place]}")
    return found


def _mate_figures(mates: np.ndarray) -> dict[str, float]:
    return {"batch_mate_largest": float(mates.max()), "batch_mate_mean": float(mates.mean())}
