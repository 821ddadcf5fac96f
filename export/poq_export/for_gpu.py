"""What a graph for GPUs has otherwise than that for the CPU, beside its precision.

Attention is told how many keys each row has, for ONNX Runtime has fused kernels on CUDA for that and none for a mask of
two dimensions; rows are padded on the right, so that both say the same. And the graph of a bi-encoder pools by itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import pooling
from .graph import MICROSOFT
from .pooling import MASK
from .registry import Model

MASK_INPUT = 3  # of the operator `Attention`
LENGTHS = "key_lengths"


def rewrite(model: Model, path: Path) -> None:
    """Change an exported graph in its place; the same graph gives the same bytes."""
    content = onnx.load(path)
    _give_lengths(content.graph)
    output, left = pooling.output_to_read(model, [value.name for value in content.graph.output])
    if left != "none":
        pooling.into_graph(content.graph, output, left)
    path.write_bytes(content.SerializeToString(deterministic=True))


def _give_lengths(graph: onnx.GraphProto) -> None:
    """Replace the mask of every fused attention, where it is the graph's input.

    Of the forms that `mask_index` has, [batch] gets a fused kernel up to compute capability 8.9 alone. The one of
    [3 · batch + 2] gets one everywhere: lengths of the rows' keys, then where the queries of each row begin and the last
    ones end, then the same of the keys.
    """
    masks = {node.output[0] for node in graph.node if node.op_type == "Cast" and list(node.input) == [MASK]}
    attentions = [
        node for node in graph.node
        if (node.domain, node.op_type) == (MICROSOFT, "Attention") and masks.intersection(node.input[MASK_INPUT:])
    ]  # fmt: skip
    if not attentions:
        return
    place = list(graph.node).index(attentions[0])
    nodes = _lengths(graph, attentions[0].input[MASK_INPUT])
    for node in attentions:
        node.input[MASK_INPUT] = LENGTHS
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)


def _lengths(graph: onnx.GraphProto, mask: str) -> list[onnx.NodeProto]:
    """Nodes from the int32 mask to `LENGTHS`."""

    def constant(name: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, f"{LENGTHS}.{name}"))
        return f"{LENGTHS}.{name}"

    def node(kind: str, inputs: list[str], name: str, **attributes: int) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [f"{LENGTHS}.{name}"], f"{LENGTHS}.{name}", **attributes)

    shape, sizes, rows, width, cells, end, own, starts = (
        f"{LENGTHS}.{name}" for name in ("shape", "sizes", "rows", "width", "cells", "end", "own", "starts")
    )
    axis, first, second = constant("axis", np.array([1])), constant("first", np.array(0)), constant("second", np.array(1))
    zero, one = constant("zero", np.array(0, np.int32)), constant("one", np.array(1, np.int32))
    return [
        node("ReduceSum", [mask, axis], "own", keepdims=0),
        node("Shape", [MASK], "shape"),
        node("Cast", [shape], "sizes", to=TensorProto.INT32),
        node("Gather", [sizes, first], "rows"),
        node("Gather", [sizes, second], "width"),
        node("Mul", [rows, width], "cells"),
        node("Add", [cells, one], "end"),
        node("Range", [zero, end, width], "starts"),
        helper.make_node("Concat", [own, starts, starts], [LENGTHS], LENGTHS, axis=0),
    ]
