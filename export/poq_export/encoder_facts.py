"""What a checkpoint says about scoring with it: labels, activation, pooling, length and the tokens around a text.

The engine takes all of it from the registry, which is written by hand. Here it is held to the publisher's own files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from .checkpoint import CheckpointError
from .config_fields import Fields
from .registry import Model

Documents = Callable[[str], Any]  # a checkpoint's JSON file by its published name; `None` where it has none

UNLIMITED = 10**9  # tokenizers without a length state 10 to the 30th
IDENTITY, SIGMOID = "Identity", "Sigmoid"
HEADS = {"logit": IDENTITY, "sigmoid": SIGMOID}  # what a score is, and the activation that makes it of one logit
POOLING_FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}


def labels(fields: Fields, registered: list[str] | None) -> list[str]:
    """Names of the logits in the order of their columns, which the registry has to state unless there is one alone."""
    named = fields.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})  # transformers' own default
    published = [named[number] for number in sorted(named, key=int)]
    if [int(number) for number in sorted(named, key=int)] != list(range(len(named))):
        raise CheckpointError(f"config field `id2label` numbers its labels {', '.join(named)}")
    if (count := fields.get("num_labels", len(published))) != len(published):
        raise CheckpointError(f"config field `num_labels` is {count}, `id2label` names {len(published)}")
    if registered != published and (registered or len(published) > 1):
        stated = ", ".join(registered) if registered else "none"
        raise CheckpointError(f"the registry's labels are {stated}; the model's id2label says {', '.join(published)}")
    return published


def check_activation(fields: Fields, count: int, head: str | None) -> None:
    """What sentence-transformers applies to the logits: with one label the score, with several nothing."""
    nested = fields.get("sentence_transformers", {})
    stated = nested.get("activation_fn", fields.get("sbert_ce_default_activation_function"))
    activation = stated.rsplit(".", 1)[-1] if stated else (SIGMOID if count == 1 else IDENTITY)
    if count > 1 and activation != IDENTITY:
        raise CheckpointError(f"the model's activation is `{stated}`; for {count} labels only `{IDENTITY}` is understood")
    if count == 1 and HEADS.get(head or "") != activation:
        raise CheckpointError(
            f"the registry's head is `{head}`, the model's activation is `{activation}`"
            + ("" if stated else " (the default of sentence-transformers for one label)")
        )


def check_length(model: Model, document: Documents, positions: int) -> None:
    """The registry's `max_length` is where the reference cuts texts off."""
    bounds = {"config.json": positions}
    tokenizer = (document("tokenizer_config.json") or {}).get("model_max_length")
    if tokenizer is not None and tokenizer < UNLIMITED:
        bounds["tokenizer_config.json"] = int(tokenizer)
    if model.architecture == "bi_encoder":
        fields = Fields(document("sentence_bert_config.json") or {})
        fields.expect("do_lower_case", False)
        if (stated := fields.get("max_seq_length")) is not None:
            bounds["sentence_bert_config.json"] = int(stated)
        fields.finish()
    source = min(bounds, key=lambda name: bounds[name])
    if model.max_length != bounds[source]:
        raise CheckpointError(f"the registry's `max_length` is {model.max_length}, `{source}` says {bounds[source]}")


def check_pooling(document: Documents, registered: str | None) -> None:
    """A bi-encoder is an encoder, a pooling, and perhaps a normalisation, which a cosine does not notice."""
    if (modules := document("modules.json")) is None:
        raise CheckpointError("the checkpoint has no `modules.json`, which says how token vectors become a sentence vector")
    kinds = [module["type"].rsplit(".", 1)[-1] for module in sorted(modules, key=lambda module: module["idx"])]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise CheckpointError(f"`modules.json` lists {', '.join(kinds)}; only Transformer, Pooling(, Normalize) is built")
    name = next(f"{module['path']}/config.json" for module in modules if module["type"].endswith("Pooling"))
    if (config := document(name)) is None:
        raise CheckpointError(f"the checkpoint has no `{name}`")
    published = pooling(config, name)
    if registered != published:
        raise CheckpointError(f"the registry's pooling is `{registered}`, `{name}` says `{published}`")


def pooling(config: dict[str, Any], name: str) -> str:
    """The one way of pooling that a pooling module's configuration turns on."""
    if "pooling_mode" in config:
        modes = [config["pooling_mode"]]
    else:
        flags = [flag for flag, on in config.items() if flag.startswith("pooling_mode_") and on]
        modes = [POOLING_FLAGS.get(flag, flag) for flag in flags]
    if len(modes) != 1 or modes[0] not in POOLING_FLAGS.values():
        shown = ", ".join(map(str, modes)) or "nothing"
        raise CheckpointError(f"`{name}` pools by {shown}; only one of {', '.join(POOLING_FLAGS.values())} can be built")
    return modes[0]


def check_tokenizer(path: Path, config: dict[str, Any], ends: tuple[str, str], pairs: bool) -> None:
    """The tokenizer puts the model's own tokens around a text or a pair, and lowers case if its configuration says so."""
    tokenizer = Tokenizer.from_file(str(path))
    stated = (config.get(name, usual) for name, usual in zip(("cls_token", "sep_token"), ends))
    start, end = (token["content"] if isinstance(token, dict) else token for token in stated)
    for texts, count in ((("a",), 2), (("a", "b"), 3)) if pairs else ((("a",), 2),):
        found = tokenizer.encode(*texts)
        if found.tokens[0] != start or found.tokens[-1] != end or sum(found.special_tokens_mask) < count:
            raise CheckpointError(
                f"`tokenizer.json` makes {' '.join(found.tokens)} of {' and '.join(texts)}, without {start} and {end} around"
            )
    normalizer = json.loads(path.read_text(encoding="utf-8")).get("normalizer") or {}
    lowers, wanted = normalizer.get("lowercase"), config.get("do_lower_case")
    if normalizer.get("type") == "BertNormalizer" and wanted is not None and bool(lowers) != bool(wanted):
        raise CheckpointError(f"`tokenizer.json` has lowercase {lowers}, `tokenizer_config.json` do_lower_case {wanted}")
