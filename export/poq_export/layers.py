"""Which layer of an exported decoder strays from the reference: asked only after its gate failed.

The hidden state after every layer becomes an output of a copy of the graph, which shares the weights of the exported one.
One short input goes through it, and each state is compared with what the reference had there.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from .decoder_session import DecoderSession
from .target import Target

# How far a state may be from the reference's, as a share of its length; rounding grows from layer to layer.
TOLERANCES = {"f32": 1e-3, "f16": 0.02, "bf16": 0.15}
FIRST_NORM, LAST_NORM = "blk.0.attn_norm.weight", "output_norm.weight"


def straying(path: Path, reference: dict[str, Any], target: Target) -> str:
    """The end of a sentence about a graph whose gate failed: where it leaves the reference."""
    if "hidden_states" not in reference:
        return "its recording has no hidden states that would tell the layer"
    try:
        errors = errors_by_stage(path, reference, target)
    except Exception as error:  # the failure that this explains matters more
        return f"which layer strays could not be told: {type(error).__name__}: {error}"
    tolerance = TOLERANCES[target.precision.name]
    first = next((stage for stage, error in errors.items() if not error <= tolerance), None)
    every = ", ".join(f"{stage} {error:.1e}" for stage, error in errors.items())
    found = f"the first to stray is {first}" if first else "no layer strays on a short input"
    return f"{found} (relative errors: {every})"


def errors_by_stage(path: Path, reference: dict[str, Any], target: Target) -> dict[str, float]:
    """The largest relative error over the tokens of the embedding, each layer, the final norm and the head."""
    recorded = reference["hidden_states"]
    entry = reference["inputs"][recorded["input"]]
    expected = [decoded(state, len(entry["ids"])) for state in recorded["stages"]]
    copy = path.with_name("hidden-states.onnx.tmp")  # a sibling, so that external data is found
    try:
        names = with_hidden_states(path, copy)
        session = DecoderSession(copy, target.provider)
        *found, logits = session.outputs(entry["ids"], [*names, "logits"])
    finally:
        copy.unlink(missing_ok=True)
    errors = {
        stage: float(np.nan_to_num(_distance(state[0], theirs), nan=np.inf).max())
        for stage, state, theirs in zip(stages(len(names) - 2), found, expected, strict=True)
    }
    where = np.array([int(token) for token in entry["logits"]])
    values = np.array(list(entry["logits"].values()), np.float32)
    return errors | {"the head": float(_distance(logits[0, -1, where][None], values[None]).max())}


def stages(layers: int) -> list[str]:
    """What the states are called, in order."""
    return ["the embedding", *(f"layer {number}" for number in range(layers)), "the final norm"]


def with_hidden_states(path: Path, copy: Path) -> list[str]:
    """Write the graph with the states as further outputs, in f32; returns their names in order."""
    model = onnx.load(path, load_external_data=False)
    by_weight = {name: node for node in model.graph.node for name in node.input if name.endswith("norm.weight")}
    layers = sum(name.endswith(".attn_norm.weight") for name in by_weight)
    after = [by_weight[f"blk.{layer}.attn_norm.weight"] for layer in range(1, layers)] + [by_weight[LAST_NORM]]
    states = [by_weight[FIRST_NORM].input[0], *(node.output[3] for node in after), by_weight[LAST_NORM].output[0]]
    names = [f"hidden.{number}" for number in range(len(states))]
    for state, name in zip(states, names):
        model.graph.node.append(helper.make_node("Cast", [state], [name], f"{name}.cast", to=TensorProto.FLOAT))
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save_model(model, copy)
    return names


def encoded(state: np.ndarray) -> str:
    """A state [tokens, hidden] as a recording holds it: f32, little-endian, base64."""
    return base64.b64encode(np.ascontiguousarray(state, "<f4").tobytes()).decode("ascii")


def decoded(text: str, tokens: int) -> np.ndarray:
    """The reverse."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(tokens, -1)


def _distance(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Of each row from its expected one, as a share of that one's length."""
    length = np.linalg.norm(expected, axis=-1)
    return np.linalg.norm(found - expected, axis=-1) / np.where(length > 0, length, 1)
