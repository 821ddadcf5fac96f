//! Bi-encoders: each text becomes one vector; a pair's score is the cosine.

use super::pooling::pool;
use crate::executor::job::Text;
use crate::executor::{Backend, Ready, Tokenise};
use crate::model::encoder::Encoder;
use crate::model::registry::Pooling;
use crate::model::tokenizer::{Encoding, Tokenizer};
use anyhow::{Result, bail, ensure};

/// An encoder with its pooling, as the executor's backend: one sentence vector per text.
pub struct BiEncoder {
    /// The graph.
    pub encoder: Encoder,
    /// How token vectors become one.
    pub pooling: Pooling,
}

impl Backend for BiEncoder {
    type Output = Vec<f32>;

    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<Vec<f32>>>> {
        let batch: Vec<&Encoding> = rows.iter().map(|row| &row.encoding).collect();
        let vectors = pool(&self.encoder.forward(&batch)?, self.pooling)?;
        Ok(vectors.into_iter().map(check_finite).collect())
    }
}

fn check_finite(vector: Vec<f32>) -> Result<Vec<f32>> {
    ensure!(vector.iter().all(|value| value.is_finite()), "the evaluator returned a NaN or infinite embedding");
    Ok(vector)
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
