"""The configurations under `export/published`, and the numbers of parameters that follow from them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).resolve().parents[1] / "published"


def content(key: str, name: str) -> bytes:
    """A committed file of a model, as it lies in the repository."""
    return (PUBLISHED / key / name).read_bytes()


def document(key: str, name: str = "config.json") -> dict[str, Any]:
    """A committed file of a model, parsed."""
    return json.loads(content(key, name))


def stop_ids(key: str) -> list[int]:
    """The tokens at which the publisher's own generation ends."""
    found = document(key, "generation_config.json")["eos_token_id"]
    return found if isinstance(found, list) else [found]


def versions(raw: bytes) -> list[bytes]:
    """A text as it is committed, and as it is where lines end in CR LF."""
    return [raw, raw.replace(b"\n", b"\r\n")]


def sha256(raw: bytes) -> str:
    """Hash in hex."""
    return hashlib.sha256(raw).hexdigest()


def encoder_parameters(config: dict[str, Any], *, pooler: bool, labels: int) -> int:
    """Parameters of a BERT, RoBERTa or DeBERTa-v2 encoder, with a pooler or without, and a classifier of `labels` columns.

    Written from the configuration alone, independently of what builds the graph.
    """
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    square, norm = hidden * hidden + hidden, 2 * hidden
    layer = 4 * square + norm + (hidden * inner + inner) + (inner * hidden + hidden) + norm
    total = config["vocab_size"] * hidden + norm + config["num_hidden_layers"] * layer
    if config["model_type"] == "deberta-v2":
        total += 2 * config["position_buckets"] * hidden + (norm if config["norm_rel_ebd"] == "layer_norm" else 0)
    else:
        total += (config["max_position_embeddings"] + config["type_vocab_size"]) * hidden
    return total + (square if pooler else 0) + labels * (hidden + 1)
