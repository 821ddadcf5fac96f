"""The parity gate of encoders: an exported model must answer as its recorded reference did.

Token ids are compared first, for a wrong tokenizer explains a wrong vector better than the vector does. Then every
input is run alone and all of them in one padded batch; both must match, since the engine is free to batch as it likes.

One kind of graph cannot pass the second half: with dynamic quantisation the scale of the activations is taken over the
whole batch, so a row's answer depends on its batch-mates. That is measured and written into the manifest as
`rows_independent = false`; such a model has to be run row by row.

For the provider cuda a model that has a graph in half precision is run there, against the same recording: that graph, and
the one in f32, with which experiments score.
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
F32, F16 = "f32", "f16"
# Of a logit, or of a component of a unit-length vector, on CUDA against f32 on the CPU: for mistakes, not for rounding.
CUDA_TOLERANCES = {F32: 0.01, F16: 0.05}
CUDA_GRAPHS = {F32: "model.onnx", F16: half.GRAPH}
ROWS_ON_A_CARD = 8  # of a batch: attention scores of 40 rows of 512 tokens take some gigabytes


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
    on_cuda = _check_cuda(model, out_dir, inputs, encodings, expected, target.provider)
    return on_cuda | {
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
        with np.errstate(invalid="ignore"):  # a vector of zeros becomes no vector, which the comparison refuses
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _text(entry: dict) -> str | tuple[str, str]:
    return (entry["first"], entry["second"]) if "first" in entry else entry["text"]


def _shown(entry: dict) -> str:
    """An input as an error message names it."""
    text = _text(entry)
    text = " / ".join(text) if isinstance(text, tuple) else text
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _check_cuda(
    model: Model, out_dir: Path, inputs: list[dict], encodings: list[Encoding], expected: np.ndarray, provider: str
) -> dict[str, float]:
    """Each graph on CUDA, alone and in padded batches; nothing for a model that is not made for it."""
    if provider != "cuda" or half.GRAPH not in model.files:
        return {}
    figures = {}
    for precision, graph in CUDA_GRAPHS.items():
        encoder, tolerance = Encoder(model, out_dir, graph, provider), CUDA_TOLERANCES[precision]
        where = f"in {precision} on {provider}"
        alone = np.concatenate([encoder.run([encoding]) for encoding in encodings])
        batches = [encodings[start : start + ROWS_ON_A_CARD] for start in range(0, len(encodings), ROWS_ON_A_CARD)]
        found = {f"{where}, alone": alone, f"{where}, in a batch": np.concatenate([encoder.run(rows) for rows in batches])}
        worst = [_compare(model, inputs, values, expected, how, tolerance) for how, values in found.items()]
        figures |= {f"max_abs_difference_{precision}_cuda": max(worst), f"tolerance_{precision}_cuda": tolerance}
    return figures


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
