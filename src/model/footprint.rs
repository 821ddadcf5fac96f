//! What a model takes to bring and to run: bytes to fetch, on disk, in memory and on the card, estimated beforehand.
//!
//! `export/poq_export/footprint.py` computes the same for its preflight; `tests/expected/footprints.json` holds the two
//! together.

use super::registry::{Architecture, Model};
use serde::{Deserialize, Serialize};

/// What poq takes beside weights: libraries, tokenizer, activations of a batch.
const PROCESS: u64 = 1_000_000_000;
/// What an export takes beside weights: libraries, and logits of every position of the gate's inputs.
const EXPORT: u64 = 2_000_000_000;
/// What a card takes beside weights: context and kernels, activations, and the cache of some short rows.
const CARD: u64 = 2_000_000_000;

/// Whose build of ONNX Runtime a model is exported for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFor {
    /// Runs on the processor.
    Cpu,
    /// Runs on a card of NVIDIA's; decoders in half precision, in a directory of their own.
    Cuda,
}

/// Estimates in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Exported graphs on disk.
    pub export_disk: u64,
    /// Peak memory while it is exported and passes its gate.
    pub export_ram: u64,
    /// Peak memory of poq with this model loaded.
    pub run_ram: u64,
    /// Memory of the card with this model loaded; none on the processor.
    pub run_gpu: Option<u64>,
}

/// Bytes to fetch: the sum of the published sizes, and whether the registry gives all of them.
#[must_use]
pub fn download_bytes(model: &Model) -> (u64, bool) {
    let sizes = model.artifacts.iter().map(|artifact| artifact.bytes);
    let complete = sizes.clone().all(|size| size.is_some());
    (sizes.flatten().sum(), complete)
}

/// Estimates from the number of parameters and the precision; none where the registry does not give the parameters.
///
/// With `w` the bytes of the graph that runs and `f` those of the weights in f32:
///
/// - `export_disk` = the sum of the graphs: parameters × bits / 8, with 32 bits in f32, 16 in f16 and bf16, 12 in int8 and 9
///   in int4 (tables of decoders stay wider); of an encoder's variants 16 in `model.f16.onnx`, 8 in `model.int8.onnx`, 21 in
///   `model.w8.onnx`.
/// - `export_ram` = max(2 `w`, `f`) + 2 GB: the gate's runtime maps the graph and repacks its weights; the reference
///   implementation holds them in f32. The export of `smollm2_135m`, 0.54 GB in f32, was measured to take 3.0 GB.
/// - `run_ram` = 2 `w` + 1 GB on the processor, `w` + 1 GB where the weights pass through on their way to the card.
/// - `run_gpu` = 1.1 `w` + 2 GB. What the card has beyond is used for the keys and values of more rows.
#[must_use]
pub fn footprint(model: &Model, provider: ExportFor) -> Option<Footprint> {
    let parameters = model.parameters?;
    let weights = |bits: u64| parameters * bits / 8;
    let listed = |file: &str| model.files.iter().any(|known| known == file);
    let half = provider == ExportFor::Cuda && model.architecture == Architecture::Decoder;
    let precision = match model.export.as_ref().and_then(|export| export.cuda_precision) {
        Some(precision) if half => precision.name(),
        _ => &model.precision,
    };
    let graph = weights(bits(precision)?);
    let runs = if provider == ExportFor::Cuda && listed("model.f16.onnx") { weights(16) } else { graph };
    let variants = [("model.f16.onnx", 16), ("model.int8.onnx", 8), ("model.w8.onnx", 21)];
    let beside: u64 = variants.iter().filter(|(file, _)| listed(file)).map(|(_, bits)| weights(*bits)).sum();
    Some(Footprint {
        export_disk: graph + beside,
        export_ram: (2 * graph).max(weights(32)) + EXPORT,
        run_ram: if provider == ExportFor::Cuda { runs } else { 2 * runs } + PROCESS,
        run_gpu: (provider == ExportFor::Cuda).then(|| runs + runs / 10 + CARD),
    })
}

/// Bits that a parameter takes in a graph, with the share of tables that stay wider.
fn bits(precision: &str) -> Option<u64> {
    match precision {
        "f32" => Some(32),
        "bf16" | "f16" => Some(16),
        "int8" => Some(12),
        "int4" => Some(9),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        architecture: Architecture,
        precision: String,
        cuda_precision: Option<crate::model::registry::CudaPrecision>,
        parameters: Option<u64>,
        files: Vec<String>,
        cpu: Option<Footprint>,
        cuda: Option<Footprint>,
    }

    fn toy(architecture: Architecture) -> Model {
        let text = r#"
            key = "toy"
            pool = "tiny"
            role = "inference"
            architecture = "decoder"
            precision = "f32"
            name = "toy"
            upstream = "maker/toy"
            licence = "MIT"
            max_length = 8
            files = ["model.onnx"]
            export = { recipe = "checkpoint_decoder", logit_tolerance = 0.1 }
            artifact = [{ name = "a", source = [{ kind = "hub", repo = "maker/toy", revision = "0", file = "a" }] }]
        "#;
        Model { architecture, ..toml::from_str(text).unwrap() }
    }

    #[test]
    fn both_programs_estimate_alike() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected/footprints.json");
        let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(cases.len() > 5);
        for case in cases {
            let mut model = toy(case.architecture);
            model.precision = case.precision;
            model.parameters = case.parameters;
            model.files = case.files;
            if let Some(export) = &mut model.export {
                export.cuda_precision = case.cuda_precision;
            }
            assert_eq!(footprint(&model, ExportFor::Cpu), case.cpu, "{model:?}");
            assert_eq!(footprint(&model, ExportFor::Cuda), case.cuda, "{model:?}");
        }
    }

    #[test]
    fn the_download_is_the_sum_of_what_is_published() {
        let mut model = toy(Architecture::Decoder);
        let artifact = model.artifacts[0].clone();
        model.artifacts =
            [Some(7), Some(5)].map(|bytes| crate::model::registry::Artifact { bytes, ..artifact.clone() }).to_vec();
        assert_eq!(download_bytes(&model), (12, true));
        model.artifacts[0].bytes = None;
        assert_eq!(download_bytes(&model), (5, false));
    }
}
