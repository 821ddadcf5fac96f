"""The parity gate for decoders: an exported graph must say what the reference implementation said.

Four comparisons, because one tolerance cannot serve them all:

* with the recording, input by input: the logits after the prompt and the greedy continuation through the cache. A
  continuation counts up to the first step where the leading two tokens are closer than twice the tolerance; beyond that
  either choice is right and the texts may part.
* with itself among batch-mates of other lengths, at every step, and with past and present in one buffer. This is the
  same arithmetic, so it must agree closely.
* with itself in one row with other inputs, what they begin with shared, where the graph can tell them apart; a graph that
  rounds activations is only held to this with its activations left in f32.
* for a graph with quantised weights, with the recording again but with activations left in f32. Rounding activations
  costs a few tenths of a logit, behind which a wrong weight could hide; without it a graph whose weights are those of
  the reference has to be exact. One whose weights were rounded here is only measured so.

A graph in half precision runs on the provider it was made for, and its reference had the same precision. Neither is
exact, so that there are bounds of their own for the largest difference of a logit and for the mean.

A failure names the model and, where the recording has hidden states, the first layer that strays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from . import layers
from .decoder_session import DecoderSession
from .recording import held
from .registry import Model
from .target import CPU, Target

BATCH = 8
BATCH_TOLERANCE = 0.05  # kernels may add in another order for other batch sizes, which int8 rounding magnifies
EXACT_TOLERANCE = 0.002
LONGEST_ROW = 1024  # tokens of inputs that share one row; attention grows with the square
HALF_TOLERANCES = {"f16": (0.5, 0.05), "bf16": (2.0, 0.4)}  # of a logit: the largest difference, the mean
ROUNDED = ("int8", "int4")  # quantisations that change weights; "keep" leaves them as the reference has them


class GateFailure(Exception):
    """The exported graph differs from the reference by more than the registry allows."""


def check(model: Model, out_dir: Path, reference: dict[str, Any], target: Target = CPU) -> dict[str, Any]:
    """Compare with the recording; returns what goes into the manifest."""
    expected = held(model)
    if reference["artifacts"] != expected:
        raise GateFailure(
            f"model `{model.key}`: the reference was recorded from other weights ({reference['artifacts']}, the registry "
            f"has {expected}); record it again with export/record_references.py"
        )
    path = out_dir / "model.onnx"
    try:
        figures = Gate(model, reference, target).run(path)
        differing = {name: reference[name] for name in ("tokenizer_differs",) if name in reference}
        return figures | differing  # the graph was given the ids of the tokenizer that is exported
    except GateFailure as failure:
        said = str(failure)
    # Not before the failure is gone: its frames keep a session, and a card may not hold the model twice.
    raise GateFailure(f"{said}; {layers.straying(path, reference, target)}")


class Gate:
    """The comparisons for one model."""

    def __init__(self, model: Model, reference: dict[str, Any], target: Target = CPU) -> None:
        self._key = model.key
        self._target = target
        self._longest = min(model.max_length, LONGEST_ROW)
        half = HALF_TOLERANCES.get(target.precision.name)
        self._tolerance, self._mean_tolerance = half or (model.export.logit_tolerance, np.inf)
        self._batch_tolerance = self._tolerance if half else min(self._tolerance, BATCH_TOLERANCE)
        rounded = model.export.quantization in ROUNDED
        self._weights_tolerance = self._tolerance if rounded else EXACT_TOLERANCE
        self._inputs = reference["inputs"]
        self._steps = len(self._inputs[0]["greedy"])
        self._reference = reference["reference"]

    def run(self, path: Path) -> dict[str, Any]:
        """All comparisons; the first failure raises."""
        session = DecoderSession(path, self._target.provider)
        alone = [self._greedy(session, [number]) for number in range(len(self._inputs))]
        differences = np.concatenate(
            [self._compare(number, logits[0, 0], self._tolerance) for number, (logits, _) in enumerate(alone)]
        )
        if not (mean := float(differences.mean())) <= self._mean_tolerance:
            what = f"logits differ by {mean:.4g} on average (tolerance {self._mean_tolerance})"
            raise GateFailure(f"model `{self._key}`: {what}")
        parted = [self._compare_continuation(number, tokens[0]) for number, (_, tokens) in enumerate(alone)]
        figures = {
            "passed": True,
            "inputs": len(self._inputs),
            "longest_input_tokens": max(len(entry["ids"]) for entry in self._inputs),
            "reference": self._reference,
            "max_abs_difference": float(differences.max()),
            "mean_abs_difference": mean,
            "tolerance": self._tolerance,
            "top1_agreement": float(np.mean([step > 0 for step in parted])),
            "greedy_agreement": float(np.mean(parted) / self._steps),
            "max_abs_difference_batched": self._compare_batches(session, alone),
        }
        if (exact := self._compare_weights(path)) is not None:
            figures["max_abs_difference_f32_activations"] = exact
        if session.takes_several_prompts:
            # Rounded activations magnify what another order of additions changes; without rounding it was held to little.
            tolerance = self._tolerance if exact is None else np.inf
            own = {number: logits[0, 0] for number, (logits, _) in enumerate(alone)}
            figures["max_abs_difference_one_row"] = self._compare_one_row(session, own, tolerance)
        return figures

    def _greedy(
        self, session: DecoderSession, numbers: list[int], in_place: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        prompts = [self._inputs[number]["ids"] for number in numbers]
        length = max(map(len, prompts)) + self._steps if in_place else None
        return session.greedy(prompts, self._steps, length)

    def _compare(self, number: int, logits: np.ndarray, tolerance: float) -> np.ndarray:
        """Absolute differences from the recorded logits of one input."""
        recorded = self._inputs[number]["logits"]
        where = np.array([int(position) for position in recorded])
        difference = np.abs(logits[where] - np.array(list(recorded.values()), np.float32))
        if not difference.max() <= tolerance:  # not `>`: a NaN must fail too
            what = f"the logit of token {where[difference.argmax()]} differs by {difference.max():.4g}"
            raise self._failure(number, what, tolerance)
        return difference

    def _compare_continuation(self, number: int, tokens: np.ndarray) -> int:
        """The step at which the text leaves the recorded one."""
        entry = self._inputs[number]
        parted = _first_difference(tokens, np.array(entry["greedy"]))
        if parted < self._steps and min(entry["margins"][: parted + 1]) >= 2 * self._tolerance:
            raise self._failure(number, f"greedy token {parted} is {tokens[parted]}", self._tolerance)
        return parted

    def _compare_batches(self, session: DecoderSession, alone: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """Every row of a batch against the same input alone; returns the largest difference of any logit."""
        tolerance, worst = self._batch_tolerance, 0.0
        for start in range(0, len(alone), BATCH):
            numbers = list(range(start, min(start + BATCH, len(alone))))
            for number, logits, tokens in zip(numbers, *self._greedy(session, numbers, in_place=True)):
                own_logits, own_tokens = alone[number][0][0], alone[number][1][0]
                same = _first_difference(tokens, own_tokens) + 1  # up to and including the step that chose differently
                difference = float(np.abs(logits[:same] - own_logits[:same]).max())
                if not difference <= tolerance:
                    raise self._failure(number, f"in a batch, logits differ by {difference:.4g} from alone", tolerance)
                worst = max(worst, difference)
        return worst

    def _compare_one_row(self, session: DecoderSession, alone: dict[int, np.ndarray], tolerance: float) -> float:
        """Inputs that share one row against the logits of each of them alone; returns the largest difference of any."""
        worst, rows = 0.0, [[]]
        for number in alone:
            if sum(len(self._inputs[other]["ids"]) for other in [*rows[-1], number]) >= self._longest:
                rows.append([])
            rows[-1].append(number)
        for numbers in filter(None, rows):
            together = session.one_row([self._inputs[number]["ids"] for number in numbers])
            for number, logits in zip(numbers, together):
                difference = float(np.abs(logits - alone[number]).max())
                if not difference <= tolerance:
                    what = f"in a row with other inputs, logits differ by {difference:.4g} from alone"
                    raise self._failure(number, what, tolerance)
                worst = max(worst, difference)
        return worst

    def _compare_weights(self, path: Path) -> float | None:
        """The shortest inputs through the same graph with f32 activations; `None` if it has them anyway."""
        graph = onnx.load(path, load_external_data=False)
        levels = [field for node in graph.graph.node if node.op_type == "MatMulNBits"
                  for field in node.attribute if field.name == "accuracy_level"]
        if not levels:
            return None
        for level in levels:
            level.i = 0
        copy = path.with_name("f32-activations.onnx.tmp")  # a sibling, so that external data is found
        try:
            onnx.save_model(graph, copy)
            numbers = sorted(range(len(self._inputs)), key=lambda number: len(self._inputs[number]["ids"]))[:BATCH]
            session = DecoderSession(copy)
            logits, _ = session.greedy([self._inputs[number]["ids"] for number in numbers], 1)
            if session.takes_several_prompts:
                self._compare_one_row(session, dict(zip(numbers, logits[:, 0])), EXACT_TOLERANCE)
        finally:
            copy.unlink(missing_ok=True)
        tolerance = self._weights_tolerance
        return float(max(self._compare(number, row[0], tolerance).max() for number, row in zip(numbers, logits)))

    def _failure(self, number: int, what: str, tolerance: float) -> GateFailure:
        start = self._inputs[number]["text"][:60]
        return GateFailure(f"model `{self._key}`, input {number} ({start!r}): {what} (tolerance {tolerance})")


def _first_difference(left: np.ndarray, right: np.ndarray) -> int:
    """Index of the first unequal element, or the length."""
    unequal = np.flatnonzero(left != right)
    return int(unequal[0]) if len(unequal) else len(left)
