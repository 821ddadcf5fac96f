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
    /// IEEE half precision throughout, from a graph of its own, on a GPU.
    F16,
    /// 8-bit weights and activations. On the CPU provider the activations have one scale per batch, so that a row's score
    /// depends a little on its batch-mates; on OpenVINO they have one per 64 values of a row.
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

    /// The graph file of an encoder that this provider computes at a precision.
    #[must_use]
    pub fn graph_file(self, precision: Precision) -> &'static str {
        match (self, precision) {
            (_, Precision::F32 | Precision::Bf16) => "model.onnx",
            (_, Precision::F16) => "model.f16.onnx",
            // ONNX Runtime wants the quantised operators written out; OpenVINO makes its own from 8-bit weights.
            (Self::Cpu | Self::Cuda, Precision::Int8) => "model.int8.onnx",
            (Self::OpenVino, Precision::Int8) => "model.w8.onnx",
        }
    }

    /// Widths of batches are rounded up to a multiple of this. OpenVINO prepares itself for every shape it meets, some
    /// milliseconds each, and for CUDA a session keeps input tensors of every shape, so fewer widths are worth some padding.
    #[must_use]
    pub fn width_step(self, precision: Precision) -> usize {
        match (self, precision) {
            (Self::Cpu, _) => 1,
            // CUDA: at most 64 widths for texts of up to 512 tokens, and what tensor cores like; not measured. OpenVINO's
            // 8-bit kernels work on tiles: on MiniLM a multiple of 8 gained 15 % and costs 6 % in padding.
            (Self::Cuda, _) | (Self::OpenVino, Precision::Int8) => 8,
            (Self::OpenVino, _) => 2,
        }
    }

    /// Refuses precisions that this provider would silently compute as another.
    pub fn check(self, precision: Precision) -> Result<()> {
        match (self, precision) {
            (Self::OpenVino, Precision::Bf16) if !has_bf16() => {
                bail!("precision `bf16`: this processor has no bf16 instructions, and would compute in f32")
            }
            (_, Precision::F32)
            | (Self::OpenVino, Precision::Bf16)
            | (Self::Cuda, Precision::F16)
            | (Self::Cpu | Self::OpenVino, Precision::Int8) => Ok(()),
            // A CPU would compute it in f32 and round, which is neither fast nor what a GPU returns.
            (_, Precision::F16) => bail!(
                "precision `f16` needs the provider `cuda`, not `{}`\nhint: `--provider cuda`, or another `--precision`",
                self.name()
            ),
            (_, Precision::Bf16) => bail!(
                "precision `bf16` needs the provider `openvino`, not `{}`\nhint: `--provider openvino`",
                self.name()
            ),
            (_, Precision::Int8) => {
                bail!(
                    "precision `int8` needs the provider `cpu` or `openvino`, not `{}`\nhint: `--provider cpu`",
                    self.name()
                )
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
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }
}

/// OpenVINO takes bf16 as a hint, and passes over it in silence where the processor lacks it.
fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_cannot_do_is_refused() {
        assert!(Provider::Cpu.check(Precision::Int8).is_ok());
        assert_eq!(Provider::OpenVino.check(Precision::Bf16).is_ok(), has_bf16());
        let error = Provider::Cpu.check(Precision::Bf16).expect_err("refused").to_string();
        assert!(error.contains("bf16") && error.contains("openvino"), "{error}");
        for provider in [Provider::Cpu, Provider::OpenVino] {
            let error = provider.check(Precision::F16).expect_err("refused").to_string();
            assert!(error.contains("`cuda`") && error.contains(provider.name()), "{error}");
        }
        assert!(Provider::Cuda.check(Precision::F16).is_ok());
        assert_eq!(Provider::Cuda.graph_file(Precision::F16), "model.f16.onnx");
        assert!(Provider::Cuda.check(Precision::Int8).is_err() && Provider::Cuda.check(Precision::Bf16).is_err());
    }
}
