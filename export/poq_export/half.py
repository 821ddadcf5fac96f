"""A variant of an encoder's graph with weights and arithmetic in f16, for GPUs; inputs and outputs stay as they are here.
What else it has otherwise, `for_gpu.py` adds.

Normalisation and softmax lose nothing by it: the operators that the graphs are made of read f16, compute means, variances
and exponentials in f32, and round what they put out. The last linear layer of a classifier stays in f32, since two logits
of about 10 could otherwise differ by no less than 0.008.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GRAPH = "model.f16.onnx"


class HalfError(Exception):
    """The graph cannot be computed in f16."""


def write(source: Path, target: Path) -> None:
    """Write the graph in f16; the same graph gives the same bytes."""
    model = onnx.load(source)
    graph = model.graph
    head = _head(graph)
    kept = set(head.input) if head is not None else set()
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_rounded(tensor))
    for node in graph.node:
        _change_casts(node)
    if head is not None:
        _insert_before(graph, head, _cast(head.input[0], f"{head.input[0]}.f32", TensorProto.FLOAT))
        head.input[0] = f"{head.input[0]}.f32"
    else:
        _cast_outputs(graph)
    del graph.value_info[:]  # says f32
    target.write_bytes(model.SerializeToString(deterministic=True))


def _head(graph: onnx.GraphProto) -> onnx.NodeProto | None:
    """The linear layer that puts out a classifier's logits."""
    outputs = {value.name for value in graph.output}
    found = [node for node in graph.node if outputs.intersection(node.output)]
    return found[0] if [node.op_type for node in found] == ["Gemm"] else None


def _rounded(tensor: TensorProto) -> TensorProto:
    """Weights to the nearest f16; small ones lose digits, great ones are refused."""
    values = numpy_helper.to_array(tensor)
    if values.size and (largest := float(np.abs(values).max())) > float(np.finfo(np.float16).max):
        raise HalfError(f"tensor `{tensor.name}` has a value of {largest:g}, which f16 cannot hold")
    return numpy_helper.from_array(values.astype(np.float16), tensor.name)


def _change_casts(node: onnx.NodeProto) -> None:
    """What the graph turned into f32 it turns into f16."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_rounded(attribute.t))


def _cast_outputs(graph: onnx.GraphProto) -> None:
    """Every f32 output comes out in f32, whoever computes it."""
    for value in graph.output:
        if value.type.tensor_type.elem_type != TensorProto.FLOAT:
            continue
        inner = f"{value.name}.f16"
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [inner if name == value.name else name for name in names]
        graph.node.append(_cast(inner, value.name, TensorProto.FLOAT))


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], f"{target}.cast", to=kind)


def _insert_before(graph: onnx.GraphProto, place: onnx.NodeProto, node: onnx.NodeProto) -> None:
    """Nodes stand in the order in which they can be computed."""
    graph.node.insert(next(index for index, other in enumerate(graph.node) if other is place or other == place), node)
