"""Encoders: BERT built from its weights, and published ONNX graphs, as they are or freed of dynamic quantisation.

The BERT graph is written with ONNX Runtime's fused operators straight away. The runtime would find most of them in a
plain graph when it loads one, but which of them depends on its version and on shapes it can or cannot infer (its
attention fusion missed a plain export of the same model); written out, the graph is the same everywhere, on the CPU,
CUDA and OpenVINO providers alike. On a CPU it is 1 to 3 % faster than the plain graph and equal within 3e-6.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto
from safetensors.numpy import load_file

from . import dequantize
from .graph import MICROSOFT, GraphBuilder
from .registry import Model

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
VECTOR_RANK = {"mean": 3, "cls": 3, "max": 3, "none": 2}


class EncoderError(Exception):
    """An encoder that cannot be exported as the registry describes it."""


def export(model: Model, artifacts: dict[str, Path], out_dir: Path) -> None:
    """Write model.onnx and tokenizer.json into `out_dir`."""
    recipes = {"bert_encoder": _build_bert, "copy_onnx": _copy_onnx, "dequantize_onnx": _dequantize_onnx}
    if model.export.recipe not in recipes:
        raise EncoderError(f"model `{model.key}`: `{model.export.recipe}` is no encoder recipe; known: {', '.join(recipes)}")
    recipes[model.export.recipe](model, artifacts, out_dir)
    copy_tokenizer(artifacts["tokenizer.json"], out_dir / "tokenizer.json")
    check_interface(model, out_dir / "model.onnx")


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
    output = outputs.get(model.scoring.output)
    if output is None:
        raise wrong(f"no graph output `{model.scoring.output}`; there are {', '.join(outputs)}")
    rank = 2 if model.architecture == "cross_encoder" else VECTOR_RANK[model.scoring.pooling or "mean"]
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
    Bert(weights, config).save(out_dir / "model.onnx")


class Bert:
    """The BERT graph, from token ids to `last_hidden_state`."""

    def __init__(self, weights: dict[str, np.ndarray], config: dict) -> None:
        self.weights = weights
        self.config = config
        self.graph = GraphBuilder()

    def save(self, path: Path) -> None:
        """Assemble the graph and write it."""
        graph = self.graph
        typed = self.config["type_vocab_size"] > 1
        for name in INPUTS if typed else INPUTS[:2]:
            graph.input(name, TensorProto.INT64, ["batch", "sequence"])
        graph.output("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", self.config["hidden_size"]])
        mask = graph.op("Cast", ["attention_mask"], to=TensorProto.INT32)
        value = self._embed(typed)
        last = self.config["num_hidden_layers"] - 1
        for index in range(last + 1):
            value = self._layer(f"encoder.layer.{index}", value, mask, "last_hidden_state" if index == last else None)
        graph.save(path, external=False)

    def _constant(self, name: str, *, transpose: bool = False) -> str:
        array = self.weights[name].astype(np.float32)
        return self.graph.constant(name, array.T if transpose else array)

    def _norm(self, name: str) -> list[str]:
        return [self._constant(f"{name}.weight"), self._constant(f"{name}.bias")]

    def _embed(self, typed: bool) -> str:
        """Token, position and type embeddings, summed and normalised by one operator."""
        graph, prefix = self.graph, "embeddings"
        ids = graph.op("Cast", ["input_ids"], to=TensorProto.INT32)
        tokens = self._constant(f"{prefix}.word_embeddings.weight")
        types = types_table = ""
        positions_name = f"{prefix}.position_embeddings.weight"
        if typed:
            types = graph.op("Cast", ["token_type_ids"], to=TensorProto.INT32)
            types_table = self._constant(f"{prefix}.token_type_embeddings.weight")
            positions = self._constant(positions_name)
        else:  # every token has the same type: its vector is part of the position's
            table = self.weights[positions_name] + self.weights[f"{prefix}.token_type_embeddings.weight"]
            positions = graph.constant(positions_name, table.astype(np.float32))
        inputs = [ids, types, tokens, positions, types_table, *self._norm(f"{prefix}.LayerNorm")]
        outputs = ["embeddings", "embeddings_mask"]  # the second is part of the operator's signature, and unused
        return graph.op("EmbedLayerNormalization", inputs, outputs, MICROSOFT, epsilon=self.config["layer_norm_eps"])

    def _layer(self, name: str, value: str, mask: str, output: str | None) -> str:
        """Self-attention and feed-forward, each added to its input and normalised."""
        graph = self.graph
        heads = self.config["num_attention_heads"]
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        packed = np.concatenate([self.weights[f"{part}.weight"].T for part in parts], axis=1)
        packed = graph.constant(f"{name}.attention.packed.weight", packed.astype(np.float32))
        bias = np.concatenate([self.weights[f"{part}.bias"] for part in parts])
        bias = graph.constant(f"{name}.attention.packed.bias", bias.astype(np.float32))
        mixed = graph.op("Attention", [value, packed, bias, mask], domain=MICROSOFT, num_heads=heads)
        value = self._add_and_norm(f"{name}.attention.output", mixed, value, None)
        inner = self._product(f"{name}.intermediate.dense", value)
        inner = graph.op("BiasGelu", [inner, self._constant(f"{name}.intermediate.dense.bias")], domain=MICROSOFT)
        return self._add_and_norm(f"{name}.output", inner, value, output)

    def _product(self, name: str, value: str) -> str:
        """A linear layer without its bias, which the operator after it adds."""
        return self.graph.op("MatMul", [value, self._constant(f"{name}.weight", transpose=True)])

    def _add_and_norm(self, name: str, value: str, residual: str, output: str | None) -> str:
        """Linear layer, bias, residual and normalisation."""
        product = self._product(f"{name}.dense", value)
        inputs = [product, residual, *self._norm(f"{name}.LayerNorm"), self._constant(f"{name}.dense.bias")]
        outputs = [output] if output else None
        return self.graph.op("SkipLayerNormalization", inputs, outputs, MICROSOFT, epsilon=self.config["layer_norm_eps"])
