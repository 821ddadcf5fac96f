"""What the configuration of each family of checkpoints means: the architecture, and where its tensors lie.

Absent fields have the default that transformers gives them where configurations in use leave them out, and are refused
otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from . import rope_config
from .checkpoint import CheckpointError, Place
from .config_fields import Fields
from .decoder_graph import Architecture, Layer

HEAD_UNIT = 16  # the attention operator takes no other head sizes on the CPU

# tensors of a layer: name in the graph builder, name in a checkpoint
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NORMED_OUTPUTS = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
NORMED_HEADS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
# tensors that hold several of the graph builder's, one under the other
FUSED = {"self_attn.qkv_proj": ("attn_q", "attn_k", "attn_v"), "mlp.gate_up_proj": ("ffn_gate", "ffn_up")}


@dataclasses.dataclass(frozen=True)
class Family:
    """How to read a configuration of one `model_type`."""

    causal: str  # the class that `architectures` must name
    read: Callable[[Fields, int], Architecture]  # the second argument is the longest row to be run, in tokens
    tied: bool = False  # whether the head shares the embedding's table where the configuration does not say
    fused: bool = False
    norms_around_one: bool = False  # norms store their weights less one
    outside: tuple[str, ...] = ()  # tokens of the tokenizer that a model without images has no vectors for


@dataclasses.dataclass(frozen=True)
class Description:
    """A checkpoint's configuration, understood."""

    family: Family
    architecture: Architecture
    places: dict[str, Place]
    vocabulary: int
    tied: bool


def describe(config: dict[str, Any], positions: int) -> Description:
    """Read a whole configuration; `positions` is the longest row to be run, in tokens."""
    fields = Fields(config)
    kind = fields.require("model_type")
    if kind not in FAMILIES:
        raise CheckpointError(f"model_type `{kind}` is not one of {', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    fields.expect("architectures", [family.causal])
    if positions > (longest := fields.require("max_position_embeddings")):
        raise CheckpointError(f"`max_length` is {positions}, the model has positions for {longest} tokens")
    fields.expect("partial_rotary_factor", 1.0)
    architecture = family.read(fields, positions)
    if architecture.head_size % HEAD_UNIT:
        raise CheckpointError(f"heads of {architecture.head_size} cannot be built, only multiples of {HEAD_UNIT}")
    inner, vocabulary = fields.require("intermediate_size"), fields.require("vocab_size")
    tied = fields.get("tie_word_embeddings", family.tied)
    fields.finish()
    return Description(family, architecture, _places(family, architecture, inner, vocabulary, tied), vocabulary, tied)


def _places(family: Family, architecture: Architecture, inner: int, vocabulary: int, tied: bool) -> dict[str, Place]:
    """Every tensor of the graph and where it lies in the checkpoint."""
    hidden, added = architecture.hidden, 1.0 if family.norms_around_one else 0.0
    places = {
        "token_embd.weight": Place("model.embed_tokens.weight", (vocabulary, hidden)),
        "output_norm.weight": Place("model.norm.weight", (hidden,), added=added),
    }
    if not tied:
        places["output.weight"] = Place("lm_head.weight", (vocabulary, hidden))
    names = LAYER | (NORMED_OUTPUTS if architecture.output_norms else {})
    names |= NORMED_HEADS if architecture.query_key_norm else {}
    shapes = _layer_shapes(architecture, inner)
    for layer in range(len(architecture.layers)):
        for part, name in names.items():
            stored, norm = f"model.layers.{layer}.{name}.weight", added if part.endswith("norm") else 0.0
            places[f"blk.{layer}.{part}.weight"] = Place(stored, shapes[part], added=norm)
        for part in "qkv" if architecture.attention_bias else "":
            stored = f"model.layers.{layer}.self_attn.{part}_proj.bias"
            places[f"blk.{layer}.attn_{part}.bias"] = Place(stored, shapes[f"attn_{part}"][:1])
        for name, parts in FUSED.items() if family.fused else ():
            rows = [shapes[part][0] for part in parts]
            for number, part in enumerate(parts):
                stored, start = f"model.layers.{layer}.{name}.weight", sum(rows[:number])
                places[f"blk.{layer}.{part}.weight"] = Place(stored, shapes[part], start, sum(rows))
    return places


def _layer_shapes(architecture: Architecture, inner: int) -> dict[str, tuple[int, ...]]:
    """Dimensions of a layer's tensors, matrices as [output, input]."""
    hidden, head_size = architecture.hidden, architecture.head_size
    queries, keys = architecture.heads * head_size, architecture.kv_heads * head_size
    shapes = {
        "attn_q": (queries, hidden), "attn_k": (keys, hidden), "attn_v": (keys, hidden), "attn_output": (hidden, queries),
        "ffn_gate": (inner, hidden), "ffn_up": (inner, hidden), "ffn_down": (hidden, inner),
        "attn_q_norm": (head_size,), "attn_k_norm": (head_size,),
    }  # fmt: skip
    norms = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")
    return shapes | {norm: (hidden,) for norm in norms}


def _sizes(fields: Fields, head_size: int | None = None, kv_heads: int | None = None) -> dict[str, Any]:
    """The numbers that every family states alike, with what may be left out."""
    hidden, heads = fields.require("hidden_size"), fields.require("num_attention_heads")
    fields.expect("attention_bias", False)
    return {
        "hidden": hidden,
        "heads": heads,
        "kv_heads": fields.get("num_key_value_heads", kv_heads) or heads,
        "head_size": fields.get("head_dim", head_size) or hidden // heads,
        "epsilon": fields.require("rms_norm_eps"),
    }


def _windows(fields: Fields, layer_types: list[str], window: int | None, positions: int) -> list[int | None]:
    """The window of each layer; one that is wider than any row is none."""
    if len(layer_types) != fields.require("num_hidden_layers"):
        raise CheckpointError(f"config field `layer_types` has {len(layer_types)} layers, not `num_hidden_layers`")
    if unknown := set(layer_types) - {"sliding_attention", "full_attention"}:
        raise CheckpointError(f"config field `layer_types` names `{unknown.pop()}`, which cannot be built")
    if window is None and "sliding_attention" in layer_types:
        raise CheckpointError("config field `sliding_window` is missing, and there are layers with a window")
    narrow = window if window is not None and window < positions else None
    return [narrow if kind == "sliding_attention" else None for kind in layer_types]


def _alike(fields: Fields, window: int | None, positions: int) -> tuple[Layer, ...]:
    """Layers that all have the same window, or none."""
    count = fields.require("num_hidden_layers")
    kinds = ["full_attention" if window is None else "sliding_attention"] * count
    return tuple(Layer(narrow) for narrow in _windows(fields, kinds, window, positions))


def _llama(fields: Fields, positions: int) -> Architecture:
    fields.expect("hidden_act", "silu")
    fields.expect("mlp_bias", False)
    fields.expect("rope_interleaved", False)
    sizes = _sizes(fields)
    rotary = rope_config.read(fields, sizes["head_size"], positions, default_base=10000.0)
    return Architecture(layers=_alike(fields, None, positions), positions=positions, rotary={"rotary": rotary}, **sizes)


def _qwen2(fields: Fields, positions: int) -> Architecture:
    fields.expect("hidden_act", "silu")
    sizes = _sizes(fields, kv_heads=fields.require("num_key_value_heads"))
    window, first = fields.get("sliding_window"), fields.get("max_window_layers")
    if not fields.get("use_sliding_window", False):
        window = first = None
    count = fields.require("num_hidden_layers")
    kinds = fields.get("layer_types")
    if kinds is None and window is not None and first is None:
        raise CheckpointError("config field `max_window_layers` is missing, and there is a window")
    if kinds is None:
        windowed = [window is not None and layer >= first for layer in range(count)]
        kinds = ["sliding_attention" if with_window else "full_attention" for with_window in windowed]
    layers = tuple(Layer(narrow) for narrow in _windows(fields, kinds, window, positions))
    rotary = rope_config.read(fields, sizes["head_size"], positions)
    return Architecture(layers=layers, positions=positions, rotary={"rotary": rotary}, attention_bias=True, **sizes)


def _phi3(fields: Fields, positions: int) -> Architecture:
    fields.expect("hidden_act", "silu")
    fields.expect("mlp_bias", False)
    fields.expect("lm_head_bias", False)
    fields.get("original_max_position_embeddings")  # means something to one type of rotary positions alone, which reads it
    sizes = _sizes(fields)
    rotary = rope_config.read(fields, sizes["head_size"], positions, default_base=10000.0)
    layers = _alike(fields, fields.stated("sliding_window"), positions)
    return Architecture(layers=layers, positions=positions, rotary={"rotary": rotary}, **sizes)


def _gemma(fields: Fields) -> dict[str, Any]:
    """What the families of Gemma have in common."""
    fields.require("hidden_activation")
    for name in ("hidden_activation", "hidden_act"):
        fields.expect(name, "gelu_pytorch_tanh")
    fields.expect("use_bidirectional_attention", False)
    sizes = _sizes(fields, fields.require("head_dim"), fields.require("num_key_value_heads"))
    return sizes | {
        "attention_scale": fields.require("query_pre_attn_scalar") ** -0.5,
        "embedding_scale": sizes["hidden"] ** 0.5,
        "output_norms": True,
        "gelu": True,
    }


def _gemma2(fields: Fields, positions: int) -> Architecture:
    shared = _gemma(fields)
    count = fields.require("num_hidden_layers")
    kinds = fields.get("layer_types", [["sliding_attention", "full_attention"][layer % 2] for layer in range(count)])
    windows = _windows(fields, kinds, fields.stated("sliding_window"), positions)
    return Architecture(
        layers=tuple(Layer(window) for window in windows),
        positions=positions,
        rotary={"rotary": rope_config.read(fields, shared["head_size"], positions)},
        attention_cap=fields.stated("attn_logit_softcapping"),
        logits_cap=fields.stated("final_logit_softcapping"),
        **shared,
    )


def _gemma3(fields: Fields, positions: int) -> Architecture:
    shared = _gemma(fields)
    fields.expect("attn_logit_softcapping")  # any value would be one that the reference ignores
    pattern = fields.get("sliding_window_pattern", fields.get("_sliding_window_pattern"))
    kinds, count = fields.get("layer_types"), fields.require("num_hidden_layers")
    if kinds is None:
        if pattern is None:
            raise CheckpointError("config field `layer_types` is missing, and so is `sliding_window_pattern`")
        kinds = ["full_attention" if (layer + 1) % pattern == 0 else "sliding_attention" for layer in range(count)]
    windows = _windows(fields, kinds, fields.stated("sliding_window"), positions)
    tables = {"sliding_attention": "rotary.local", "full_attention": "rotary.global"}
    return Architecture(
        layers=tuple(Layer(window, tables[kind]) for window, kind in zip(windows, kinds)),
        positions=positions,
        rotary=rope_config.read_local_and_global(fields, shared["head_size"], positions),
        logits_cap=fields.get("final_logit_softcapping"),
        query_key_norm=True,
        **shared,
    )


FAMILIES = {
    "llama": Family("LlamaForCausalLM", _llama),
    "qwen2": Family("Qwen2ForCausalLM", _qwen2),
    "phi3": Family("Phi3ForCausalLM", _phi3, fused=True),
    "gemma2": Family("Gemma2ForCausalLM", _gemma2, tied=True, norms_around_one=True),
    "gemma3_text": Family(
        "Gemma3ForCausalLM", _gemma3, tied=True, norms_around_one=True, outside=("<image_soft_token>",)
    ),
}
