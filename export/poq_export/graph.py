"""A thin layer over onnx.helper: named values in, named values out, every initializer written once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
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


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight that is read when the graph is saved, so that a model is never in memory as a whole.

    `pieces` yields its content in order; together they have as many elements as `shape` says, all of type `dtype`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: Callable[[], Iterable[np.ndarray]]

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def raw(self) -> Iterable[memoryview]:
        """The bytes, piece by piece; a piece that is missing or too many is an error."""
        written = 0
        for piece in self.pieces():
            if piece.dtype != self.dtype:
                raise ValueError(f"a piece is {piece.dtype}, the weight {self.dtype}")
            written += piece.nbytes
            yield memoryview(np.ascontiguousarray(piece).reshape(-1).view(np.uint8))
        if written != self.size:
            raise ValueError(f"a weight of {self.size} bytes came in {written}")

    def tensor(self, name: str) -> onnx.TensorProto:
        """All of it, to lie in the model's own file."""
        entry = self.entry(name)
        entry.raw_data = b"".join(self.raw())
        return entry

    def entry(self, name: str) -> onnx.TensorProto:
        """Everything about it but its content."""
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        return onnx.TensorProto(name=name, dims=self.shape, data_type=kind)


class GraphBuilder:
    """Collects nodes and initializers. Names come from the caller or a counter, so the same input gives the same bytes."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto | Weight] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: list[int | str]) -> str:
        """Declare a graph input."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: list[int | str]) -> None:
        """Declare a graph output; some node must produce it under this name."""
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def constant(self, name: str, array: np.ndarray | Weight) -> str:
        """An initializer."""
        if name in self._initializers:
            raise ValueError(f"initializer `{name}` is defined twice")
        held = array if isinstance(array, Weight) else numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._initializers[name] = held
        return name

    def integers(self, values: list[int], kind: type = np.int64) -> str:
        """A small integer vector, shared by everyone who asks for the same one."""
        name = f"{np.dtype(kind).name}_{'_'.join(map(str, values))}"
        if name not in self._initializers:
            self.constant(name, np.array(values, kind))
        return name

    def scalar(self, value: float, kind: np.dtype = np.dtype(np.float32)) -> str:
        """A number of no dimensions, shared by everyone who asks for the same one."""
        name = f"{kind.name}_{value!r}"
        if name not in self._initializers:
            self.constant(name, np.array(value, kind))
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
        held = [value.tensor(name) if isinstance(value, Weight) else value for name, value in self._initializers.items()]
        graph = helper.make_graph(self._nodes, "poq", self._inputs, self._outputs, held)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="poq_export")
        if model.ByteSize() > PROTOBUF_LIMIT:
            raise ValueError(f"the model is larger than 2 GB: list `{EXTERNAL_DATA}` in its registry files")
        onnx.save_model(model, path)

    def _write_externally(self, path: Path) -> None:
        """Move all but small weights into a file, each at the start of a page, from where a runtime can map them."""
        with path.open("wb") as file:
            for name, held in self._initializers.items():
                size = held.size if isinstance(held, Weight) else len(held.raw_data)
                if size < SMALL:
                    continue
                file.write(bytes(-file.tell() % PAGE))
                place = {"location": path.name, "offset": file.tell(), "length": size}
                for part in held.raw() if isinstance(held, Weight) else [held.raw_data]:
                    file.write(part)
                entry = held.entry(name) if isinstance(held, Weight) else onnx.TensorProto(
                    name=name, dims=held.dims, data_type=held.data_type
                )
                entry.data_location = TensorProto.EXTERNAL
                entry.external_data.extend(
                    onnx.StringStringEntryProto(key=key, value=str(value)) for key, value in place.items()
                )
                self._initializers[name] = entry


__all__ = ["EXTERNAL_DATA", "MICROSOFT", "GraphBuilder", "TensorProto", "Weight"]
