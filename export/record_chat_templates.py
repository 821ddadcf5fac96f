"""Writes what transformers' own renderer makes of chat templates.

    python export/record_chat_templates.py [--models-dir DIR]

tests/expected/chat_templates.json: templates written for poq (`chat_template_families.py`, `chat_template_constructs.py`)
with the text or the refusal that each conversation gets. tests/expected/model_chat_prompts.json: what the templates of
exported decoders make of conversations; the templates themselves are their publishers' and stay in the exports.

Run by hand, in an environment made from `requirements-reference.txt`. The clock that templates read stands still.
"""

from __future__ import annotations

import argparse
import datetime
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chat_template_constructs import CONSTRUCTS
from chat_template_families import CONVERSATIONS, DIALOGUES, FAMILIES, TEXTS, Template
from jinja2.exceptions import TemplateError
from poq_export import registry
from transformers.utils import chat_template_utils

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime.datetime(2024, 7, 6, 15, 4, 5)
MODELS = ("smollm2_135m", "qwen2_5_coder_0_5b")
CLOSED = ("plain", "turns", "ends_with_assistant")  # also rendered without a generation prompt, where the template heeds it
MODEL_CONVERSATIONS = TEXTS + DIALOGUES + ("system_in_the_middle", "two_users")


class Clock:
    """Stands in for `datetime` where `strftime_now` looks."""

    read = False

    @classmethod
    def now(cls) -> datetime.datetime:
        """Always the same, and noticed."""
        cls.read = True
        return NOW


def render(source: str, messages: list[dict[str, Any]], variables: dict[str, Any], prompted: bool) -> dict[str, str]:
    """The text, or the message of `raise_exception`; any other error ends the recording."""
    try:
        (text,), _ = chat_template_utils.render_jinja_template(
            [messages], chat_template=source, add_generation_prompt=prompted, **variables
        )
    except TemplateError as error:
        if type(error) is not TemplateError:  # what `raise_exception` raises; a template's mistakes are subclasses
            raise
        return {"error": error.message}
    return {"expected": text}


def special(tokens: dict[str, str | None]) -> dict[str, str]:
    """A token that the tokenizer lacks is not handed to the template at all."""
    return {name: token for name, token in tokens.items() if token is not None}


def rows(template: Template) -> list[dict[str, Any]]:
    """The cases of one template."""
    tokens = {"bos_token": template.bos_token, "eos_token": template.eos_token}
    found = []
    for name in template.conversations:
        for prompted in (True, False) if template.open_ended and name in CLOSED else (True,):
            Clock.read = False
            variables = special(tokens) | template.variables
            try:
                outcome = render(template.source, CONVERSATIONS[name], variables, prompted)
            except Exception as error:
                raise SystemExit(f"{template.family}, {name}: {error}") from error
            row = {"family": template.family, "conversation": name, "template": template.source, **tokens}
            row |= {"messages": CONVERSATIONS[name], "add_generation_prompt": prompted}
            row |= {"variables": template.variables} if template.variables else {}
            row |= {"now": NOW.isoformat()} if Clock.read else {}
            found.append(row | outcome)
    return found


def write(name: str, head: dict[str, Any], groups: dict[str, list[dict[str, Any]]]) -> None:
    """One row to a line, escaped, so that invisible characters survive editors."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, items in groups.items():
        listed = ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)
        lines.append(f"{json.dumps(key)}: [\n{listed}\n]")
    path = ROOT / "tests/expected" / name
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    json.loads(path.read_text(encoding="utf-8"))
    print(f"{name}: {sum(map(len, groups.values()))} cases, {path.stat().st_size} bytes")


def model_rows(directory: Path, facts: registry.Decoder) -> list[dict[str, Any]]:
    """The conversations of real models, through the template that lies beside the exported model."""
    source = (directory / facts.chat_template).read_text(encoding="utf-8")
    tokens = special({"bos_token": facts.bos_token, "eos_token": facts.eos_token})
    return [
        {"messages": CONVERSATIONS[name], **render(source, CONVERSATIONS[name], tokens, True)}
        for name in MODEL_CONVERSATIONS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models-dir", type=Path, default=ROOT / "models", help="where models are exported")
    arguments = parser.parse_args()
    chat_template_utils.datetime = Clock
    renderer = f"transformers {version('transformers')}, jinja2 {version('jinja2')}: render_jinja_template"
    head = {"reference": f"{renderer}; tools and documents are none unless they stand among the variables"}
    write("chat_templates.json", head, {"cases": [row for template in FAMILIES + CONSTRUCTS for row in rows(template)]})
    entries = registry.load(ROOT / "models/registry.toml")
    models = {
        model.key: model_rows(arguments.models_dir / model.key, model.decoder)
        for model in entries.select(None, list(MODELS))
    }
    write("model_chat_prompts.json", {}, models)


if __name__ == "__main__":
    main()
