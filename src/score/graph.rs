//! Evaluator graphs as the executor's backends: one vector per text (bi-encoders) or the logits of each pair
//! (cross-encoders).

use super::pooling::pool;
use crate::executor::job::Text;
use crate::executor::{Backend, Ready, Tokenise};
use crate::model::encoder::{Encoded, Encoder};
use crate::model::registry::{Architecture, Model, Pooling, Registry};
use crate::model::session::SessionOptions;
use crate::model::tokenizer::{Encoding, Tokenizer};
use anyhow::{Result, bail, ensure};

/// A loaded evaluator graph.
pub struct Graph {
    encoder: Encoder,
    readout: Readout,
}

/// What is taken from the graph's output.
#[derive(Debug, Clone, Copy)]
enum Readout {
    /// One sentence vector per row.
    Vector(Pooling),
    /// One row of logits per row.
    Logits,
}

impl Graph {
    /// Loads a session of an exported evaluator.
    pub fn open(registry: &Registry, model: &Model, options: SessionOptions) -> Result<Self> {
        let readout = match (model.architecture, model.scoring_facts()?.pooling) {
            (Architecture::BiEncoder, Some(pooling)) => Readout::Vector(pooling),
            (Architecture::CrossEncoder, _) => Readout::Logits,
            _ => bail!("model `{}` is not an evaluator that poq can run", model.key),
        };
        let encoder = Encoder::open(registry, model, options)?;
        let readout = match readout {
            Readout::Vector(_) if encoder.pools() => Readout::Vector(Pooling::None),
            readout => readout,
        };
        Ok(Self { encoder, readout })
    }
}

impl Backend for Graph {
    type Output = Vec<f32>;

    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<Vec<f32>>>> {
        let batch: Vec<&Encoding> = rows.iter().map(|row| &row.encoding).collect();
        let readout = self.readout;
        let values = self.encoder.forward(&batch, |encoded| match readout {
            Readout::Vector(pooling) => pool(encoded, pooling),
            Readout::Logits => logits(encoded),
        })?;
        Ok(values.into_iter().map(check_finite).collect())
    }
}

fn logits(encoded: &Encoded<'_>) -> Result<Vec<Vec<f32>>> {
    let &[rows, labels] = &encoded.shape[..] else {
        bail!("the output has {} dimensions, logits have two", encoded.shape.len());
    };
    ensure!(labels > 0, "the graph returned no logits");
    let values: Vec<Vec<f32>> = encoded.data.chunks_exact(labels).map(<[f32]>::to_vec).collect();
    ensure!(values.len() == rows, "the graph returned {} rows of logits for {rows}", values.len());
    Ok(values)
}

fn check_finite(values: Vec<f32>) -> Result<Vec<f32>> {
    ensure!(values.iter().all(|value| value.is_finite()), "the evaluator returned NaN or infinite values");
    Ok(values)
}

impl Tokenise for Tokenizer {
    /// One text or a pair, with the model's own special tokens and its truncation.
    fn tokenise(&self, text: &Text) -> Result<Encoding> {
        let encoding = match text {
            Text::One(text) => self.encode(text, true)?,
            Text::Pair(first, second) => self.encode_pair(first, second)?,
        };
        if encoding.ids.is_empty() {
            bail!("the text has no tokens");
        }
        Ok(encoding)
    }
}
