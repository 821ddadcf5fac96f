"""Recipe `checkpoint_encoder`: an evaluator's graph from a published checkpoint, its weights in safetensors.

Artifacts are named as they were published: `config.json`, `model.safetensors` (or `model.safetensors.index.json` and its
shards), `tokenizer.json`, `tokenizer_config.json`, and for a bi-encoder `modules.json`, `1_Pooling/config.json` and
`sentence_bert_config.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import encoder_facts
from .checkpoint import INDEX, WEIGHTS, Checkpoint, CheckpointError, CheckpointTensors
from .checkpoint_text import write_tokenizer
from .config_fields import Fields
from .encoder_facts import Documents
from .encoder_families import Description, describe
from .encoders import write_variants
from .registry import Model

# Raise it when the exported files would come out differently from the same artifacts.
VERSION = 2

PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


def export(model: Model, artifacts: dict[str, Path], out_dir: Path) -> dict[str, Any]:
    """Write `model.onnx`, the variants that the registry lists, and `tokenizer.json`; returns what the manifest adds."""
    checkpoint = EncoderCheckpoint(artifacts)
    described, facts = read(model, checkpoint.document, checkpoint.tensor_names())
    tokenizer = out_dir / "tokenizer.json"
    write_tokenizer(checkpoint, tokenizer, described.vocabulary, ())
    settings = checkpoint.document("tokenizer_config.json") or {}
    encoder_facts.check_tokenizer(tokenizer, settings, described.family.ends, pairs=described.classify)

    checkpoint.unused = described.unused
    tensors = CheckpointTensors(checkpoint, described.places, None, {})
    weights = {name: tensors.values(name) for name in tensors.names()}
    described.graph(weights).save(out_dir / "model.onnx")
    write_variants(model, out_dir)
    return facts


def read(model: Model, document: Documents, stored: set[str]) -> tuple[Description, dict[str, Any]]:
    """Understand every published document, hold the registry to it, and say what the manifest adds.

    `stored` are the names of the checkpoint's tensors.
    """
    if model.scoring is None:
        raise CheckpointError("an encoder needs a [model.scoring] table")
    fields = Fields(document("config.json") or {})
    if model.architecture == "cross_encoder":
        labels = encoder_facts.labels(fields, model.scoring.labels)
        encoder_facts.check_activation(fields, len(labels), model.scoring.head)
        facts: dict[str, Any] = {"labels": labels}
    else:
        labels = []
        fields.get("id2label")  # the configuration of an encoder may carry labels that nothing has
        encoder_facts.check_pooling(document, model.scoring.pooling)
        facts = {"pooling": model.scoring.pooling}
    described = describe(fields, model.architecture, len(labels), stored, model.max_length)
    fields.finish()
    encoder_facts.check_length(model, document, described.sizes.positions)
    return described, facts


class EncoderCheckpoint(Checkpoint):
    """A checkpoint that may hold tensors which the graph does not need."""

    def __init__(self, files: dict[str, Path]) -> None:
        pickled = [name for name in PICKLED if name in files]
        if pickled and WEIGHTS not in files and INDEX not in files:
            raise CheckpointError(f"the weights are in `{pickled[0]}`, which only torch reads; `{WEIGHTS}` is needed")
        super().__init__(files)
        self.unused: frozenset[str] = frozenset()

    def tensor_names(self) -> set[str]:
        """Every tensor but the unused ones."""
        return super().tensor_names() - self.unused
