//! Encoder graphs (bi- and cross-encoders): a padded batch of token ids in, one float tensor out.

use super::cuda;
use super::manifest::Exported;
use super::provider::Provider;
use super::registry::{Architecture, Model, Registry};
use super::session::{Session, SessionOptions, failed_to_load, view_f32};
use super::tokenizer::Encoding;
use anyhow::{Context, Result, ensure};

/// Token id used for padding; masked out, so its value never matters.
const PADDING: i64 = 0;

/// Output of a bi-encoder's graph that pools by itself, as sentence-transformers names it.
const SENTENCE_VECTORS: &str = "sentence_embedding";

/// Tokens of every row of a batch after padding: the graph's fixed length, or that of the longest row, rounded up to a
/// multiple of `step`.
#[must_use]
pub fn padded_width(longest: usize, fixed_length: Option<usize>, step: usize) -> usize {
    fixed_length.unwrap_or_else(|| longest.next_multiple_of(step.max(1)))
}

/// A loaded encoder.
pub struct Encoder {
    session: Session,
    output: String,
    fixed_length: Option<usize>,
    width_step: usize,
    takes_type_ids: bool,
}

/// The tensor that an encoder returned for a batch, and which positions were real.
pub struct Encoded<'a> {
    /// Values, row after row.
    pub data: &'a [f32],
    /// Dimensions; the first one is the batch.
    pub shape: Vec<usize>,
    /// Valid tokens of each row.
    pub lengths: Vec<usize>,
}

impl Encoder {
    /// Loads the graph of an exported encoder and finds the output to read.
    pub fn open(registry: &Registry, model: &Model, options: SessionOptions) -> Result<Self> {
        let exported = Exported::open(registry, model)?;
        let graph = options.provider.graph_file(options.precision);
        ensure!(
            exported.manifest.files.contains_key(graph),
            "model `{}` has no `{graph}`, which the provider `{}` computes at precision `{}`",
            model.key,
            options.provider.name(),
            options.precision.name()
        );
        let path = exported.file(graph);
        let session = Session::open(&path, options)?;
        if options.provider == Provider::Cuda {
            cuda::load_cudnn().with_context(|| failed_to_load(&path, options.provider))?;
        }
        let facts = model.scoring_facts().with_context(|| format!("model `{}`", model.key))?;
        let output = output_to_read(facts.output.as_deref(), session.outputs(), model.architecture).to_owned();
        ensure!(
            session.outputs().contains(&output),
            "model `{}`: its graph has no output `{output}`; it has {}",
            model.key,
            session.outputs().join(", ")
        );
        for input in session.inputs() {
            ensure!(
                ["input_ids", "attention_mask", "token_type_ids"].contains(&input.as_str()),
                "model `{}`: its graph wants an input `{input}`, which poq does not know",
                model.key
            );
        }
        let takes_type_ids = session.inputs().iter().any(|input| input == "token_type_ids");
        Ok(Self {
            session,
            output,
            fixed_length: model.fixed_length,
            width_step: options.provider.width_step(options.precision),
            takes_type_ids,
        })
    }

    /// Whether the graph pools by itself: its output has one vector per row and not one per token.
    #[must_use]
    pub fn pools(&self) -> bool {
        self.output == SENTENCE_VECTORS
    }

    /// Runs a batch and hands its output to `read`: rows are right-padded to the longest, or to the graph's fixed length.
    pub fn forward<R>(&mut self, rows: &[&Encoding], read: impl FnOnce(&Encoded<'_>) -> Result<R>) -> Result<R> {
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let width = padded_width(longest, self.fixed_length, self.width_step);
        ensure!(longest <= width, "a row has {longest} tokens, the graph takes {width}; this is a bug");
        let shape = [rows.len(), width];
        let mut ids = vec![PADDING; rows.len() * width];
        let mut mask = vec![0_i64; rows.len() * width];
        let mut types = vec![0_i64; if self.takes_type_ids { rows.len() * width } else { 0 }];
        for (i, row) in rows.iter().enumerate() {
            let start = i * width;
            for (j, &id) in row.ids.iter().enumerate() {
                ids[start + j] = i64::from(id);
                mask[start + j] = 1;
            }
            if self.takes_type_ids {
                for (j, &kind) in row.type_ids.iter().enumerate() {
                    types[start + j] = i64::from(kind);
                }
            }
        }
        let mut inputs = vec![("input_ids", ids), ("attention_mask", mask)];
        if self.takes_type_ids {
            inputs.push(("token_type_ids", types));
        }
        let lengths = rows.iter().map(|row| row.ids.len()).collect();
        self.session.run_for(shape, inputs, &self.output, |value| {
            let (shape, data) = view_f32(value)?;
            ensure!(shape.first() == Some(&rows.len()), "`{}` has not one row per input row", self.output);
            read(&Encoded { data, shape, lengths })
        })
    }

    /// Keeps input tensors in this memory.
    #[cfg(test)]
    pub(super) fn keep_inputs(&mut self, memory: super::memory::Memory) {
        self.session.keep_inputs(memory);
    }

    /// Shapes of input tensors that are kept.
    #[cfg(test)]
    pub(super) fn kept_shapes(&self) -> usize {
        self.session.kept_shapes()
    }
}

/// The output that the registry names, or else the first; but sentence vectors where a bi-encoder's graph has them in the
/// place of what the registry names, as graphs for GPUs do. `export/poq_export/pooling.py` decides in the same way.
fn output_to_read<'o>(named: Option<&'o str>, outputs: &'o [String], architecture: Architecture) -> &'o str {
    let has = |name: &str| outputs.iter().any(|output| output == name);
    match named {
        Some(name) if architecture == Architecture::BiEncoder && !has(name) && has(SENTENCE_VECTORS) => {
            SENTENCE_VECTORS
        }
        Some(name) => name,
        None => outputs.first().map_or("", String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_vectors_are_read_only_in_the_place_of_what_the_registry_names() {
        let outputs = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let (tokens, sentences) = ("last_hidden_state", SENTENCE_VECTORS);
        let (bi, cross) = (Architecture::BiEncoder, Architecture::CrossEncoder);
        for (named, there, architecture, read) in [
            (Some(tokens), outputs(&[tokens]), bi, tokens),
            (Some(tokens), outputs(&[sentences]), bi, sentences),
            (Some(tokens), outputs(&[tokens, sentences]), bi, tokens),
            (Some(tokens), outputs(&["other"]), bi, tokens),
            (None, outputs(&["first", sentences]), bi, "first"),
            (None, outputs(&[sentences]), bi, sentences),
            (Some("logits"), outputs(&[sentences]), cross, "logits"),
            (None, outputs(&[]), bi, ""),
        ] {
            assert_eq!(output_to_read(named, &there, architecture), read, "{named:?} of {there:?}");
        }
    }
}
