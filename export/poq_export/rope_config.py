"""Rotary positions as checkpoints configure them: which frequencies, and how a context was stretched beyond training.

Two layouts are in use. Up to transformers 4 the base stands in `rope_theta` and the stretching in `rope_scaling`; since
5 both stand in `rope_parameters`, once or once per kind of layer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .checkpoint import CheckpointError
from .config_fields import Fields
from .decoder_graph import Rotary


def read(fields: Fields, head_size: int, positions: int, default_base: float | None = None) -> Rotary:
    """The one kind of rotary position of a model; `default_base` where its family has one that may be left out."""
    return _rotary(_settings(fields, default_base), fields, head_size, positions)


def read_local_and_global(fields: Fields, head_size: int, positions: int) -> dict[str, Rotary]:
    """Those of layers with a sliding window and of layers without; only the latter are stretched in the older layout."""
    if (nested := fields.get("rope_parameters")) is None:
        local = {"rope_theta": fields.require("rope_local_base_freq")}
        every = {"sliding_attention": local, "full_attention": _settings(fields, None)}
    else:
        every = dict(nested)
        fields.refuse("rope_theta", "rope_scaling", "rope_local_base_freq", beside="rope_parameters")
    kinds = {"sliding_attention": "rotary.local", "full_attention": "rotary.global"}
    if set(every) != set(kinds):
        raise CheckpointError(f"config field `rope_parameters` has {', '.join(every)} instead of {', '.join(kinds)}")
    return {name: _rotary(dict(every[kind]), fields, head_size, positions) for kind, name in kinds.items()}


def _settings(fields: Fields, default_base: float | None) -> dict[str, Any]:
    """Either layout as the newer one."""
    if (settings := fields.get("rope_parameters")) is not None:
        fields.refuse("rope_theta", "rope_scaling", beside="rope_parameters")
        return dict(settings)
    settings = dict(fields.get("rope_scaling") or {})
    base = fields.require("rope_theta") if default_base is None else fields.get("rope_theta", default_base)
    return {"rope_theta": base} | settings


def _rotary(settings: dict[str, Any], fields: Fields, head_size: int, positions: int) -> Rotary:
    kind = settings.pop("rope_type", None) or settings.pop("type", "default")
    settings.pop("type", None)
    if settings.pop("partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointError("config field `partial_rotary_factor` is not 1: only whole heads can be turned")
    if kind not in STRETCHED:
        raise CheckpointError(f"rotary positions of type `{kind}` cannot be built; known are {', '.join(STRETCHED)}")
    if "rope_theta" not in settings:
        raise CheckpointError("config field `rope_theta` is missing")
    plain = Rotary.plain(settings.pop("rope_theta"), head_size)
    try:
        rotary = STRETCHED[kind](plain, settings, fields, positions)
    except KeyError as missing:
        raise CheckpointError(f"rotary positions of type `{kind}` lack {missing}") from None
    if settings:
        raise CheckpointError(f"`{next(iter(settings))}` is not a setting of rotary positions of type `{kind}`")
    return rotary


def _default(plain: Rotary, settings: dict[str, Any], fields: Fields, positions: int) -> Rotary:
    return plain


def _linear(plain: Rotary, settings: dict[str, Any], fields: Fields, positions: int) -> Rotary:
    """All positions closer together by one factor."""
    return Rotary(plain.frequencies / np.float32(settings.pop("factor")))


def _llama3(plain: Rotary, settings: dict[str, Any], fields: Fields, positions: int) -> Rotary:
    """Slow frequencies divided, fast ones kept, those between blended by how often they turn in the trained context."""
    factor, trained = settings.pop("factor"), settings.pop("original_max_position_embeddings")
    low, high = settings.pop("low_freq_factor"), settings.pop("high_freq_factor")
    turns = trained / (np.float32(2 * math.pi) / plain.frequencies)
    kept = np.clip((turns - np.float32(low)) / np.float32(high - low), 0, 1)
    return Rotary((1 - kept) * plain.frequencies / np.float32(factor) + kept * plain.frequencies)


def _long(plain: Rotary, settings: dict[str, Any], fields: Fields, positions: int) -> Rotary:
    """One divisor per frequency. There are two sets, chosen by a row's length; only the one for short rows is built."""
    trained = settings.pop("original_max_position_embeddings", None)
    trained = fields.get("original_max_position_embeddings", trained)
    if trained is None:
        raise KeyError("original_max_position_embeddings")
    if positions > trained:
        raise CheckpointError(
            f"rotary positions of type `longrope` change for rows of more than {trained} tokens, which cannot be built: "
            f"`max_length` is {positions}"
        )
    stretch = fields.require("max_position_embeddings") / trained
    factor, magnitude = settings.pop("factor", None) or stretch, settings.pop("attention_factor", None)
    if magnitude is None:
        magnitude = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(trained))
    divisors = np.array(settings.pop("short_factor"), np.float32)
    if divisors.shape != plain.frequencies.shape or len(settings.pop("long_factor")) != len(divisors):
        raise CheckpointError(f"`short_factor` and `long_factor` need {len(plain.frequencies)} numbers each")
    return Rotary(plain.frequencies / divisors, magnitude)


STRETCHED = {"default": _default, "linear": _linear, "llama3": _llama3, "longrope": _long, "su": _long}
