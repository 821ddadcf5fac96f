"""Record what transformers and sentence-transformers compute from the tiny checkpoints of `tiny_encoders.py`.

    python export/record_tiny_encoders.py [NAME ...]

Run in an environment made from `requirements-reference.txt` by whoever adds a family or changes a tiny checkpoint.
Writes export/references/tiny_<name>.json, and export/references/log_buckets.json with DeBERTa's buckets.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import tiny_encoders
import torch
from poq_export.fetch import sha256
from poq_export.registry import Artifact, Export, Model, PathSource
from record_encoder_references import published_weights, rounded, versions, write
from tiny_encoders import TinyEncoder
from transformers.models.deberta_v2 import modeling_deberta_v2

REFERENCES = Path(__file__).resolve().parent / "references"
BUCKETS = ((256, 512, 512), (16, 512, 512), (10, 30, 60))  # buckets, distances told apart, distances recorded
LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 90, 150)  # words
SENTENCE = "The model has to answer a question: who was the king of France in the year 12, and why is it not «Déjà vu» 你好?"
OTHERS = ("", " ", "N", "<pad> two  spaces <pad>", "[SEP] [PAD] good", "the sun is good", "No! 3.5 %", "ﬁsh Ⅻ é")


def texts() -> list[str]:
    """Texts of no to many tokens, other scripts and the tokenizers' own special tokens among them."""
    words = SENTENCE.split()
    return list(OTHERS) + [" ".join((words * length)[length : 2 * length]) for length in LENGTHS] + words[2:8]


def pairs() -> list[tuple[str, str]]:
    """Short beside long, and one pair that is longer than any row."""
    single = texts()
    return [(text, single[(7 * place + 3) % len(single)]) for place, text in enumerate(single)] + [(single[18], single[18])]


def model(tiny: TinyEncoder, files: dict[str, Path]) -> Model:
    """The registry entry of a tiny checkpoint."""
    artifacts = [Artifact(name, sha256(path), [PathSource(str(path))]) for name, path in sorted(files.items())]
    return Model(
        key=tiny.key, pool="none", role="evaluator", architecture=tiny.architecture, precision="f32", name=tiny.key,
        upstream="none", licence="MIT", max_length=tiny.max_length, files=["model.onnx", "tokenizer.json"],
        export=Export("checkpoint_encoder", 1e-5), artifact=artifacts, scoring=tiny.scoring,
    )  # fmt: skip


def record(tiny: TinyEncoder) -> dict[str, Any]:
    """The recording of one checkpoint, in the form that the parity gate reads."""
    with tempfile.TemporaryDirectory() as scratch:
        files = tiny_encoders.write(tiny, Path(scratch))
        entry = model(tiny, files)
        description, answer = published_weights(entry, files)
        inputs = []
        if tiny.architecture == "cross_encoder":
            for first, second in pairs():
                ids, types, logits = answer(first, second)
                inputs.append({"first": first, "second": second, "ids": ids, "type_ids": types, "output": rounded(logits)})
        else:
            for text in texts():
                ids, _, vector = answer(text)
                inputs.append({"text": text, "ids": ids, "output": rounded(vector)})
    artifacts = {artifact.name: artifact.sha256 for artifact in entry.artifact}
    return {"key": tiny.key, "reference": description, "artifacts": artifacts, "inputs": inputs}


def buckets() -> dict[str, Any]:
    """The bucket of each distance, by the reference's own function."""
    found = []
    for count, longest, recorded in BUCKETS:
        of = modeling_deberta_v2.make_log_bucket_position(torch.arange(recorded), count, longest)
        found.append({"buckets": count, "longest": longest, "of": of.to(torch.long).tolist()})
    return {"reference": versions("transformers", "torch"), "tables": found}


def main() -> None:
    """Record the named tiny checkpoints, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    for name in parser.parse_args().names or list(tiny_encoders.ENCODERS):
        tiny = tiny_encoders.ENCODERS[name]
        write(REFERENCES / f"{tiny.key}.json", record(tiny), "inputs")
    write(REFERENCES / "log_buckets.json", buckets(), "tables")


if __name__ == "__main__":
    main()
