"""A checkpoint of an encoder with random weights, in the files and under the names it would be published with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from .texts import encoder_tokenizer, tokenizer_config

SEED = 2512
Shapes = Iterator[tuple[str, tuple[int, ...]]]
# Modules of a bi-encoder, as sentence-transformers looks for them.
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def labels(config: dict[str, Any]) -> int:
    """Columns of the classifier."""
    return len(config.get("id2label") or {0: "", 1: ""})


def shapes(config: dict[str, Any], classify: bool) -> Shapes:
    """Every tensor of a BERT, RoBERTa or DeBERTa-v2; a RoBERTa here only makes vectors."""
    kind, hidden, inner = config["model_type"], config["hidden_size"], config["intermediate_size"]
    deberta = kind == "deberta-v2"

    def linear(name: str, rows: int, columns: int) -> Shapes:
        yield f"{name}.weight", (rows, columns)
        yield f"{name}.bias", (rows,)

    def norm(name: str) -> Shapes:
        yield f"{name}.weight", (hidden,)
        yield f"{name}.bias", (hidden,)

    yield "embeddings.word_embeddings.weight", (config["vocab_size"], hidden)
    if config.get("position_biased_input", True):
        yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], hidden)
    if config.get("type_vocab_size"):
        yield "embeddings.token_type_embeddings.weight", (config["type_vocab_size"], hidden)
    yield from norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(config["num_hidden_layers"])):
        for part in ("query", "key", "value"):
            yield from linear(f"{layer}.attention.self.{part}{'_proj' if deberta else ''}", hidden, hidden)
        yield from linear(f"{layer}.attention.output.dense", hidden, hidden)
        yield from norm(f"{layer}.attention.output.LayerNorm")
        yield from linear(f"{layer}.intermediate.dense", inner, hidden)
        yield from linear(f"{layer}.output.dense", hidden, inner)
        yield from norm(f"{layer}.output.LayerNorm")
    if config.get("relative_attention"):
        span = config.get("position_buckets", -1)
        yield "encoder.rel_embeddings.weight", (2 * (span if span > 0 else config["max_relative_positions"]), hidden)
        if "layer_norm" in config.get("norm_rel_ebd", "none"):
            yield from norm("encoder.LayerNorm")
    yield from linear("pooler.dense", hidden, hidden)
    if classify:
        yield from linear("classifier", labels(config), hidden)


def write(config: dict[str, Any], classify: bool, max_length: int, folder: Path) -> dict[str, Path]:
    """Write the checkpoint with its tokenizer; returns its files by name."""
    random = np.random.default_rng(SEED)
    tensors = {}
    for name, shape in shapes(config, classify):
        prefix = {"bert": "bert.", "deberta-v2": "deberta."}.get(config["model_type"], "") if classify else ""
        drawn = random.standard_normal(shape, np.float32) * np.float32(0.05)
        value = np.ones(shape, np.float32) if name.endswith("LayerNorm.weight") else drawn
        bare = name.startswith("classifier") or (name.startswith("pooler") and prefix == "deberta.")
        tensors[name if bare else prefix + name] = value
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = encoder_tokenizer(config["model_type"], config["vocab_size"])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    documents: dict[str, Any] = {"config.json": config}
    documents["tokenizer_config.json"] = json.loads(tokenizer_config(config["model_type"])) | {
        "model_max_length": max_length
    }
    if not classify:
        pooling = {"word_embedding_dimension": config["hidden_size"], "pooling_mode_mean_tokens": True}
        documents["modules.json"] = MODULES
        documents["sentence_bert_config.json"] = {"max_seq_length": max_length, "do_lower_case": False}
        documents["1_Pooling/config.json"] = pooling | {"pooling_mode_cls_token": False, "pooling_mode_max_tokens": False}
    for name, content in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return {name: folder / name for name in ("model.safetensors", "tokenizer.json", *documents)}
