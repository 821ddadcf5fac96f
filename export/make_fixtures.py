"""Writes the tiny models that the Rust tests run, with their registry and manifests.

    python export/make_fixtures.py [FOLDER]        (default: tests/fixtures/tiny)

Random weights, hand-made vocabularies, a few hundred kilobytes at most: enough to drive every code path of the engine
(chat templates, ragged batches, the cache, stop tokens, pair encoding, pooling, fixed lengths, 8-bit graphs, non-finite
logits) in a second and without a download. Runs in the export's environment; a second run gives the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import pathlib
import sys

from poq_export import quantize
from tiny_fixtures import checks, decoder, encoders, families, quantized, vocabulary

DEFAULT = pathlib.Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "tiny"
RUNTIME = "1.31.1"
LIMIT_BYTES = 890_000

HEADER = f"""# Written by export/make_fixtures.py: edit that, not this.
schema_version = 1

[runtime]
package = "onnxruntime"
version = "{RUNTIME}"
"""

COMMON = """
[[model]]
key = "{key}"
pool = "tiny"
role = "{role}"
architecture = "{architecture}"
precision = "f32"
name = "{key}"
upstream = "made for the tests"
licence = "MIT OR Apache-2.0"
{lengths}
files = {files}
"""

DECODER = """
[model.decoder]
chat_template = "chat_template.jinja"
stop_tokens = ["<|im_end|>", "<|endoftext|>"]
bos_token = "<|im_start|>"
eos_token = "<|im_end|>"
"""

# Its twin for CUDA has its cache in f16 and lies in a directory of its own, as exports for CUDA do.
DECODER_WITH_HALF = DECODER + """
[model.export]
recipe = "fixture"
logit_tolerance = 0.01
cuda_precision = "f16"
"""

BI_ENCODER = """
[model.scoring]
pooling = "mean"
output = "last_hidden_state"
batch_size = 8
"""

CROSS_ENCODER = """
[model.scoring]
output = "logits"
head = "probability"
labels = {labels}
target = "entailment"
order = "output_reference"
batch_size = 8
"""

LOGIT = """
[model.scoring]
output = "logits"
head = "logit"
order = "reference_output"
batch_size = 8
"""


def _entry(key: str, architecture: str, files: list[str], lengths: str, tail: str) -> str:
    role = "inference" if architecture == "decoder" else "evaluator"
    listed = json.dumps(files)
    return COMMON.format(key=key, role=role, architecture=architecture, lengths=lengths, files=listed) + tail


def _manifest(folder: pathlib.Path, key: str, files: list[str], facts: dict[str, object]) -> None:
    """The same document the exporter writes, so that the engine needs no special case for fixtures."""
    held = {}
    for name in files:
        data = (folder / name).read_bytes()
        held[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    tools = {name: importlib.metadata.version(name) for name in ("numpy", "onnx", "onnxruntime", "tokenizers")}
    document = {
        "schema_version": 1,
        "key": key,
        "files": held,
        "artifacts": {},
        **facts,
        "gate": {"passed": True, "inputs": 0, "note": "fixture"},
        "tools": tools,
    }
    (folder / "manifest.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main(root: pathlib.Path) -> None:
    """Writes every fixture, checks it in ONNX Runtime, then writes manifests and the registry."""
    bytes_tokenizer, words = vocabulary.byte_level(), vocabulary.word_piece()
    decoder_files = ["model.onnx", "tokenizer.json", "chat_template.jinja"]
    encoder_files = ["model.onnx", "tokenizer.json"]
    both_files = ["model.onnx", quantize.GRAPH, "tokenizer.json"]
    # The cross-encoders list their labels in different orders: a score must follow the label, never the column, nor the
    # place in the alphabet.
    nan_labels = CROSS_ENCODER.format(labels='["entailment", "not_entailment"]')
    cross_labels = CROSS_ENCODER.format(labels='["not_entailment", "entailment"]')
    nli_labels = CROSS_ENCODER.format(labels='["entailment", "neutral", "contradiction"]')
    decoder_length = f"max_length = {decoder.SHAPE.max_length}"
    any_length = f"max_length = {encoders.MAX_LENGTH}"
    one_length = f"max_length = {encoders.FIXED_LENGTH}\nfixed_length = {encoders.FIXED_LENGTH}"
    small = encoders.Shape(hidden=8)
    fixed = encoders.Shape(hidden=8, fixed_length=encoders.FIXED_LENGTH)
    entries, notes = [], []
    plan = [
        ("tiny_decoder", "decoder", decoder_files, decoder_length, DECODER_WITH_HALF,
         lambda folder: decoder.write(folder, bytes_tokenizer, seed=5, end_bias=7.0), checks.check_decoder),
        ("tiny_decoder_b", "decoder", decoder_files, decoder_length, DECODER,
         lambda folder: decoder.write(folder, bytes_tokenizer, seed=6, end_bias=7.0), checks.check_decoder),
        ("tiny_decoder_nan", "decoder", decoder_files, decoder_length, DECODER,
         lambda folder: decoder.write(folder, bytes_tokenizer, seed=5, end_bias=7.0, poison="~"), checks.check_decoder),
        ("tiny_bi", "bi_encoder", both_files, any_length, BI_ENCODER,
         lambda folder: encoders.write_bi(folder, words, seed=3), lambda folder: checks.check_encoder(folder, False)),
        ("tiny_pooled", "bi_encoder", encoder_files, any_length, BI_ENCODER,
         lambda folder: encoders.write_bi(folder, words, seed=3, pooled=True),
         lambda folder: checks.check_encoder(folder, False)),
        ("tiny_cross", "cross_encoder", both_files, any_length, cross_labels,
         lambda folder: encoders.write_cross(folder, words, 4), lambda folder: checks.check_encoder(folder, True)),
        ("tiny_nan", "cross_encoder", encoder_files, any_length, nan_labels,
         lambda folder: encoders.write_cross(folder, words, 5, poisoned=True),
         lambda folder: checks.check_encoder(folder, True, poisoned=True)),
        ("tiny_nli", "cross_encoder", encoder_files, any_length, nli_labels,
         lambda folder: encoders.write_cross(folder, words, 7, labels=3, shape=small),
         lambda folder: checks.check_encoder(folder, True)),
        ("tiny_fixed", "cross_encoder", encoder_files, one_length, LOGIT,
         lambda folder: encoders.write_cross(folder, words, 8, labels=1, shape=fixed),
         lambda folder: checks.check_encoder(folder, True, fixed_length=encoders.FIXED_LENGTH)),
    ]  # fmt: skip
    plan += [
        (key, "decoder", decoder_files, f"max_length = {families.POSITIONS}", DECODER,
         functools.partial(families.export, tiny), checks.check_recorded_decoder)
        for key, tiny in families.FIXTURES.items()
    ]  # fmt: skip
    for key, architecture, files, lengths, tail, write, check in plan:
        folder = root / key
        folder.mkdir(parents=True, exist_ok=True)
        facts = write(folder) or {}
        if quantize.GRAPH in files:
            quantized.write(folder)
        notes.append(f"{key}: {check(folder)}")
        _manifest(folder, key, files, facts)
        entries.append(_entry(key, architecture, files, lengths, tail))
    half = root / "tiny_decoder-f16"
    half.mkdir(exist_ok=True)
    decoder.write(half, bytes_tokenizer, seed=5, end_bias=7.0, half=True)
    _manifest(half, "tiny_decoder", decoder_files, {})
    (root / "registry.toml").write_text(HEADER + "".join(entries), encoding="utf-8")
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    if size > LIMIT_BYTES:
        raise SystemExit(f"{root} holds {size} bytes, more than the {LIMIT_BYTES} that may be committed")
    print("\n".join(notes), f"{size} bytes in all", sep="\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
