//! Cross-encoders: both texts are read at once; the head turns logits into one score.

use crate::executor::{Backend, Ready};
use crate::model::encoder::Encoder;
use crate::model::registry::{Head, ScoringFacts};
use crate::model::tokenizer::Encoding;
use anyhow::{Result, anyhow, bail, ensure};

/// How the logits of a row become its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreHead {
    /// The only logit.
    Logit,
    /// Its logistic function.
    Sigmoid,
    /// Softmax probability of one column, which was found by its label's name.
    Probability {
        /// Column of the label.
        column: usize,
        /// Number of labels.
        labels: usize,
    },
}

impl ScoreHead {
    /// The head that a model's facts describe.
    pub fn new(facts: &ScoringFacts) -> Result<Self> {
        match facts.head {
            Some(Head::Logit) => Ok(Self::Logit),
            Some(Head::Sigmoid) => Ok(Self::Sigmoid),
            Some(Head::Probability) => {
                Ok(Self::Probability { column: facts.target_column()?, labels: facts.labels.len() })
            }
            None => Err(anyhow!("`scoring.head` is missing")),
        }
    }

    /// Score of one row of logits.
    pub fn score(self, logits: &[f32]) -> Result<f64> {
        ensure!(logits.iter().all(|logit| logit.is_finite()), "the evaluator returned NaN or infinite logits");
        match (self, logits) {
            (Self::Logit, [logit]) => Ok(f64::from(*logit)),
            (Self::Sigmoid, [logit]) => Ok(1.0 / (1.0 + (-f64::from(*logit)).exp())),
            (Self::Probability { column, labels }, logits) if logits.len() == labels => {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mass = |logit: f32| f64::from(logit - largest).exp();
                Ok(mass(logits[column]) / logits.iter().map(|&logit| mass(logit)).sum::<f64>())
            }
            (Self::Probability { labels, .. }, logits) => {
                bail!("the graph returned {} logits per row, the registry lists {labels} labels", logits.len())
            }
            (_, logits) => bail!("the graph returned {} logits per row, this head reads one", logits.len()),
        }
    }
}

/// A cross-encoder as the executor's backend: one score per pair.
pub struct CrossEncoder {
    /// The graph.
    pub encoder: Encoder,
    /// What becomes of its logits.
    pub head: ScoreHead,
}

impl Backend for CrossEncoder {
    type Output = f64;

    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<f64>>> {
        let batch: Vec<&Encoding> = rows.iter().map(|row| &row.encoding).collect();
        let encoded = self.encoder.forward(&batch)?;
        let columns = encoded.data.len() / rows.len().max(1);
        Ok(encoded.data.chunks(columns.max(1)).map(|logits| self.head.score(logits)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_on_known_logits() {
        for (head, logits, expected) in [
            (ScoreHead::Logit, vec![-1.5], -1.5),
            (ScoreHead::Sigmoid, vec![0.0], 0.5),
            (ScoreHead::Probability { column: 1, labels: 2 }, vec![0.0, 3_f32.ln()], 0.75),
        ] {
            assert!((head.score(&logits).expect("score") - expected).abs() < 1e-7, "{head:?}");
        }
    }

    #[test]
    fn wrong_widths_and_nan_are_errors() {
        assert!(ScoreHead::Logit.score(&[1.0, 2.0]).is_err());
        assert!(ScoreHead::Probability { column: 0, labels: 3 }.score(&[1.0, 2.0]).is_err());
        assert!(ScoreHead::Sigmoid.score(&[f32::NAN]).is_err());
    }
}
