"""What a checkpoint says about text: its chat template, the tokens the template names, and where generation stops.

The engine takes stop tokens and the template's tokens from the registry, which is written by hand. Here they are held
to what the publisher's own files say, so that an end-of-turn token nobody typed does not show as endless answers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from .checkpoint import Checkpoint, CheckpointError
from .encoders import copy_tokenizer
from .registry import Model

TEMPLATE_TOKENS = ("bos_token", "eos_token")


def write_tokenizer(checkpoint: Checkpoint, target: Path, vocabulary: int, outside: tuple[str, ...]) -> Tokenizer:
    """Write `tokenizer.json`, without the `outside` tokens; another one that the graph has no vector for is an error."""
    copy_tokenizer(checkpoint.require("tokenizer.json"), target)
    _drop_added(target, outside)
    tokenizer = Tokenizer.from_file(str(target))
    token, number = max(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda entry: entry[1])
    if number >= vocabulary:
        raise CheckpointError(
            f"the tokenizer has token {number} (`{token}`), the graph's vocabulary has {vocabulary} tokens"
        )
    return tokenizer


def chat_template(checkpoint: Checkpoint) -> str:
    """From the file of its own or else from the tokenizer's configuration, where there may be several with names."""
    if "chat_template.jinja" in checkpoint.files:
        return checkpoint.files["chat_template.jinja"].read_text(encoding="utf-8")
    template = (checkpoint.document("tokenizer_config.json") or {}).get("chat_template")
    if template is None:
        raise CheckpointError("there is no chat template in `chat_template.jinja` nor in `tokenizer_config.json`")
    if isinstance(template, str):
        return template
    named = {entry["name"]: entry["template"] for entry in template}
    if "default" not in named:
        raise CheckpointError(f"none of the chat templates {', '.join(named)} is named `default`")
    return named["default"]


def facts(model: Model, checkpoint: Checkpoint, tokenizer: Tokenizer, template: str) -> dict[str, Any]:
    """What the manifest says about stopping and the template, once the registry agrees with it."""
    stops = stop_token_ids(checkpoint)
    tokens = template_tokens(checkpoint)
    _check_stops(model, tokenizer, stops)
    _check_template_tokens(model, tokens, template)
    return {"stop_token_ids": stops, "template_tokens": tokens}


def stop_token_ids(checkpoint: Checkpoint) -> list[int]:
    """Ids that end an answer: the generation configuration's, or else those of the model's own configuration."""
    for name in ("generation_config.json", "config.json"):
        ids = (checkpoint.document(name) or {}).get("eos_token_id")
        if ids is not None:
            return ids if isinstance(ids, list) else [ids]
    raise CheckpointError("neither `generation_config.json` nor `config.json` has an `eos_token_id`")


def template_tokens(checkpoint: Checkpoint) -> dict[str, str | None]:
    """The tokens that a chat template may name; `None` for one that the tokenizer does not have."""
    config = checkpoint.document("tokenizer_config.json") or {}
    held = {name: config.get(name) for name in TEMPLATE_TOKENS}
    return {name: token["content"] if isinstance(token, dict) else token for name, token in held.items()}


def _check_stops(model: Model, tokenizer: Tokenizer, stops: list[int]) -> None:
    known = {token: tokenizer.token_to_id(token) for token in model.decoder.stop_tokens}
    if absent := [token for token, number in known.items() if number is None]:
        raise CheckpointError(f"model `{model.key}`: stop token `{absent[0]}` of the registry is not in the tokenizer")
    if lacking := [number for number in stops if number not in known.values()]:
        raise CheckpointError(
            f"model `{model.key}`: the checkpoint stops at token {lacking[0]} (`{tokenizer.id_to_token(lacking[0])}`), "
            f"which the registry's stop_tokens lack ({', '.join(known)})"
        )


def _check_template_tokens(model: Model, tokens: dict[str, str | None], template: str) -> None:
    """A template that starts with a token the registry does not name would render without it."""
    for name in TEMPLATE_TOKENS:
        registered = getattr(model.decoder, name)
        used = re.search(rf"\b{name}\b", template) is not None
        if tokens[name] is not None and registered != tokens[name] and (used or registered is not None):
            raise CheckpointError(
                f"model `{model.key}`: {name} is `{tokens[name]}` in the checkpoint and `{registered}` in the registry"
            )


def _drop_added(path: Path, outside: tuple[str, ...]) -> None:
    """Remove tokens that were added to a vocabulary; a file that has none of them stays as it is."""
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = [token for token in content.get("added_tokens", []) if token["content"] not in outside]
    if len(kept) < len(content.get("added_tokens", [])):
        content["added_tokens"] = kept
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
