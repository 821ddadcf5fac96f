"""Recipe `checkpoint_decoder`: a decoder graph from a published checkpoint, its weights in safetensors.

Weights go from the checkpoint into the file beside the graph some rows at a time: how large a model is does not matter.

Artifacts are named as they were published: `config.json`, `generation_config.json`, `model.safetensors` (or
`model.safetensors.index.json` and its shards), `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import checkpoint_text
from .checkpoint import Checkpoint, CheckpointError, CheckpointTensors
from .decoder_graph import DecoderGraph
from .families import describe
from .graph import EXTERNAL_DATA
from .precision import F32, Precision
from .registry import Model

# Raise it when the exported files would come out differently from the same artifacts.
VERSION = 1

# what `quantization` may be, and the bits of a layer's weight it stands for
BITS = {"none": None, "int8": 8, "int4": 4}


def export(model: Model, artifacts: dict[str, Path], out_dir: Path, precision: Precision = F32) -> dict[str, Any]:
    """Write `model.onnx`, `tokenizer.json` and the chat template; returns what the manifest says about its text."""
    if model.export.quantization not in BITS:
        raise CheckpointError(f"quantization `{model.export.quantization}` is not one of {', '.join(BITS)}")
    if precision.is_half and BITS[model.export.quantization] is not None:
        raise CheckpointError(f"quantization `{model.export.quantization}` is exported in f32 only, not in {precision.name}")
    checkpoint = Checkpoint(artifacts)
    described = describe(checkpoint.document("config.json") or {}, model.max_length)
    tokenizer = checkpoint_text.write_tokenizer(
        checkpoint, out_dir / "tokenizer.json", described.vocabulary, described.family.outside
    )
    template = checkpoint_text.chat_template(checkpoint)
    facts = checkpoint_text.facts(model, checkpoint, tokenizer, template)
    (out_dir / model.decoder.chat_template).write_text(template, encoding="utf-8")
    copies = {"lm_head.weight": "model.embed_tokens.weight"} if described.tied else {}
    tensors = CheckpointTensors(checkpoint, described.places, BITS[model.export.quantization], copies)
    builder = DecoderGraph(described.architecture, tensors, share_table=True, precision=precision)
    builder.build()
    builder.graph.save(out_dir / "model.onnx", external=EXTERNAL_DATA in model.files)
    return facts
