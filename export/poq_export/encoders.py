"""Encoders: BERT built from its weights, and published ONNX graphs, as they are or freed of dynamic quantisation.

Beside the f32 graph lie its variants in 8 bits and in f16, for a model whose registry entry lists them. The one in f16 is
for GPUs, and differs from the others in more than its precision.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

from . import dequantize, for_gpu, half, pooling, quantize, weights
from .bert import Bert
from .encoder_layers import INPUTS, Shape
from .registry import Model
from .untrained import untrained_head

VERSION = 3
VARIANTS = {"int8": quantize, "w8": weights, "f16": half}
RANK = {"mean": 3, "cls": 3, "max": 3, "none": 2}  # of an output that is left to be pooled so


class EncoderError(Exception):
    """An encoder that cannot be exported as the registry describes it."""


def export(model: Model, artifacts: dict[str, Path], out_dir: Path) -> None:
    """Write model.onnx, the variants that the registry lists, and tokenizer.json into `out_dir`."""
    recipes = {"bert_encoder": _build_bert, "copy_onnx": _copy_onnx, "dequantize_onnx": _dequantize_onnx}
    if model.export.recipe not in recipes:
        raise EncoderError(f"model `{model.key}`: `{model.export.recipe}` is no encoder recipe; known: {', '.join(recipes)}")
    recipes[model.export.recipe](model, artifacts, out_dir)
    copy_tokenizer(artifacts["tokenizer.json"], out_dir / "tokenizer.json")
    write_variants(model, out_dir)


def write_variants(model: Model, out_dir: Path) -> None:
    """Check the f32 graph and make of it the variants that the registry lists."""
    check_interface(model, out_dir / "model.onnx")
    for variant in VARIANTS.values():
        if variant.GRAPH in model.files:
            variant.write(out_dir / "model.onnx", out_dir / variant.GRAPH)
            if variant is half:
                for_gpu.rewrite(model, out_dir / variant.GRAPH)
            check_interface(model, out_dir / variant.GRAPH)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer without the truncation and padding its publisher happened to save with it.

    The engine sets its own from `max_length` and `fixed_length`; a length baked in by somebody's last training run
    would silently win over the registry. A file that has neither is copied byte for byte.
    """
    tokenizer = json.loads(source.read_text(encoding="utf-8"))
    if tokenizer.get("truncation") is None and tokenizer.get("padding") is None:
        shutil.copyfile(source, target)
        return
    tokenizer["truncation"] = tokenizer["padding"] = None
    target.write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def check_interface(model: Model, path: Path) -> None:
    """The graph loads and has the inputs and the output that the registry promises to the engine."""

    def wrong(what: str) -> EncoderError:
        return EncoderError(f"model `{model.key}`: {what}")

    if model.scoring is None:
        raise wrong("an encoder needs a [model.scoring] table")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # loads faster; nothing is run
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {value.name: value for value in session.get_inputs()}
    if unknown := [name for name in inputs if name not in INPUTS]:
        raise wrong(f"graph input `{unknown[0]}` is none of {', '.join(INPUTS)}")
    if missing := [name for name in INPUTS[:2] if name not in inputs]:
        raise wrong(f"the graph has no input `{missing[0]}`")
    for name, value in inputs.items():
        if value.type != "tensor(int64)":
            raise wrong(f"graph input `{name}` is {value.type}, not tensor(int64)")
        if isinstance(value.shape[0], int):
            raise wrong(f"graph input `{name}` has a fixed batch of {value.shape[0]}")
        length = value.shape[1] if isinstance(value.shape[1], int) else None
        if length != model.fixed_length:
            raise wrong(f"graph input `{name}` takes {length or 'any'} tokens, fixed_length says {model.fixed_length or 'any'}")
    outputs = {value.name: value for value in session.get_outputs()}
    name, left = pooling.output_to_read(model, outputs)
    output = outputs.get(name)
    if output is None:
        raise wrong(f"no graph output `{name}`; there are {', '.join(outputs)}")
    rank = RANK[left]
    if len(output.shape) != rank or output.type != "tensor(float)":
        raise wrong(f"output `{output.name}` is {output.type} of shape {output.shape}; {rank} float dimensions are expected")
    labels = len(model.scoring.labels or [])
    if labels > 1 and output.shape[-1] != labels:
        raise wrong(f"output `{output.name}` has {output.shape[-1]} columns for {labels} labels")


def _copy_onnx(model: Model, artifacts: dict[str, Path], out_dir: Path) -> None:
    """Take the published graph as it is."""
    shutil.copyfile(artifacts["model.onnx"], out_dir / "model.onnx")


def _dequantize_onnx(model: Model, artifacts: dict[str, Path], out_dir: Path) -> None:
    """Take the published weights, computing in float32."""
    dequantize.write(artifacts["model.onnx"], out_dir / "model.onnx", model.fixed_length)


def _build_bert(model: Model, artifacts: dict[str, Path], out_dir: Path) -> None:
    """Build a BERT encoder from its published weights and configuration."""
    config = json.loads(artifacts["config.json"].read_text(encoding="utf-8"))
    expected = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise EncoderError(f"model `{model.key}`: {name} is `{config[name]}`; only `{value}` can be built")
    weights = {name.removeprefix("bert."): array for name, array in load_file(artifacts["model.safetensors"]).items()}
    classify = model.architecture == "cross_encoder"
    if classify or model.export.head is not None:
        weights |= _untrained_classifier(model, weights, config["hidden_size"])
    shape = Shape(
        config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"], config["type_vocab_size"],
        config["layer_norm_eps"],
    )  # fmt: skip
    Bert(weights, shape, classify=classify).save(out_dir / "model.onnx")


def _untrained_classifier(model: Model, weights: dict[str, np.ndarray], hidden: int) -> dict[str, np.ndarray]:
    """The drawn classifier of a model that asks for one; nothing for a model that brings its own."""

    def wrong(what: str) -> EncoderError:
        return EncoderError(f"model `{model.key}`: {what}")

    if model.export.head not in (None, "untrained"):
        raise wrong(f"`export.head` is `{model.export.head}`; only `untrained` is known")
    if model.architecture != "cross_encoder":
        raise wrong("`export.head` is for a cross-encoder")
    if "pooler.dense.weight" not in weights:
        raise wrong("the weights have no pooler, which a cross-encoder needs")
    if (model.export.head is None) != ("classifier.weight" in weights):
        raise wrong("it needs the published classifier or else `export.head = \"untrained\"`, and not both")
    if model.export.head is None:
        return {}
    weight, bias = untrained_head(hidden, max(1, len(model.scoring.labels or [])))
    return {"classifier.weight": weight, "classifier.bias": bias}
