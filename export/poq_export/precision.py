"""The number formats that a decoder's weights and arithmetic may have."""

from __future__ import annotations

import dataclasses

import ml_dtypes
import numpy as np
from onnx import TensorProto


class PrecisionError(Exception):
    """A weight that the wanted format cannot hold."""


@dataclasses.dataclass(frozen=True)
class Precision:
    """One format, as numpy and as ONNX name it."""

    name: str
    dtype: np.dtype
    tensor: int

    @property
    def is_half(self) -> bool:
        """Whether a number takes two bytes."""
        return self.dtype.itemsize == 2


F32 = Precision("f32", np.dtype(np.float32), TensorProto.FLOAT)
F16 = Precision("f16", np.dtype(np.float16), TensorProto.FLOAT16)
BF16 = Precision("bf16", np.dtype(ml_dtypes.bfloat16), TensorProto.BFLOAT16)
PRECISIONS = {precision.name: precision for precision in (F32, F16, BF16)}


def converted(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """`array` in another format, rounded to nearest; what has that format already is left alone, bit for bit.

    A number that became infinite on the way is an error that names the tensor.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        found = array.astype(np.float32).astype(dtype)
    if found.dtype == np.float16 and not np.isfinite(found).all() and np.isfinite(array.astype(np.float32)).all():
        largest = np.abs(array.astype(np.float32)).max()
        raise PrecisionError(f"tensor `{name}` holds {largest:.6g}, which f16 cannot; export it in bf16")
    return found
