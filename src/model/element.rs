//! Floating-point types that keys, values and attention biases may have in a graph.

use anyhow::{Result, bail};
use ort::value::TensorElementType;

/// Element type of a tensor that poq makes room for without computing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float: graphs for the CPU.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl Element {
    /// Bytes of one value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// The type by ONNX Runtime's name for it.
    pub(super) fn of(declared: TensorElementType) -> Result<Self> {
        match declared {
            TensorElementType::Float32 => Ok(Self::F32),
            TensorElementType::Float16 => Ok(Self::F16),
            TensorElementType::Bfloat16 => Ok(Self::Bf16),
            other => bail!("elements of the type {other} are none that poq knows here"),
        }
    }

    /// The other way round.
    pub(super) fn declared(self) -> TensorElementType {
        match self {
            Self::F32 => TensorElementType::Float32,
            Self::F16 => TensorElementType::Float16,
            Self::Bf16 => TensorElementType::Bfloat16,
        }
    }
}
