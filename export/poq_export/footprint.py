"""What a model takes to export and to run, in bytes, estimated beforehand.

`src/model/footprint.rs` says what the figures are made of; `tests/expected/footprints.json` holds the two together.
"""

from __future__ import annotations

import dataclasses

from .registry import Model

PROCESS = 1_000_000_000  # of poq, beside weights: libraries, tokenizer, activations of a batch
EXPORT = 2_000_000_000  # of an export, beside weights: libraries, logits of every position of the gate's inputs
CARD = 2_000_000_000  # beside weights: context and kernels, activations, the cache of some short rows
BITS = {"f32": 32, "bf16": 16, "f16": 16, "int8": 12, "int4": 9}  # of a parameter, wider tables included
VARIANTS = {"model.f16.onnx": 16, "model.int8.onnx": 8, "model.w8.onnx": 21}


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Graphs on disk, peak memory of the export and of a run, and memory of the card."""

    export_disk: int
    export_ram: int
    run_ram: int
    run_gpu: int | None


def of(model: Model, provider: str) -> Footprint | None:
    """Estimates for one provider; `None` where the registry does not give the parameters."""
    half = model.export.cuda_precision if provider == "cuda" and model.architecture == "decoder" else None
    precision = half or model.precision
    if model.parameters is None or precision not in BITS:
        return None

    def weights(bits: int) -> int:
        return model.parameters * bits // 8

    graph = weights(BITS[precision])
    runs = weights(16) if provider == "cuda" and "model.f16.onnx" in model.files else graph
    return Footprint(
        export_disk=graph + sum(weights(bits) for file, bits in VARIANTS.items() if file in model.files),
        export_ram=max(2 * graph, weights(32)) + EXPORT,
        run_ram=(1 if provider == "cuda" else 2) * runs + PROCESS,
        run_gpu=runs + runs // 10 + CARD if provider == "cuda" else None,
    )
