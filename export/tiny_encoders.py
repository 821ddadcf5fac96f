"""Tiny checkpoints of every family of encoders that the export can read, the same wherever they are built.

As in `tiny_families.py`, only what the reference computes from them (`record_tiny_encoders.py`) has to be committed. They
have the labels, lengths and files of the evaluators they stand for; buckets of relative positions are few enough that
short texts fill them.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from poq_export.registry import Scoring
from safetensors.numpy import save_file
from tiny_fixtures import vocabulary
from tokenizers import Tokenizer

HIDDEN, INNER, LAYERS, HEADS, POSITIONS = 32, 48, 3, 4, 512
SPARE = 5  # rows that a table of tokens has beyond the tokenizer's, as in published checkpoints

COMMON: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": HIDDEN,
    "initializer_range": 0.02, "intermediate_size": INNER, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS,
    "transformers_version": "4.52.0",
}  # fmt: skip
BERT = COMMON | {
    "architectures": ["BertForSequenceClassification"], "model_type": "bert", "layer_norm_eps": 1e-12,
    "max_position_embeddings": POSITIONS, "pad_token_id": 0, "type_vocab_size": 2, "use_cache": True,
    "position_embedding_type": "absolute", "gradient_checkpointing": False, "classifier_dropout": None,
    "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
    "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"},
}  # fmt: skip
DEBERTA = COMMON | {
    "architectures": ["DebertaV2ForSequenceClassification"], "model_type": "deberta-v2", "layer_norm_eps": 1e-7,
    "max_position_embeddings": POSITIONS, "max_relative_positions": -1, "norm_rel_ebd": "layer_norm", "pad_token_id": 0,
    "pooler_dropout": 0, "pooler_hidden_act": "gelu", "pooler_hidden_size": HIDDEN, "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False, "position_buckets": 16, "relative_attention": True, "share_att_key": True,
    "torch_dtype": "float32", "type_vocab_size": 0,
}  # fmt: skip
NLI = {
    "id2label": {"0": "contradiction", "1": "entailment", "2": "neutral"},
    "label2id": {"contradiction": 0, "entailment": 1, "neutral": 2},
}  # fmt: skip
ONE = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
ROBERTA = COMMON | {
    "architectures": ["RobertaModel"], "model_type": "roberta", "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    "layer_norm_eps": 1e-5, "max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1, "use_cache": True,
    "position_embedding_type": "absolute", "gradient_checkpointing": False,
}  # fmt: skip
SENTENCE_LENGTH = 75
LIBRARY = "sentence_transformers.models"


@dataclasses.dataclass(frozen=True)
class TinyEncoder:
    """A tiny checkpoint: its configuration, its generator's seed, and what a registry says about it."""

    name: str
    seed: int
    config: dict[str, Any]
    scoring: Scoring

    @property
    def key(self) -> str:
        """The name of its recording."""
        return f"tiny_{self.name}"

    @property
    def architecture(self) -> str:
        """As the registry calls it."""
        return "bi_encoder" if self.config["model_type"] == "roberta" else "cross_encoder"

    @property
    def max_length(self) -> int:
        """The longest row, in tokens."""
        return SENTENCE_LENGTH if self.architecture == "bi_encoder" else POSITIONS

    @property
    def tokenizer(self) -> Tokenizer:
        """The family's kind of tokenizer."""
        made = {"bert": vocabulary.word_piece, "deberta-v2": vocabulary.unigram, "roberta": vocabulary.enclosed_byte_level}
        return made[self.config["model_type"]]()


LOGIT, SIGMOID = Scoring("logits", 8, head="logit"), Scoring("logits", 8, head="sigmoid")
ENTAILMENT = Scoring("logits", 8, head="probability", labels=list(NLI["label2id"]), target="entailment")
MEAN = Scoring("last_hidden_state", 8, "mean")
ENCODERS = {
    tiny.name: tiny
    for tiny in (
        TinyEncoder("bert", 31, BERT, LOGIT),
        TinyEncoder("deberta", 32, DEBERTA | NLI, ENTAILMENT),
        TinyEncoder("deberta_plain", 33, DEBERTA | ONE | {
            "norm_rel_ebd": "none", "pos_att_type": "c2p|p2c", "position_buckets": 10, "max_relative_positions": 30,
        }, SIGMOID),
        TinyEncoder("roberta", 34, ROBERTA, MEAN),
    )
}  # fmt: skip


def config(tiny: TinyEncoder) -> dict[str, Any]:
    """Its configuration, with a table of tokens that the tokenizer does not fill."""
    return tiny.config | {"vocab_size": tiny.tokenizer.get_vocab_size() + SPARE}


def weights(tiny: TinyEncoder) -> dict[str, np.ndarray]:
    """Every tensor under its published name; float32 but for the positions that older checkpoints list."""
    random, found = np.random.default_rng(tiny.seed), {}
    for name, shape in shapes(config(tiny)).items():
        drawn = random.uniform(-1, 1, shape) * 3**0.5  # of variance one
        if "LayerNorm.weight" in name:
            found[name] = 1 + 0.3 * drawn
        elif name.endswith(".bias"):
            found[name] = 0.3 * drawn
        elif "embeddings." in name:
            found[name] = drawn
        else:  # queries and keys that agree or disagree clearly, so that it shows which of them meet
            found[name] = (2.0 if "query" in name or "key" in name else 1.0) * drawn / shape[1] ** 0.5
    found = {name: array.astype(np.float32) for name, array in found.items()}
    if tiny.config["model_type"] != "deberta-v2":
        inside = "bert." if tiny.config["model_type"] == "bert" else ""
        found[f"{inside}embeddings.position_ids"] = np.arange(tiny.config["max_position_embeddings"])[None]
    return found


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Dimensions of every tensor of a checkpoint with this configuration."""
    kind, hidden, inner = config["model_type"], config["hidden_size"], config["intermediate_size"]
    prefix = {"bert": "bert.", "deberta-v2": "deberta.", "roberta": ""}[kind]
    deberta, found = kind == "deberta-v2", {f"{prefix}embeddings.word_embeddings.weight": (config["vocab_size"], hidden)}
    norms, linears = [f"{prefix}embeddings.LayerNorm"], {}
    if deberta:
        reach = config["max_relative_positions"]
        span = config["position_buckets"] if config["position_buckets"] > 0 else reach
        found[f"{prefix}encoder.rel_embeddings.weight"] = (2 * span, hidden)
        norms += [f"{prefix}encoder.LayerNorm"] if config["norm_rel_ebd"] == "layer_norm" else []
    else:
        found[f"{prefix}embeddings.position_embeddings.weight"] = (config["max_position_embeddings"], hidden)
        found[f"{prefix}embeddings.token_type_embeddings.weight"] = (config["type_vocab_size"], hidden)
    for layer in (f"{prefix}encoder.layer.{number}" for number in range(config["num_hidden_layers"])):
        for part in ("query", "key", "value"):
            linears[f"{layer}.attention.self.{part}{'_proj' if deberta else ''}"] = (hidden, hidden)
        linears |= {f"{layer}.attention.output.dense": (hidden, hidden)}
        linears |= {f"{layer}.intermediate.dense": (inner, hidden), f"{layer}.output.dense": (hidden, inner)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    linears[f"{'' if deberta else prefix}pooler.dense"] = (hidden, hidden)
    if kind != "roberta":
        linears["classifier"] = (len(config["id2label"]), hidden)
    for name, shape in linears.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        found |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    return found


def write(tiny: TinyEncoder, folder: Path, tensors: dict[str, np.ndarray] | None = None) -> dict[str, Path]:
    """Write the checkpoint as it would be published, with other weights if given; returns its files by name."""
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    save_file(weights(tiny) if tensors is None else tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tiny.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    documents = {"config.json": config(tiny), "tokenizer_config.json": _tokenizer_config(tiny)}
    if tiny.architecture == "bi_encoder":
        documents |= {
            "modules.json": [
                {"idx": 0, "name": "0", "path": "", "type": f"{LIBRARY}.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{LIBRARY}.Pooling"},
            ],
            "1_Pooling/config.json": {
                "word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
                "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
            },
            "sentence_bert_config.json": {"max_seq_length": SENTENCE_LENGTH, "do_lower_case": False},
        }  # fmt: skip
    for name, content in documents.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def _tokenizer_config(tiny: TinyEncoder) -> dict[str, Any]:
    if tiny.config["model_type"] == "roberta":
        tokens = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
        return tokens | {"model_max_length": POSITIONS, "tokenizer_class": "RobertaTokenizer", "add_prefix_space": False}
    tokens = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    if tiny.config["model_type"] == "bert":
        return tokens | {"model_max_length": POSITIONS, "tokenizer_class": "BertTokenizer", "do_lower_case": True}
    unlimited = 1000000000000000019884624838656
    return tokens | {"model_max_length": unlimited, "tokenizer_class": "DebertaV2Tokenizer", "do_lower_case": False}
