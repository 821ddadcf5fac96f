//! Input tensors that are kept on a device: allocated once for each input and shape, filled anew for every batch.
//!
//! ONNX Runtime would otherwise find room on the device for every input of every batch. The planner makes few shapes (full
//! batches have as many rows as the budget allows, and widths are rounded up at the CUDA provider), so a few buffers serve
//! them all. Which memory it is does not matter here: the tests use the host's.

use super::memory::Memory;
use anyhow::Result;
use ort::value::{DynTensor, TensorElementType};

/// Shapes that are kept; the one that was used longest ago makes room. Every width up to 512 in steps of 8 fits. A shape of the
/// largest batch, 16,384 tokens, takes 384 KiB for its three inputs, so all take 24 MiB at most.
const KEPT_SHAPES: usize = 64;

/// Kept tensors of one session.
pub(super) struct InputBuffers {
    /// The one that was used last stands at the end.
    kept: Vec<Buffers>,
    memory: Memory,
}

/// The inputs of one shape, in the order in which the caller names them.
struct Buffers {
    shape: [usize; 2],
    inputs: Vec<(String, DynTensor)>,
}

impl InputBuffers {
    /// No buffer yet, and where they will be.
    pub(super) fn new(memory: Memory) -> Self {
        Self { kept: Vec::new(), memory }
    }

    /// Copies the inputs of a batch to their buffers and returns these.
    pub(super) fn fill(&mut self, shape: [usize; 2], inputs: Vec<(&str, Vec<i64>)>) -> Result<&[(String, DynTensor)]> {
        let found = self.kept.iter().position(|buffers| buffers.shape == shape);
        let mut buffers = match found {
            Some(place) => self.kept.remove(place),
            None => self.allocate(shape, &inputs)?,
        };
        for ((_, buffer), (_, data)) in buffers.inputs.iter_mut().zip(inputs) {
            self.memory.upload(&data, buffer)?;
        }
        self.kept.push(buffers);
        Ok(self.kept.last().map_or(&[], |buffers| &buffers.inputs))
    }

    /// Shapes that are kept.
    #[cfg(test)]
    pub(super) fn shapes(&self) -> usize {
        self.kept.len()
    }

    fn allocate(&mut self, shape: [usize; 2], inputs: &[(&str, Vec<i64>)]) -> Result<Buffers> {
        if self.kept.len() == KEPT_SHAPES {
            self.kept.remove(0);
        }
        let tensor = |&(name, _): &(&str, Vec<i64>)| {
            Ok((name.to_owned(), self.memory.tensor(TensorElementType::Int64, &shape)?))
        };
        Ok(Buffers { shape, inputs: inputs.iter().map(tensor).collect::<Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::encoder::Encoder;
    use crate::model::provider::Provider;
    use crate::model::registry::{Registry, Role};
    use crate::model::runtime;
    use crate::model::session::SessionOptions;
    use crate::model::tokenizer::Encoding;
    use std::path::Path;

    fn at(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    fn row(length: usize, seed: usize) -> Encoding {
        let ids = (0..length).map(|i| 5 + ((i * 7 + seed * 13) % 40) as u32).collect();
        Encoding { ids, type_ids: (0..length).map(|i| u32::from(i > length / 2)).collect(), truncated: false }
    }

    #[test]
    fn kept_buffers_change_no_output() {
        runtime::load(&at("models"), Provider::Cpu).expect("`just runtime` brings the library");
        let registry = Registry::open(&at("tests/fixtures/tiny")).expect("registry");
        for key in ["tiny_bi", "tiny_nli"] {
            let model = registry.get(key, Role::Evaluator).expect("known");
            let open = || Encoder::open(&registry, model, SessionOptions::cpu(1, false)).expect("loads");
            let (mut plain, mut kept) = (open(), open());
            kept.keep_inputs(Memory::Host);
            // Shapes come back with other texts, in another order, and after more shapes than are kept.
            let shapes = (1..=KEPT_SHAPES + 9).map(|width| (2, width)).chain([(2, 3), (5, 3), (2, 7), (5, 3), (1, 1)]);
            for (seed, (rows, width)) in shapes.enumerate() {
                let texts: Vec<Encoding> = (0..rows).map(|i| row(width.saturating_sub(i).max(1), seed + i)).collect();
                let texts: Vec<&Encoding> = texts.iter().collect();
                let mut outputs = Vec::new();
                for encoder in [&mut plain, &mut kept] {
                    outputs.push(encoder.forward(&texts, |encoded| Ok(encoded.data.to_vec())).expect("infers"));
                }
                assert_eq!(outputs[0], outputs[1], "{key}: {rows} rows of {width}");
            }
            assert_eq!(kept.kept_shapes(), KEPT_SHAPES);
        }
    }
}
