"""What an export is made for: the provider that is to run it, and the precision of its weights and arithmetic."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .precision import F32, PRECISIONS, Precision
from .registry import Model


@dataclasses.dataclass(frozen=True)
class Target:
    """A provider of ONNX Runtime and a precision."""

    provider: str = "cpu"
    precision: Precision = F32

    @classmethod
    def of(cls, model: Model, provider: str) -> Target:
        """What a model becomes for a provider: only decoders with a `cuda_precision` become something else for CUDA.

        Encoders have their f32 graph everywhere, and where they have one in half precision it lies beside that.
        """
        if provider != "cuda":
            return cls()
        if model.architecture != "decoder":
            return cls("cuda")
        half = model.export.cuda_precision
        return cls() if half is None else cls("cuda", PRECISIONS[half])

    def directory(self, model: Model, models_dir: Path) -> Path:
        """Where the exported files lie."""
        name = f"{model.key}-{self.precision.name}" if self.precision.is_half else model.key
        return models_dir / name


CPU = Target()
