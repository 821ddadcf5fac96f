"""Where the recordings lie that the parity gate compares with."""

from __future__ import annotations

from pathlib import Path

from .registry import Model

COMMITTED = Path(__file__).resolve().parent.parent / "references"


def committed(model: Model) -> Path:
    """Where the committed recording of a model lies, if there is one."""
    return COMMITTED / f"{model.key}.json"


def is_committed(model: Model) -> bool:
    """Whether the recording came with the repository; otherwise it is made on this machine, which takes torch."""
    return committed(model).exists()
