"""Tiny checkpoints of every family that the export can read, the same wherever they are built.

Weights come from a seeded generator and arithmetic that rounds alike everywhere, so only what transformers computes from
them (`record_families.py`) has to be committed. Everything that sets a family apart is small enough to matter: windows
of 8 positions, caps that bend most scores, contexts stretched from 64 positions.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tiny_fixtures import vocabulary

VOCABULARY = 320  # more than the tokenizer has, as in published checkpoints
HIDDEN, INNER, LAYERS, WINDOW, POSITIONS = 64, 96, 3, 8, 256

TEXTS = [
    "N",
    "One.",
    "The river",
    "Who is the king of France?",
    "Is the moon big or small? Answer in one word, and say why the sun is not green.",
    "Water, fire; 12 + 30 = 42. «Déjà vu» 你好!",
]

COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "max_position_embeddings": POSITIONS, "rms_norm_eps": 1e-6, "initializer_range": 0.02,
    "attention_dropout": 0.0, "use_cache": True, "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2,
    "transformers_version": "4.51.0",
}  # fmt: skip
LLAMA = COMMON | {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "attention_bias": False,
    "mlp_bias": False, "pretraining_tp": 1, "rope_theta": 10000.0,
}  # fmt: skip
QWEN2 = COMMON | {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "num_key_value_heads": 2,
    "rope_theta": 100000.0, "sliding_window": WINDOW, "max_window_layers": 1,
}  # fmt: skip
PHI3 = COMMON | {
    "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "hidden_act": "silu", "num_key_value_heads": 2,
    "rope_theta": 10000.0, "sliding_window": WINDOW, "tie_word_embeddings": False, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
    "attention_bias": False, "pad_token_id": 0, "original_max_position_embeddings": POSITIONS, "rope_scaling": None,
}  # fmt: skip
GEMMA = COMMON | {
    "num_key_value_heads": 2, "head_dim": 32, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 24,
    "sliding_window": WINDOW, "attention_bias": False, "pad_token_id": 0, "cache_implementation": "hybrid",
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
LONG = {
    "type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.1, 3.8],
    "long_factor": [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0],
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A tiny checkpoint: its configuration in the older layout, and its generator's seed."""

    name: str
    seed: int
    config: dict[str, Any]

    @property
    def key(self) -> str:
        """The name of its recording."""
        return f"tiny_{self.name}"

    @property
    def positions(self) -> int:
        """The longest row that can be run, in tokens."""
        return min(POSITIONS, self.config.get("original_max_position_embeddings", POSITIONS))


FAMILIES = {
    tiny.name: tiny
    for tiny in (
        Tiny("llama", 1, LLAMA | {"num_key_value_heads": 2, "rope_scaling": LLAMA3, "tie_word_embeddings": False}),
        Tiny("llama_tied", 2, LLAMA | {"rope_scaling": None, "tie_word_embeddings": True}),
        Tiny("qwen2", 3, QWEN2 | {"use_sliding_window": False, "tie_word_embeddings": True}),
        Tiny("qwen2_window", 4, QWEN2 | {"use_sliding_window": True, "tie_word_embeddings": False}),
        Tiny("phi3", 5, PHI3),
        Tiny("phi3_long", 6, PHI3 | {
            "rope_scaling": LONG, "original_max_position_embeddings": 128, "sliding_window": None,
        }),
        Tiny("gemma2", 7, GEMMA | {
            "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "hidden_act": "gelu_pytorch_tanh",
            "attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0, "rope_theta": 10000.0,
        }),
        Tiny("llama_both", 9, LLAMA | {"num_key_value_heads": 2, "rope_scaling": LLAMA3, "tie_word_embeddings": True}),
        Tiny("gemma3", 8, GEMMA | {
            "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "attn_logit_softcapping": None,
            "final_logit_softcapping": None, "rope_theta": 100000.0, "rope_local_base_freq": 1000.0,
            "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "sliding_window_pattern": 3,
        }),
    )
}  # fmt: skip


def weights(tiny: Tiny) -> dict[str, np.ndarray]:
    """Every tensor under its published name, float32."""
    random, gemma = np.random.default_rng(tiny.seed), tiny.config["model_type"].startswith("gemma")
    found = {}
    for name, shape in shapes(tiny.config).items():
        drawn = random.uniform(-1, 1, shape) * 3**0.5  # of variance one
        if name == "model.norm.weight" and gemma:  # makes up for the small vectors of the tied head
            found[name] = 0.3 * drawn + 7
        elif name.endswith("norm.weight"):
            found[name] = 0.3 * drawn + (0 if gemma else 1)
        elif name == "model.embed_tokens.weight":  # as small as the layers' outputs, which would not count otherwise
            found[name] = 0.3 * drawn / (tiny.config["hidden_size"] ** 0.5 if gemma else 1)
        elif name.endswith(".bias") or name == "lm_head.weight":
            found[name] = 0.5 * drawn
        else:  # queries and keys that agree or disagree clearly, so that it shows which of them meet
            found[name] = (2.0 if "q_proj" in name or "k_proj" in name or "qkv" in name else 1.0) * drawn / shape[1] ** 0.5
    return {name: array.astype(np.float32) for name, array in found.items()}


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Dimensions of every tensor of a checkpoint with this configuration."""
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head_size = config.get("head_dim", hidden // heads)
    queries, keys = heads * head_size, config.get("num_key_value_heads", heads) * head_size
    kind, found = config["model_type"], {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    layer: dict[str, tuple[int, ...]] = {"input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
    layer |= {"self_attn.o_proj": (hidden, queries), "mlp.down_proj": (hidden, inner)}
    if kind == "phi3":
        layer |= {"self_attn.qkv_proj": (queries + 2 * keys, hidden), "mlp.gate_up_proj": (2 * inner, hidden)}
    else:
        layer |= {"self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (keys, hidden)}
        layer |= {"self_attn.v_proj": (keys, hidden), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden)}
    if kind.startswith("gemma"):
        layer |= {"pre_feedforward_layernorm": (hidden,), "post_feedforward_layernorm": (hidden,)}
    if kind == "gemma3_text":
        layer |= {"self_attn.q_norm": (head_size,), "self_attn.k_norm": (head_size,)}
    for number in range(config["num_hidden_layers"]):
        found |= {f"model.layers.{number}.{name}.weight": shape for name, shape in layer.items()}
        if kind == "qwen2":
            rows = {part: queries if part == "q" else keys for part in "qkv"}
            found |= {f"model.layers.{number}.self_attn.{part}_proj.bias": (rows[part],) for part in "qkv"}
    found["model.norm.weight"] = (hidden,)
    if not config.get("tie_word_embeddings", kind.startswith("gemma")):
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    return found


def write(tiny: Tiny, folder: Path, tensors: dict[str, np.ndarray] | None = None) -> dict[str, Path]:
    """Write the checkpoint as it would be published, with other weights if given; returns its files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights(tiny) if tensors is None else tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", tiny.config)
    write_json(folder / "generation_config.json", {"eos_token_id": [2, 0], "transformers_version": "4.51.0"})
    vocabulary.byte_level().save(str(folder / "tokenizer.json"), pretty=False)
    end = {"__type": "AddedToken", "content": "<|im_end|>", "special": True}
    tokens = {"bos_token": "<|im_start|>", "eos_token": end, "tokenizer_class": "PreTrainedTokenizerFast"}
    template = "{% for message in messages %}{{ bos_token + message['content'] + eos_token }}{% endfor %}"
    write_json(folder / "tokenizer_config.json", tokens | {"chat_template": template})
    return {path.name: path for path in folder.iterdir()}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """One file, always the same bytes."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
