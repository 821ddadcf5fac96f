"""Tiny Gemmas: checkpoints with random weights that go through the export's own recipe.

They have what the engine has to get right beyond a plain decoder: windows of 8 positions, soft-capping (Gemma 2), two
kinds of rotary positions and normed queries and keys (Gemma 3).
"""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import numpy as np
from poq_export import checkpoint_decoder
from poq_export.registry import Artifact, Decoder, Export, Model, PathSource
from tiny_families import FAMILIES, Tiny, weights
from tiny_families import write as write_tiny

from . import vocabulary
from .decoder import CHAT_TEMPLATE, head_bias

POSITIONS = 512  # the rotary tables are a large part of the files
TOKENIZER = vocabulary.byte_level()
SMALL = {
    "vocab_size": TOKENIZER.get_vocab_size(), "hidden_size": 32, "intermediate_size": 32, "head_dim": 16,
    "query_pre_attn_scalar": 16, "max_position_embeddings": POSITIONS, "tie_word_embeddings": False,
}  # fmt: skip
FIXTURES = {
    "tiny_gemma2": Tiny("gemma2", 21, FAMILIES["gemma2"].config | SMALL | {
        "num_hidden_layers": 2, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 30.0,
    }),
    "tiny_gemma3": Tiny("gemma3", 22, FAMILIES["gemma3"].config | SMALL),
}  # fmt: skip
END_BIAS = 4.0  # lets the end of turn win now and then


def checkpoint_weights(tiny: Tiny) -> dict[str, np.ndarray]:
    """Random weights, but for one constant in every token's vector through which the head prefers some tokens."""
    tensors = weights(tiny)
    tensors["model.embed_tokens.weight"][:, 0] = 1 / tiny.config["hidden_size"] ** 0.5  # the scale of embeddings makes it 1
    for name, array in tensors.items():
        if "post_attention_layernorm" in name or "post_feedforward_layernorm" in name:
            array[0] = -1  # what a layer puts out leaves the constant alone: norms are stored less one
    tensors["model.norm.weight"][:] = 0
    tensors["model.norm.weight"][0] = 1
    tensors["lm_head.weight"][:, 0] = head_bias(TOKENIZER, END_BIAS)
    return tensors


def write_checkpoint(tiny: Tiny, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """Write the checkpoint; returns its files by name."""
    files = write_tiny(tiny, folder, checkpoint_weights(tiny))
    files["chat_template.jinja"] = folder / "chat_template.jinja"
    files["chat_template.jinja"].write_text(CHAT_TEMPLATE, encoding="utf-8")
    return files


def export(tiny: Tiny, folder: pathlib.Path) -> dict[str, Any]:
    """Export the checkpoint; returns what the manifest says about its text."""
    model = Model(
        key=tiny.key, pool="tiny", role="inference", architecture="decoder", precision="f32", name=tiny.key, licence="MIT",
        upstream="made for the tests", max_length=POSITIONS, files=["model.onnx", "tokenizer.json", "chat_template.jinja"],
        export=Export("checkpoint_decoder", 0.0, "none"), artifact=[Artifact("none", "none", [PathSource("none")])],
        decoder=Decoder("chat_template.jinja", ["<|im_end|>", "<|endoftext|>"], "<|im_end|>", "<|im_start|>"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        return checkpoint_decoder.export(model, write_checkpoint(tiny, pathlib.Path(scratch)), folder)
