//! Who computes: ONNX Runtime's execution providers and the precisions they can be asked for.

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// An execution provider. One that was asked for and cannot be had is an error; nothing falls back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's own kernels.
    #[default]
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// Intel's kernels on the CPU, with bf16 where the processor has it.
    #[value(name = "openvino")]
    OpenVino,
}

/// Arithmetic of an evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The graph as exported, in f32.
    #[default]
    F32,
    /// The same graph; products in bfloat16.
    Bf16,
    /// The 8-bit graph: one activation scale per batch, so that a row's score depends a little on its batch-mates.
    Int8,
}

impl Provider {
    /// Name as it stands in settings, tables and file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::OpenVino => "openvino",
        }
    }

    /// Directory below `models/` where its build of ONNX Runtime lies.
    #[must_use]
    pub fn runtime_directory(self) -> &'static str {
        match self {
            Self::Cpu => "runtime",
            Self::Cuda => "runtime-cuda",
            Self::OpenVino => "runtime-openvino",
        }
    }

    /// The recipe that brings it.
    #[must_use]
    pub fn recipe(self) -> &'static str {
        match self {
            Self::Cpu => "just runtime",
            Self::Cuda => "just runtime cuda",
            Self::OpenVino => "just runtime openvino",
        }
    }

    /// Refuses precisions that this provider would silently compute as another.
    pub fn check(self, precision: Precision) -> Result<()> {
        match (self, precision) {
            (_, Precision::F32) | (Self::OpenVino, Precision::Bf16) | (Self::Cpu, Precision::Int8) => Ok(()),
            (_, Precision::Bf16) => bail!(
                "precision `bf16` needs the provider `openvino`, not `{}`\nhint: `--provider openvino`",
                self.name()
            ),
            (_, Precision::Int8) => {
                bail!("precision `int8` needs the provider `cpu`, not `{}`\nhint: `--provider cpu`", self.name())
            }
        }
    }
}

impl Precision {
    /// Name as it stands in settings and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// The graph file of an encoder at this precision.
    #[must_use]
    pub fn graph_file(self) -> &'static str {
        match self {
            Self::F32 | Self::Bf16 => "model.onnx",
            Self::Int8 => "model.int8.onnx",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_cannot_do_is_refused() {
        assert!(Provider::Cpu.check(Precision::Int8).is_ok() && Provider::OpenVino.check(Precision::Bf16).is_ok());
        let error = Provider::Cpu.check(Precision::Bf16).expect_err("refused").to_string();
        assert!(error.contains("bf16") && error.contains("openvino"), "{error}");
        assert!(Provider::OpenVino.check(Precision::Int8).is_err() && Provider::Cuda.check(Precision::Bf16).is_err());
    }
}
