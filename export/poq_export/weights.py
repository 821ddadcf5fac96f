"""A variant of an encoder's graph with 8-bit weights and nothing else quantised, for runtimes that quantise activations.

OpenVINO turns a product whose weights are stored so into an 8-bit product, and quantises the activations itself in small
groups along each row: as fast as bf16 arithmetic or faster, and without the single scale per batch of `quantize.py`. Other
runtimes unpack the weights when they load the graph and compute in f32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

GRAPH = "model.w8.onnx"

# Operators whose second input is a matrix of weights, [input, output].
OPERATORS = ("MatMul", "Attention")
LARGEST = 127


class WeightsError(Exception):
    """The graph has no weights that could be stored in 8 bits."""


def write(source: Path, target: Path) -> None:
    """Store the matrices of products in 8 bits with one scale per output channel; the same graph gives the same bytes."""
    model = onnx.load(source)
    graph = model.graph
    matrices = {tensor.name: tensor for tensor in graph.initializer}
    packed: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        name = node.input[1] if node.op_type in OPERATORS and len(node.input) > 1 else ""
        if name in matrices and len(matrices[name].dims) == 2:
            if name not in packed:
                packed[name] = [_pack(graph, name, numpy_helper.to_array(matrices[name]))]
            node.input[1] = f"{name}.unpacked"
    if not packed:
        raise WeightsError("there is no product with constant weights in the graph")
    kept = [tensor for tensor in graph.initializer if tensor.name not in packed]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = [node for unpack in packed.values() for node in unpack] + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    target.write_bytes(model.SerializeToString(deterministic=True))


def quantised(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """8-bit values and one scale per column; a column of zeros keeps a scale that divides."""
    largest = np.abs(matrix).max(axis=0)
    scales = np.where(largest > 0, largest / LARGEST, 1).astype(np.float32)
    return np.clip(np.rint(matrix / scales), -LARGEST, LARGEST).astype(np.int8), scales


def _pack(graph: onnx.GraphProto, name: str, matrix: np.ndarray) -> onnx.NodeProto:
    values, scales = quantised(matrix.astype(np.float32))
    names = [f"{name}.{part}" for part in ("values", "scales", "zero_points")]
    arrays = (values, scales, np.zeros(scales.shape, np.int8))
    graph.initializer.extend(numpy_helper.from_array(array, part) for part, array in zip(names, arrays, strict=True))
    return helper.make_node("DequantizeLinear", names, [f"{name}.unpacked"], f"{name}.unpack", axis=1)
