"""Writes the tiny models that the Rust tests run, with their registry and manifests.

    python export/make_fixtures.py [FOLDER]        (default: tests/fixtures/tiny)

Random weights, hand-made vocabularies, a few dozen kilobytes each: enough to drive every code path of the engine
(chat templates, ragged batches, the cache, stop tokens, pair encoding, pooling, non-finite logits) in a second and
without a download. Needs numpy, onnx, onnxruntime and tokenizers; a second run gives the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import pathlib
import sys

from tiny_fixtures import checks, decoder, encoders, vocabulary

DEFAULT = pathlib.Path(__file__).resolve().parents[1] / "tests" / "fixtures" / "tiny"
RUNTIME = "1.31.1"
LIMIT_BYTES = 200_000

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
max_length = {max_length}
files = {files}
"""

DECODER = """
[model.decoder]
chat_template = "chat_template.jinja"
stop_tokens = ["<|im_end|>", "<|endoftext|>"]
bos_token = "<|im_start|>"
eos_token = "<|im_end|>"
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


def _entry(key: str, architecture: str, files: list[str], max_length: int, tail: str) -> str:
    role = "inference" if architecture == "decoder" else "evaluator"
    listed = json.dumps(files)
    return COMMON.format(key=key, role=role, architecture=architecture, max_length=max_length, files=listed) + tail


def _manifest(folder: pathlib.Path, files: list[str]) -> None:
    """The same document the exporter writes, so that the engine needs no special case for fixtures."""
    held = {}
    for name in files:
        data = (folder / name).read_bytes()
        held[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    tools = {name: importlib.metadata.version(name) for name in ("numpy", "onnx", "onnxruntime", "tokenizers")}
    document = {
        "schema_version": 1,
        "key": folder.name,
        "files": held,
        "artifacts": {},
        "gate": {"passed": True, "inputs": 0, "note": "fixture"},
        "tools": tools,
    }
    (folder / "manifest.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def main(root: pathlib.Path) -> None:
    """Writes every fixture, checks it in ONNX Runtime, then writes manifests and the registry."""
    bytes_tokenizer, words = vocabulary.byte_level(), vocabulary.word_piece()
    decoder_files = ["model.onnx", "tokenizer.json", "chat_template.jinja"]
    encoder_files = ["model.onnx", "tokenizer.json"]
    # The two cross-encoders list their labels in opposite orders: a score must follow the label, never the column.
    nan_labels = CROSS_ENCODER.format(labels='["entailment", "not_entailment"]')
    cross_labels = CROSS_ENCODER.format(labels='["not_entailment", "entailment"]')
    entries, notes = [], []
    plan = [
        ("tiny_decoder", "decoder", decoder_files, decoder.SHAPE.max_length, DECODER,
         lambda folder: decoder.write(folder, bytes_tokenizer, seed=5, end_bias=7.0), checks.check_decoder),
        ("tiny_decoder_b", "decoder", decoder_files, decoder.SHAPE.max_length, DECODER,
         lambda folder: decoder.write(folder, bytes_tokenizer, seed=6, end_bias=7.0), checks.check_decoder),
        ("tiny_bi", "bi_encoder", encoder_files, encoders.MAX_LENGTH, BI_ENCODER,
         lambda folder: encoders.write_bi(folder, words, seed=3), lambda folder: checks.check_encoder(folder, False)),
        ("tiny_cross", "cross_encoder", encoder_files, encoders.MAX_LENGTH, cross_labels,
         lambda folder: encoders.write_cross(folder, words, 4, False), lambda folder: checks.check_encoder(folder, True)),
        ("tiny_nan", "cross_encoder", encoder_files, encoders.MAX_LENGTH, nan_labels,
         lambda folder: encoders.write_cross(folder, words, 5, True), lambda folder: checks.check_encoder(folder, True, True)),
    ]  # fmt: skip
    for key, architecture, files, max_length, tail, write, check in plan:
        folder = root / key
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        notes.append(f"{key}: {check(folder)}")
        _manifest(folder, files)
        entries.append(_entry(key, architecture, files, max_length, tail))
    (root / "registry.toml").write_text(HEADER + "".join(entries), encoding="utf-8")
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    if size > LIMIT_BYTES:
        raise SystemExit(f"{root} holds {size} bytes, more than the {LIMIT_BYTES} that may be committed")
    print("\n".join(notes), f"{size} bytes in all", sep="\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
