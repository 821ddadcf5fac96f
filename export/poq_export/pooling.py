"""Pooling: which output of a bi-encoder's graph is read, and one vector per row from one per token, here or in the graph.

Pooled on a GPU, a batch of texts comes back as one vector each and not as one for every token.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .registry import Model

SENTENCES = "sentence_embedding"  # as sentence-transformers names the output of a graph that pools by itself
MASK = "attention_mask"


class PoolingError(Exception):
    """Token vectors that cannot be pooled as asked."""


def output_to_read(model: Model, outputs: Collection[str]) -> tuple[str, str]:
    """Name of the output that is read, and the pooling that is left to do; the engine decides in the same way.

    It is the registry's output, unless a bi-encoder's graph has sentence vectors in its place. Logits are not pooled.
    """
    if model.scoring is None:
        raise PoolingError(f"model `{model.key}`: an encoder needs a [model.scoring] table")
    name = model.scoring.output
    if model.architecture != "bi_encoder":
        return name, "none"
    if name not in outputs and SENTENCES in outputs:
        name = SENTENCES
    return name, "none" if name == SENTENCES else model.scoring.pooling or "mean"


def pool(output: np.ndarray, mask: np.ndarray, pooling: str) -> np.ndarray:
    """One vector per row from one vector per token."""
    if pooling == "none":
        return output
    if pooling == "cls":
        return output[:, 0]
    valid = mask[:, :, None].astype(np.float32)
    if pooling == "max":
        return np.where(valid > 0, output, -np.inf).max(axis=1)
    if pooling == "mean":
        return (output * valid).sum(axis=1) / valid.sum(axis=1)
    raise PoolingError(f"unknown pooling `{pooling}`")


def into_graph(graph: onnx.GraphProto, output: str, pooling: str) -> None:
    """Let the graph pool its f32 output of token vectors and return nothing but sentence vectors, in f32."""
    if any(SENTENCES in node.output for node in graph.node):
        raise PoolingError(f"the graph makes a `{SENTENCES}` itself: name that as its `output`, with the pooling `none`")
    (vectors,) = (value for value in graph.output if value.name == output)
    sizes = [size.dim_value or size.dim_param for size in vectors.type.tensor_type.shape.dim]
    size = sizes[2] if len(sizes) == 3 else None
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(SENTENCES, TensorProto.FLOAT, ["batch", size]))
    operators = {"mean": _mean, "cls": _first, "max": _largest}
    if pooling not in operators:
        raise PoolingError(f"unknown pooling `{pooling}`")
    operators[pooling](graph, output)


def _mean(graph: onnx.GraphProto, vectors: str) -> None:
    """A product with the mask sums up; factors of 0 and 1 and vectors that come from f16 are exact in TF32, too."""
    _append(graph, "Cast", [MASK], "pooling.mask", to=TensorProto.FLOAT)
    _append(graph, "Unsqueeze", ["pooling.mask", _integers(graph, [1])], "pooling.factors")
    _append(graph, "MatMul", ["pooling.factors", vectors], "pooling.product")
    _append(graph, "Squeeze", ["pooling.product", _integers(graph, [1])], "pooling.sum")
    _append(graph, "ReduceSum", ["pooling.mask", _integers(graph, [1])], "pooling.count", keepdims=1)
    _append(graph, "Div", ["pooling.sum", "pooling.count"], SENTENCES)


def _first(graph: onnx.GraphProto, vectors: str) -> None:
    _append(graph, "Gather", [vectors, _integers(graph, 0)], SENTENCES, axis=1)


def _largest(graph: onnx.GraphProto, vectors: str) -> None:
    """Padding is below everything."""
    _append(graph, "Cast", [MASK], "pooling.mask", to=TensorProto.BOOL)
    _append(graph, "Unsqueeze", ["pooling.mask", _integers(graph, [2])], "pooling.real")
    lowest = numpy_helper.from_array(np.array(-np.inf, np.float32), "pooling.lowest")
    graph.initializer.append(lowest)
    _append(graph, "Where", ["pooling.real", vectors, lowest.name], "pooling.valid")
    _append(graph, "ReduceMax", ["pooling.valid", _integers(graph, [1])], SENTENCES, keepdims=0)


def _append(graph: onnx.GraphProto, kind: str, inputs: list[str], output: str, **attributes: int) -> None:
    graph.node.append(helper.make_node(kind, inputs, [output], output, **attributes))


def _integers(graph: onnx.GraphProto, values: list[int] | int) -> str:
    """An integer or a vector of them, once in the graph."""
    name = f"pooling.int64_{values}"
    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name
