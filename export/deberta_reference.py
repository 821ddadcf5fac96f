"""transformers' DeBERTa with the weights found in a published ONNX graph: an independent reference for that graph.

Only the recorder and the benchmark against sentence-transformers need it; it wants torch and transformers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from poq_export.dequantize import dequantized, matrix
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

HEAD_SIZE = 64  # of every DeBERTa v3
EMBEDDING = "deberta.embeddings.word_embeddings.weight"
QUANTIZED_PARTS = ("_quantized", "_scale", "_zero_point")


def load(path: Path) -> DebertaV2ForSequenceClassification:
    """The model in float32; every parameter must be found, or loading fails."""
    weights = _weights(path)
    layers = 1 + max(int(name.split(".")[3]) for name in weights if ".layer." in name)
    inner, hidden = weights["deberta.encoder.layer.0.intermediate.dense.weight"].shape
    relative = weights["deberta.encoder.rel_embeddings.weight"].shape[0]
    config = DebertaV2Config(
        vocab_size=weights[EMBEDDING].shape[0],
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // HEAD_SIZE,
        intermediate_size=inner,
        num_labels=weights["classifier.weight"].shape[0],
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=relative // 2,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        layer_norm_eps=1e-7,
        pooler_hidden_act="gelu",
    )
    model = DebertaV2ForSequenceClassification(config).eval()
    model.load_state_dict({name: torch.tensor(np.array(array)) for name, array in weights.items()}, strict=True)
    return model


def _weights(path: Path) -> dict[str, np.ndarray]:
    """Parameters by the name transformers gives them; the exporter wrapped the model under the name `m`."""
    graph = onnx.load(path).graph
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {
        name.removeprefix("m."): array
        for name, array in initializers.items()
        if name.startswith("m.") and not name.endswith(QUANTIZED_PARTS)
    }
    found[EMBEDDING] = dequantized(f"m.{EMBEDDING}", initializers)
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            module = node.name.removeprefix("/m/").rsplit("/", 1)[0].replace("/", ".")
            found[f"{module}.weight"] = matrix(node, initializers).T
    return found
