"""A dynamically quantised ONNX graph, turned back into one that computes in float32.

Dynamic quantisation picks one scale for a whole batch of activations, so a row's answer depends on its batch-mates, and
rounding amplifies whatever else differs. The evaluator published this way moved by up to 0.76 in its logits between being
run alone and in a batch, and by 0.13 between two optimisation levels of the same runtime. An evaluator has to give one
answer, so the export keeps the published 8-bit weights and drops the quantised arithmetic: `MatMulInteger` and what
surrounds it become `MatMul`.

Where the graph also carries the original float32 matrix (it does for those used twice), that is taken.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

QUANTIZED = "_quantized"


class DequantizeError(Exception):
    """The graph is not put together as onnxruntime's dynamic quantisation does it."""


def write(source: Path, target: Path, fixed_length: int | None) -> None:
    """Rewrite the graph; without a `fixed_length` it also takes sequences of any length."""
    model = onnx.load(source)
    graph = model.graph
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    consumers = {name: node for node in graph.node for name in node.input}
    replaced: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        quantize = producers.get(node.input[0])
        scaled = _scaled_output(node, consumers)
        if quantize is None or quantize.op_type != "DynamicQuantizeLinear":
            raise DequantizeError(f"node `{node.name}`: its input is not quantised dynamically")
        name = f"{node.input[1].removesuffix(QUANTIZED)}.f32"
        if name not in initializers:
            initializers[name] = matrix(node, initializers)
            graph.initializer.append(numpy_helper.from_array(initializers[name], name))
        replaced[scaled.name] = helper.make_node("MatMul", [quantize.input[0], name], list(scaled.output), node.name)
    if not replaced:
        raise DequantizeError("there is no MatMulInteger in the graph: nothing to turn back")
    nodes = _needed([replaced.get(node.name, node) for node in graph.node], [value.name for value in graph.output])
    del graph.node[:]
    graph.node.extend(nodes)
    used = _inputs(nodes)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    if fixed_length is None:
        for value in graph.input:
            value.type.tensor_type.shape.dim[1].dim_param = "sequence"
    target.write_bytes(model.SerializeToString(deterministic=True))


def matrix(node: onnx.NodeProto, initializers: dict[str, np.ndarray]) -> np.ndarray:
    """The float32 matrix that a MatMulInteger stands for."""
    quantized = node.input[1]
    base = quantized.removesuffix(QUANTIZED)
    original = initializers.get(base)
    if original is not None and original.dtype == np.float32 and original.shape == initializers[quantized].shape:
        return original
    return dequantized(base, initializers)


def dequantized(base: str, initializers: dict[str, np.ndarray]) -> np.ndarray:
    """A weight from its 8-bit values, zero point and scale."""
    values, zero, scale = (initializers[f"{base}{suffix}"] for suffix in (QUANTIZED, "_zero_point", "_scale"))
    return (values.astype(np.float32) - zero.astype(np.float32)) * scale


def _scaled_output(node: onnx.NodeProto, consumers: dict[str, onnx.NodeProto]) -> onnx.NodeProto:
    """The multiplication by both scales that ends a quantised product."""
    cast = consumers.get(node.output[0])
    scaled = consumers.get(cast.output[0]) if cast is not None and cast.op_type == "Cast" else None
    if scaled is None or scaled.op_type != "Mul":
        raise DequantizeError(f"node `{node.name}`: no cast and scale after it")
    return scaled


def _inputs(nodes: list[onnx.NodeProto]) -> set[str]:
    """Every value the nodes read, in subgraphs too."""
    found: set[str] = set()
    for node in nodes:
        found.update(node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found |= _inputs(list(attribute.g.node)) | {value.name for value in attribute.g.output}
    return found


def _needed(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    """The nodes without those that nobody reads any more; nodes are sorted, so one walk from the end is enough."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= _inputs([node])
    return kept[::-1]
