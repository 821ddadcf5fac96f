"""The parity gate of encoders: an exported model must answer as its recorded reference did.

Token ids are compared first, for a wrong tokenizer explains a wrong vector better than the vector does. Then every
input is run alone and all of them in one padded batch; both must match, since the engine is free to batch as it likes.

One kind of graph cannot pass the second half: with dynamic quantisation the scale of the activations is taken over the
whole batch, so a row's answer depends on its batch-mates. That is measured and written into the manifest as
`rows_independent = false`; such a model has to be run row by row.

For the provider cuda a graph in half precision, where the model has one, is run there against the same recording.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from tokenizers import Encoding, Tokenizer

from . import half, pooling, providers
from .recording import held
from .registry import Model
from .target import CPU, Target

MINIMUM_INPUTS = 24
HALF_TOLERANCE = 0.05  # of a logit, or of a component of a unit-length vector, in f16 against f32


class EncoderGateError(Exception):
    """The exported encoder does not answer as its reference does."""


def check(model: Model, out_dir: Path, reference: dict, target: Target = CPU) -> dict:
    """Compare the model in `out_dir` with its recording; returns the manifest's `gate` entry."""
    _check_artifacts(model, reference)
    encoder = Encoder(model, out_dir)
    inputs = reference["inputs"]
    encodings = [encoder.tokenize(_text(entry)) for entry in inputs]
    for entry, encoding in zip(inputs, encodings, strict=True):
        _check_ids(model, entry, encoding)

    expected = np.array([entry["output"] for entry in inputs], dtype=np.float32)
    single = np.concatenate([encoder.run([encoding]) for encoding in encodings])
    single_worst = _compare(model, inputs, single, expected, "alone")
    batched = encoder.run(encodings)
    independent = not has_dynamic_quantization(out_dir / "model.onnx")
    if independent:
        batched_worst = _compare(model, inputs, batched, expected, "in a padded batch")
    else:
        batched_worst = float(np.abs(batched - single).max())
    half = _check_half(model, out_dir, inputs, encodings, expected, target.provider)
    return half | {
        "passed": True,
        "inputs": len(inputs),
        "longest_input_tokens": max(len(entry["ids"]) for entry in inputs),
        "max_abs_difference": max(single_worst, batched_worst) if independent else single_worst,
        "max_abs_difference_alone": single_worst,
        "max_abs_difference_batched": batched_worst,
        "rows_independent": independent,
        "tolerance": model.export.logit_tolerance,
        "compared": "logits" if model.architecture == "cross_encoder" else "unit-length sentence vectors",
        "reference": reference["reference"],
    }


def has_dynamic_quantization(path: Path) -> bool:
    """Whether the graph quantises activations with a scale taken over the whole batch."""
    graph = onnx.load(path, load_external_data=False).graph
    return any(node.op_type in ("DynamicQuantizeLinear", "DynamicQuantizeMatMul") for node in graph.node)


class Encoder:
    """An exported encoder run as the engine runs it: tokenise, pad, infer, and pool unless the graph does."""

    def __init__(self, model: Model, folder: Path, graph: str = "model.onnx", provider: str = "cpu") -> None:
        if model.scoring is None:
            raise EncoderGateError(f"model `{model.key}`: an encoder needs a [model.scoring] table")
        self.model = model
        self.scoring = model.scoring
        self.session = providers.session(folder / graph, provider)
        self.output, self.pooling = pooling.output_to_read(model, [value.name for value in self.session.get_outputs()])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        if self.tokenizer.truncation is not None or self.tokenizer.padding is not None:
            raise EncoderGateError(f"model `{model.key}`: tokenizer.json still has truncation or padding of its own")
        self.tokenizer.enable_truncation(model.max_length)

    def tokenize(self, text: str | tuple[str, str]) -> Encoding:
        """Token ids of a text or of a pair, truncated and not yet padded."""
        return self.tokenizer.encode(*text) if isinstance(text, tuple) else self.tokenizer.encode(text)

    def run(self, encodings: list[Encoding]) -> np.ndarray:
        """Logits, or sentence vectors of length one, for the rows of one right-padded batch."""
        length = self.model.fixed_length or max(len(encoding.ids) for encoding in encodings)
        feeds = {name: np.zeros((len(encodings), length), np.int64) for name in self.inputs}
        fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        for name, feed in feeds.items():
            for row, encoding in zip(feed, encodings, strict=True):
                values = getattr(encoding, fields[name])
                row[: len(values)] = values
        (output,) = self.session.run([self.output], feeds)
        if self.model.architecture == "cross_encoder":
            return output
        vectors = pooling.pool(output, feeds["attention_mask"], self.pooling)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _text(entry: dict) -> str | tuple[str, str]:
    return (entry["first"], entry["second"]) if "first" in entry else entry["text"]


def _shown(entry: dict) -> str:
    """An input as an error message names it."""
    text = _text(entry)
    text = " / ".join(text) if isinstance(text, tuple) else text
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _check_half(
    model: Model, out_dir: Path, inputs: list[dict], encodings: list[Encoding], expected: np.ndarray, provider: str
) -> dict[str, float]:
    """The graph in half precision on CUDA, in one padded batch and alone; nothing where there is none to check."""
    if provider != "cuda" or half.GRAPH not in model.files:
        return {}
    encoder = Encoder(model, out_dir, half.GRAPH, provider)
    alone = np.concatenate([encoder.run([encoding]) for encoding in encodings])
    found = {f"in f16 on {provider}, alone": alone, f"in f16 on {provider}, in a batch": encoder.run(encodings)}
    worst = [_compare(model, inputs, values, expected, how, HALF_TOLERANCE) for how, values in found.items()]
    return {"max_abs_difference_f16": max(worst), "tolerance_f16": HALF_TOLERANCE}


def _check_artifacts(model: Model, reference: dict) -> None:
    """A reference recorded from other weights proves nothing."""
    if reference["artifacts"] != (expected := held(model)):
        changed = min(dict(expected.items() ^ reference["artifacts"].items()))
        raise EncoderGateError(f"model `{model.key}`: the reference was recorded from another `{changed}`; record it again")
    if (count := len(reference["inputs"])) < MINIMUM_INPUTS:
        raise EncoderGateError(f"model `{model.key}`: {count} recorded inputs, {MINIMUM_INPUTS} are needed")


def _check_ids(model: Model, entry: dict, encoding: Encoding) -> None:
    for name, found in (("ids", encoding.ids), ("type_ids", encoding.type_ids)):
        wanted = entry.get(name, found)
        if wanted != found:
            shorter = min(len(wanted), len(found))
            place = next((index for index in range(shorter) if wanted[index] != found[index]), shorter)
            raise EncoderGateError(
                f"model `{model.key}`, input {_shown(entry)}: {name} differ from the reference's at token {place}"
            )


def _compare(
    model: Model, inputs: list[dict], found: np.ndarray, expected: np.ndarray, how: str, tolerance: float | None = None
) -> float:
    """The largest difference, or an error naming the input that has it; the tolerance is the registry's unless given."""
    tolerance = model.export.logit_tolerance if tolerance is None else tolerance
    if found.shape != expected.shape:
        raise EncoderGateError(f"model `{model.key}`, run {how}: shape {found.shape}, the reference's is {expected.shape}")
    differences = np.nan_to_num(np.abs(found - expected), nan=np.inf).max(axis=1)
    worst = int(differences.argmax())
    if differences[worst] > tolerance:
        raise EncoderGateError(
            f"model `{model.key}`, input {_shown(inputs[worst])}, run {how}: differs from the reference by "
            f"{differences[worst]:.2g}, allowed is {tolerance:g}"
        )
    return float(differences[worst])
