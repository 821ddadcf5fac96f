"""What the configuration of each family of encoders means: its sizes, and where its tensors lie.

Absent fields have the default that transformers gives them where configurations in use leave them out, and are refused
otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from .bert import Bert
from .checkpoint import CheckpointError, Place
from .config_fields import Fields
from .deberta import RELATIVE, Deberta, Relative
from .encoder_layers import EncoderGraph, Shape

Weights = Mapping[str, np.ndarray]

# what else steers training, or parts of a model that are not built
WITHOUT_EFFECT = (
    "attention_probs_dropout_prob", "classifier_dropout", "gradient_checkpointing", "hidden_dropout_prob", "label2id",
    "legacy", "pooler_dropout", "problem_type", "tie_word_embeddings",
)  # fmt: skip
PROJECTIONS = ("query", "key", "value")


@dataclasses.dataclass(frozen=True)
class Family:
    """How to read a configuration of one `model_type`."""

    prefix: str  # of the encoder's tensors in a checkpoint that has more than the encoder
    classes: dict[str, str]  # architecture in the registry → the class that `architectures` must name
    read: Callable[[Fields, int], "Sizes"]  # the second argument is the longest row to be run, in tokens
    ends: tuple[str, str]  # the tokens around a text, where the tokenizer's configuration does not name them


@dataclasses.dataclass(frozen=True)
class Sizes:
    """A configuration, understood."""

    shape: Shape
    positions: int  # the longest row that the model has positions for, in tokens
    tables: dict[str, tuple[int, ...]]  # tensors outside the layers, by the name they have without prefix
    projection: str  # how the linear layers of attention are named, `{}` standing for query, key and value
    relative: Relative | None = None


@dataclasses.dataclass(frozen=True)
class Description:
    """An encoder's configuration, and the places of its tensors in a checkpoint."""

    family: Family
    sizes: Sizes
    vocabulary: int
    places: dict[str, Place]
    unused: frozenset[str]  # tensors that a checkpoint may hold and the graph does not need
    classify: bool

    def graph(self, weights: Weights) -> EncoderGraph:
        """The graph builder with weights under the names of `places`."""
        sizes = self.sizes
        if sizes.relative is not None:
            return Deberta(weights, sizes.shape, sizes.relative, classify=self.classify)
        return Bert(weights, sizes.shape, classify=self.classify)


def describe(fields: Fields, architecture: str, labels: int, stored: set[str], positions: int) -> Description:
    """Read the fields that concern the graph; `stored` are the checkpoint's tensors, `positions` the longest row."""
    kind = fields.require("model_type")
    if kind not in FAMILIES:
        raise CheckpointError(f"model_type `{kind}` is not one of {', '.join(FAMILIES)}")
    family, classify = FAMILIES[kind], architecture == "cross_encoder"
    if architecture not in family.classes:
        known = ", ".join(family.classes)
        raise CheckpointError(f"model_type `{kind}` cannot be built as a `{architecture}`, only as {known}")
    fields.expect("architectures", [family.classes[architecture]])
    fields.expect("hidden_act", "gelu")
    fields.expect("is_decoder", False)
    fields.expect("add_cross_attention", False)
    for name in WITHOUT_EFFECT:
        fields.get(name)
    sizes = family.read(fields, positions)
    inner, vocabulary = fields.require("intermediate_size"), fields.require("vocab_size")
    if positions > sizes.positions:
        raise CheckpointError(f"`max_length` is {positions}, the model has positions for {sizes.positions} tokens")
    prefix = family.prefix if any(name.startswith(family.prefix) for name in stored) else ""
    shapes = {"embeddings.word_embeddings.weight": (vocabulary, sizes.shape.hidden)} | sizes.tables
    shapes |= _layers(sizes, inner)
    places = {name: Place(f"{prefix}{name}", shape) for name, shape in shapes.items()}
    pooler = _linear("pooler.dense", sizes.shape.hidden, sizes.shape.hidden)
    unused = {f"{prefix}embeddings.position_ids"}
    if classify:
        inside = prefix if kind == "bert" else ""  # BERT's pooler is part of the encoder
        places |= {name: Place(f"{inside}{name}", shape) for name, shape in pooler.items()}
        places |= {name: Place(name, shape) for name, shape in _linear("classifier", labels, sizes.shape.hidden).items()}
    else:
        unused |= {f"{prefix}{name}" for name in pooler}
    return Description(family, sizes, vocabulary, places, frozenset(unused), classify)


def _linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, hidden: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}


def _layers(sizes: Sizes, inner: int) -> dict[str, tuple[int, ...]]:
    """Dimensions of the layers' tensors."""
    found, hidden = {}, sizes.shape.hidden
    for layer in (f"encoder.layer.{index}" for index in range(sizes.shape.layers)):
        for part in PROJECTIONS:
            found |= _linear(f"{layer}.attention.self.{sizes.projection.format(part)}", hidden, hidden)
        found |= _linear(f"{layer}.attention.output.dense", hidden, hidden)
        found |= _norm(f"{layer}.attention.output.LayerNorm", hidden)
        found |= _linear(f"{layer}.intermediate.dense", inner, hidden) | _linear(f"{layer}.output.dense", hidden, inner)
        found |= _norm(f"{layer}.output.LayerNorm", hidden)
    return found


def _shape(fields: Fields, types: int, epsilon: float, padding: int | None = None) -> Shape:
    hidden, heads = fields.require("hidden_size"), fields.require("num_attention_heads")
    if hidden % heads:
        raise CheckpointError(f"config field `hidden_size` is {hidden}, which {heads} heads cannot share")
    layers = fields.require("num_hidden_layers")
    return Shape(hidden, heads, layers, types, fields.get("layer_norm_eps", epsilon), padding)


def _bert(fields: Fields, _positions: int) -> Sizes:
    fields.expect("position_embedding_type", "absolute")
    rows, types = fields.require("max_position_embeddings"), fields.get("type_vocab_size", 2)
    shape = _shape(fields, types, 1e-12)
    return Sizes(shape, rows, _embeddings(shape, rows), "{}")


def _roberta(fields: Fields, _positions: int) -> Sizes:
    fields.expect("position_embedding_type", "absolute")
    rows, padding = fields.require("max_position_embeddings"), fields.get("pad_token_id", 1)
    types = fields.require("type_vocab_size")  # 2 by default, and 1 in every RoBERTa
    if types != 1:
        raise CheckpointError(f"config field `type_vocab_size` is `{types}`; only `1` can be built")
    shape = _shape(fields, types, 1e-12, padding)
    return Sizes(shape, rows - padding - 1, _embeddings(shape, rows), "{}")


def _embeddings(shape: Shape, positions: int) -> dict[str, tuple[int, ...]]:
    tables = {
        "embeddings.position_embeddings.weight": (positions, shape.hidden),
        "embeddings.token_type_embeddings.weight": (shape.types, shape.hidden),
    }
    return tables | _norm("embeddings.LayerNorm", shape.hidden)


def _deberta(fields: Fields, positions: int) -> Sizes:
    for name, value in (("relative_attention", True), ("position_biased_input", False), ("share_att_key", True)):
        fields.require(name)  # the defaults are others
        fields.expect(name, value)
    fields.expect("type_vocab_size", 0)
    fields.expect("conv_kernel_size", 0)
    fields.expect("pooler_hidden_act", "gelu")
    for name in ("embedding_size", "pooler_hidden_size"):
        fields.expect(name, fields.require("hidden_size"))
    fields.expect("attention_head_size", fields.require("hidden_size") // fields.require("num_attention_heads"))
    kinds = fields.require("pos_att_type")
    kinds = kinds.split("|") if isinstance(kinds, str) else kinds
    if sorted(kind.strip().lower() for kind in kinds) != ["c2p", "p2c"]:
        raise CheckpointError(f"config field `pos_att_type` is `{kinds}`; only c2p and p2c together can be built")
    norm = fields.get("norm_rel_ebd", "none")
    fields.expect("norm_rel_ebd", "none", "layer_norm")
    rows, longest = fields.require("max_position_embeddings"), fields.get("max_relative_positions", -1)
    relative = Relative(
        buckets=max(fields.get("position_buckets", -1), 0), longest=longest if longest > 0 else rows,
        positions=positions, normed=norm == "layer_norm",
    )  # fmt: skip
    shape = _shape(fields, 0, 1e-7)
    tables = {RELATIVE: (2 * relative.span, shape.hidden)} | _norm("embeddings.LayerNorm", shape.hidden)
    tables |= _norm("encoder.LayerNorm", shape.hidden) if relative.normed else {}
    return Sizes(shape, rows, tables, "{}_proj", relative)


FAMILIES = {
    "bert": Family(
        "bert.", {"cross_encoder": "BertForSequenceClassification", "bi_encoder": "BertModel"}, _bert, ("[CLS]", "[SEP]")
    ),
    "roberta": Family("roberta.", {"bi_encoder": "RobertaModel"}, _roberta, ("<s>", "</s>")),
    "deberta-v2": Family(
        "deberta.", {"cross_encoder": "DebertaV2ForSequenceClassification"}, _deberta, ("[CLS]", "[SEP]")
    ),
}
