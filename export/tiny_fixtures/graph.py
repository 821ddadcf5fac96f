"""A small builder over onnx.helper, so that the fixture graphs read like the arithmetic they perform.

Weights are stored in half precision and cast at load: it halves the committed files, and since the cast is part of
the graph every runtime computes from exactly the same numbers.
"""

from __future__ import annotations

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


class Graph:
    """Collects nodes, initializers, inputs and outputs, and names the intermediate values."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: list[str | int], kind: int = TensorProto.INT64) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, shape: list[str | int], kind: int = TensorProto.FLOAT) -> str:
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, values: object, kind: type = np.int64) -> str:
        """A constant small enough to be stored as it is."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=kind), name))
        return name

    def weight(self, name: str, values: np.ndarray) -> str:
        """A weight stored in half precision; the returned value is its float32 cast."""
        self.initializers.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.f16"))
        return self.op("Cast", [f"{name}.f16"], output=name, to=TensorProto.FLOAT)

    def normal(self, name: str, shape: tuple[int, ...], scale: float) -> str:
        """A weight drawn from the graph's own seeded generator."""
        return self.weight(name, self.random.standard_normal(shape) * scale)

    def op(self, kind: str, inputs: list[str], output: str | None = None, domain: str = "", **attributes: object) -> str:
        """Appends an operator with one output and returns that output's name."""
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"node_{len(self.nodes)}", domain=domain, **attributes))
        return name

    def ops(self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: object) -> list[str]:
        """Appends an operator with several outputs."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=f"node_{len(self.nodes)}", domain=domain, **attributes))
        return outputs

    def save(self, path: pathlib.Path) -> None:
        """Writes the model; no date, version or path enters the file, so that a second run gives the same bytes."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="poq-fixtures")
        path.write_bytes(model.SerializeToString(deterministic=True))
