"""Which types ONNX Runtime's CUDA kernels take: the rows that half-precision decoders need of its published table.

Source: microsoft/onnxruntime, docs/OperatorKernels.md, "Operators implemented by CUDAExecutionProvider", rows that hold at
opset 21 (and com.microsoft 1). The kernel classes named there are also those whose type information the library of the
wheel onnxruntime-gpu 1.31.1 carries (`MatMul<BFloat16>`, `GroupQueryAttention<BFloat16, BFloat16>` and so on).
"""

from __future__ import annotations

import dataclasses

import onnx
from onnx import TensorProto

HALVES = {TensorProto.BFLOAT16, TensorProto.FLOAT16}
FLOATS = HALVES | {TensorProto.FLOAT}
INTEGERS = {TensorProto.INT32, TensorProto.INT64}
ANY = FLOATS | INTEGERS
LONG = {TensorProto.INT64}


@dataclasses.dataclass(frozen=True)
class Kernel:
    """Type variables of inputs and outputs in order, and what each may stand for; the last input may repeat."""

    inputs: str
    outputs: str
    types: dict[str, set[int]]


KERNELS = {
    ("", "Add"): Kernel("TT", "T", {"T": ANY}),
    ("", "Cast"): Kernel("A", "B", {"A": ANY, "B": ANY}),
    ("", "Div"): Kernel("TT", "T", {"T": ANY}),
    ("", "Gather"): Kernel("TI", "T", {"T": ANY, "I": INTEGERS}),
    ("", "GatherND"): Kernel("TI", "T", {"T": FLOATS | LONG, "I": LONG}),
    ("", "Identity"): Kernel("T", "T", {"T": ANY}),
    ("", "Mul"): Kernel("TT", "T", {"T": ANY}),
    ("", "ReduceSum"): Kernel("TI", "T", {"T": ANY, "I": LONG}),
    ("", "Reshape"): Kernel("TI", "T", {"T": ANY, "I": LONG}),
    ("", "Shape"): Kernel("T", "I", {"T": ANY, "I": LONG}),
    ("", "SimplifiedLayerNormalization"): Kernel("TV", "V", {"T": FLOATS, "V": FLOATS}),
    ("", "Split"): Kernel("TI", "TTT", {"T": ANY, "I": LONG}),
    ("", "Squeeze"): Kernel("TI", "T", {"T": ANY, "I": LONG}),
    ("", "Sub"): Kernel("TT", "T", {"T": ANY}),
    ("", "Tanh"): Kernel("T", "T", {"T": FLOATS}),
    ("", "Unsqueeze"): Kernel("TI", "T", {"T": ANY, "I": LONG}),
    ("com.microsoft", "FastGelu"): Kernel("TT", "T", {"T": FLOATS}),
    ("com.microsoft", "FusedMatMul"): Kernel("TT", "T", {"T": FLOATS}),
    # query, key, value, past key and value, last positions, longest row, cosines, sines; no kernel for f32
    ("com.microsoft", "GroupQueryAttention"): Kernel("TTTCCMMTT", "TCC", {
        "T": HALVES, "C": HALVES, "M": {TensorProto.INT32},
    }),
    ("com.microsoft", "QuickGelu"): Kernel("T", "T", {"T": FLOATS}),
    ("com.microsoft", "SkipSimplifiedLayerNormalization"): Kernel("TTT", "T--T", {"T": FLOATS}),
}  # fmt: skip


def problems(graph: onnx.GraphProto) -> list[str]:
    """Nodes that no CUDA kernel takes, or whose types contradict each other, found by following types from the inputs."""
    known = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    known |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = []
    for node in graph.node:
        kernel = KERNELS.get((node.domain, node.op_type))
        if kernel is None or len(node.input) > len(kernel.inputs):
            return [*found, f"{node.op_type} with {len(node.input)} inputs is not in the table"]
        stands_for: dict[str, int] = {}
        for variable, name in zip(kernel.inputs, node.input):
            if name and stands_for.setdefault(variable, known[name]) != known[name]:
                found.append(f"{node.op_type}: `{name}` is of another type than the inputs before it")
        if node.op_type == "Cast":
            stands_for["B"] = node.attribute[0].i
        stands_for |= {variable: TensorProto.INT64 for variable in kernel.outputs if node.op_type == "Shape"}
        for variable, kind in stands_for.items():
            if kind not in kernel.types[variable]:
                found.append(f"{node.op_type} has no kernel for {TensorProto.DataType.Name(kind)}")
        known |= {name: stands_for[variable] for variable, name in zip(kernel.outputs, node.output) if name}
    for value in graph.output:
        if known[value.name] != value.type.tensor_type.elem_type:
            found.append(f"output `{value.name}` is declared to be of another type")
    return found
