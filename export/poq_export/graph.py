"""A thin layer over onnx.helper: named values in, named values out, every initializer written once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
OPSET = 21
IR_VERSION = 10
PROTOBUF_LIMIT = 2**31 - 1
EXTERNAL_DATA = "model.onnx.data"
SMALL = 1024  # bytes; smaller weights stay in the model's own file
PAGE = 4096  # bytes


class GraphBuilder:
    """Collects nodes and initializers. Names come from the caller or a counter, so the same input gives the same bytes."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: list[int | str]) -> str:
        """Declare a graph input."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: list[int | str]) -> None:
        """Declare a graph output; some node must produce it under this name."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def constant(self, name: str, array: np.ndarray) -> str:
        """An initializer."""
        if name in self._initializers:
            raise ValueError(f"initializer `{name}` is defined twice")
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def integers(self, values: list[int], kind: type = np.int64) -> str:
        """A small integer vector, shared by everyone who asks for the same one."""
        name = f"{np.dtype(kind).name}_{'_'.join(map(str, values))}"
        if name not in self._initializers:
            self.constant(name, np.array(values, kind))
        return name

    def scalar(self, value: float) -> str:
        """A float32 of no dimensions, shared by everyone who asks for the same one."""
        name = f"float32_{value!r}"
        if name not in self._initializers:
            self.constant(name, np.array(value, np.float32))
        return name

    def op(self, kind: str, inputs: list[str], outputs: list[str] | None = None, domain: str = "", **attributes: Any) -> str:
        """Append a node; returns its first output. Without names it has one output, named after the node."""
        name = f"{kind}_{len(self._nodes)}"
        outputs = outputs or [name]
        self._nodes.append(helper.make_node(kind, inputs, outputs, name, domain=domain, **attributes))
        return outputs[0]

    def save(self, path: Path, external: bool) -> None:
        """Write the model; with `external`, the weights go into a file beside it, as they must above 2 GB.

        The builder is used up: weights that lie in a file of their own are let go one by one as they are written.
        """
        if external:
            self._write_externally(path.with_name(EXTERNAL_DATA))
        graph = helper.make_graph(
            self._nodes, "poq", self._inputs, self._outputs, list(self._initializers.values())
        )
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="poq_export")
        if model.ByteSize() > PROTOBUF_LIMIT:
            raise ValueError(f"the model is larger than 2 GB: list `{EXTERNAL_DATA}` in its registry files")
        onnx.save_model(model, path)

    def _write_externally(self, path: Path) -> None:
        """Move all but small weights into a file, each at the start of a page, from where a runtime can map them."""
        with path.open("wb") as file:
            for name, tensor in self._initializers.items():
                if len(tensor.raw_data) < SMALL:
                    continue
                file.write(bytes(-file.tell() % PAGE))
                place = {"location": path.name, "offset": file.tell(), "length": len(tensor.raw_data)}
                file.write(tensor.raw_data)
                entry = onnx.TensorProto(name=name, dims=tensor.dims, data_type=tensor.data_type)
                entry.data_location = TensorProto.EXTERNAL
                entry.external_data.extend(
                    onnx.StringStringEntryProto(key=key, value=str(value)) for key, value in place.items()
                )
                self._initializers[name] = entry


__all__ = ["EXTERNAL_DATA", "MICROSOFT", "GraphBuilder", "TensorProto"]
