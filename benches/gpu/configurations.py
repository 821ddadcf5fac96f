"""The published configurations, the same in a size for a dry run, and how many bytes a decoder reads per token."""

from __future__ import annotations

import json
from typing import Any

from process import Unavailable
from settings import REPOSITORY

PUBLISHED = REPOSITORY / "export/published"
WIDTH = {"f32": 4, "bf16": 2, "f16": 2}
TINY_VOCABULARY = 8192
TINY: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "vocab_size": TINY_VOCABULARY, "pooler_hidden_size": 64,
}  # fmt: skip


def read(key: str, tiny: bool) -> dict[str, Any]:
    """The configuration of a model. Raises Unavailable where it is not in the repository."""
    path = PUBLISHED / key / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unavailable(f"the published configuration cannot be read: {error}") from None
    return shrunk(config) if tiny else config


def shrunk(config: dict[str, Any]) -> dict[str, Any]:
    """The same fields, with sizes that a CPU computes in no time; ids of special tokens stay inside the vocabulary."""
    small = {name: TINY.get(name, value) for name, value in config.items()}
    if "layer_types" in small:
        small["layer_types"] = small["layer_types"][: TINY["num_hidden_layers"]]
    for name, value in small.items():
        if name.endswith("_token_id") and isinstance(value, int):
            small[name] = value if value < TINY_VOCABULARY else 0
        elif name.endswith("_token_id") and isinstance(value, list):
            small[name] = [number if number < TINY_VOCABULARY else 0 for number in value]
    return small


def read_bytes_per_token(config: dict[str, Any], precision: str, context: float) -> float:
    """Bytes that one decode step of one row has to read: every weight once, and the keys and values of the context.

    Of an embedding table that the head does not share, one row is read, which is left out.
    """
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head_size = config.get("head_dim") or hidden // heads
    keys = (config.get("num_key_value_heads") or heads) * head_size
    layer = 2 * hidden * heads * head_size + 2 * hidden * keys + 3 * hidden * inner
    weights = config["num_hidden_layers"] * layer + config["vocab_size"] * hidden
    cached = config["num_hidden_layers"] * 2 * keys * context
    return WIDTH[precision] * (weights + cached)
