"""What the process does that records a model right before its gate (`poq_export/recording.py`).

Everything that needs torch is imported here only once it is asked for, in that process.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from poq_export import providers
from poq_export.recording import Request

ENCODER_SCHEMA = 1  # version of what an encoder's recording holds


def record(request: Request) -> dict[str, Any]:
    """The reference's answers, in the form that the model's gate reads. All it reads is there: it asks no hub."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        return (decoder if request.model.architecture == "decoder" else encoder)(request)
    except RuntimeError as error:  # torch's own class for it would make whoever asked import torch
        if request.target.provider != "cuda" or not providers.is_out_of_memory(error):
            raise
        raise SystemExit(
            "the card's memory ran out: end what else uses it (`nvidia-smi` lists it), or take a larger one "
            f"({str(error).splitlines()[0]})"
        ) from None


def decoder(request: Request) -> dict[str, Any]:
    """Logits, greedy tokens and, of one input, hidden states; on CUDA in the precision of the export."""
    import record_references as references

    model, place = request.model, references.place(request.target.provider, request.target.precision.name)
    notes: list[str] = []  # transformers builds some tokenizers anew; ours is the published one, and the manifest tells
    reference, tokenizer, own = references.load(model, request.files, place, notes.append)
    inputs, _ = references.record_inputs(reference, tokenizer, own, model.max_length - references.GREEDY_TOKENS)
    found = {"reference": references.reference_name(place), "inputs": inputs}
    found["hidden_states"] = references.hidden_states(reference, inputs)
    return found | ({"tokenizer_differs": notes} if notes else {})


def encoder(request: Request) -> dict[str, Any]:
    """Token ids and outputs in f32 on the CPU, from files that lie under their published names."""
    import record_encoder_references as references

    with tempfile.TemporaryDirectory() as scratch:
        files = published(request.files, Path(scratch))
        description, answer = references.REFERENCES[request.model.export.recipe](request.model, files)
        inputs = references.gate_inputs(request.model, answer)
    head = {"schema_version": ENCODER_SCHEMA, "reference": description, "max_length": request.model.max_length}
    return head | {"inputs": inputs}


def published(files: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Links in `folder` to artifacts, under the names that they were published under."""
    links = {name: folder / name for name in files}
    for name, link in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(files[name].resolve())
    return links
