"""An 8-bit variant of an encoder's graph, beside the f32 one: faster on a CPU, and it drifts.

Weights get one scale per output channel. Activations are quantised as they come, with one scale for the whole batch, so
a row's answer depends a little on its batch-mates; `drift.py` measures how much.
"""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

GRAPH = "model.int8.onnx"

# The products, among them those inside a fused attention, and the tables of embeddings, which only get smaller by it.
OPERATORS = ["MatMul", "Attention", "Gather", "EmbedLayerNormalization"]


def write(source: Path, target: Path) -> None:
    """Quantise the graph; the same graph gives the same bytes."""
    logging.disable(logging.WARNING)  # advice that does not apply: these graphs need no shape inference first
    try:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=OPERATORS,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # of what ONNX Runtime's own operators put out
        )
    finally:
        logging.disable(logging.NOTSET)
