"""The 8-bit variants of tiny encoders, made as the exporter makes those of the real ones."""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper
from poq_export import quantize


def write(folder: pathlib.Path) -> None:
    """Write `model.int8.onnx` beside `model.onnx`."""
    model = onnx.load(folder / "model.onnx")
    _uncast_factors(model.graph)
    with tempfile.TemporaryDirectory() as scratch:
        plain = pathlib.Path(scratch) / "model.onnx"
        plain.write_bytes(model.SerializeToString(deterministic=True))
        quantize.write(plain, folder / quantize.GRAPH)


def _uncast_factors(graph: onnx.GraphProto) -> None:
    """Turn the half-precision weights of products into float32, the only kind that is quantised; tables stay small."""
    factors = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast" and node.output[0] in factors}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for name, node in casts.items():
        half = stored.get(node.input[0])
        if half is not None:
            graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(half).astype(np.float32), name))
            graph.initializer.remove(half)
            graph.node.remove(node)
