"""Record what transformers (torch, f32, eager attention) computes from the tiny checkpoints of `tiny_families.py`.

    python export/record_families.py [NAME ...]

Run in an environment made from `requirements-reference.txt` by whoever adds a family or changes a tiny checkpoint.
Writes export/references/tiny_<name>.json for the export's own tests, and tests/expected/tiny_families_greedy.json with
what the engine has to answer with the fixtures made of such checkpoints.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

import tiny_families
from poq_export.fetch import sha256
from record_references import complete_reference, greedy, hidden_states, reference_name, shortened, write
from tiny_fixtures import checks, families

HERE = Path(__file__).resolve().parent
TOP, SAMPLED, SEED = 16, 32, 20240817
GREEDY_TOKENS = 24
TIED_TO = ("config.json", "model.safetensors")  # what the recorded numbers depend on


def main() -> None:
    """Record the named tiny checkpoints, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    for name in parser.parse_args().names or list(tiny_families.FAMILIES):
        tiny = tiny_families.FAMILIES[name]
        with tempfile.TemporaryDirectory() as scratch:
            files = tiny_families.write(tiny, Path(scratch))
            recorded = record(files)
        write(HERE / "references" / f"{tiny.key}.json", {"key": tiny.key} | recorded)
    write(checks.EXPECTED, {key: record_fixture(tiny) for key, tiny in families.FIXTURES.items()})


def record(files: dict[str, Path]) -> dict[str, Any]:
    """The recording of one checkpoint, in the form that the parity gate reads."""
    model, encoder = complete_reference(files["config.json"].parent), Tokenizer.from_file(str(files["tokenizer.json"]))
    generator, inputs = torch.Generator().manual_seed(SEED), []
    for text in tiny_families.TEXTS:
        ids = encoder.encode(text).ids
        logits, tokens, margins = greedy(model, ids, GREEDY_TOKENS)
        sampled = torch.randint(model.config.vocab_size, (SAMPLED,), generator=generator)
        where = torch.cat([logits.topk(TOP).indices, sampled]).unique()
        compared = {str(at): shortened(logits[at]) for at in where.tolist()}
        inputs.append({"text": text, "ids": ids, "logits": compared, "greedy": tokens, "margins": margins})
    artifacts = {name: sha256(files[name]) for name in TIED_TO}
    states = hidden_states(model, inputs)
    return {"reference": reference_name(), "artifacts": artifacts, "hidden_states": states, "inputs": inputs}


def record_fixture(tiny: tiny_families.Tiny) -> list[dict[str, Any]]:
    """Prompts of the engine's tests with the tokens that follow; stop tokens do not stop them."""
    with tempfile.TemporaryDirectory() as scratch:
        files = families.write_checkpoint(tiny, Path(scratch))
        model, encoder = complete_reference(Path(scratch)), Tokenizer.from_file(str(files["tokenizer.json"]))
    rows = [encoder.encode(checks.CHAT.format(prompt), add_special_tokens=False).ids for prompt in checks.PROMPTS]
    answers = [greedy(model, ids, GREEDY_TOKENS)[1:] for ids in rows]
    return [{"ids": ids, "greedy": tokens, "margins": margins} for ids, (tokens, margins) in zip(rows, answers)]


if __name__ == "__main__":
    main()
