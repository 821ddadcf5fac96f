//! How what a graph returned becomes one raw score: a cosine of two vectors, or a head over one row of logits.

use super::pooling::cosine;
use crate::model::registry::{Architecture, Head, Model, ScoringFacts};
use anyhow::{Result, anyhow, bail, ensure};

/// The rule of one evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Cosine of the two texts' vectors (bi-encoders).
    Cosine,
    /// A head over the logits of the pair (cross-encoders).
    Head(ScoreHead),
}

/// How the logits of a pair become its score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreHead {
    /// One logit: the only one, or that of a label.
    Logit(Column),
    /// The logistic function of that logit.
    Sigmoid(Column),
    /// Softmax probability of a label.
    Probability(Column),
    /// Softmax probability of one label less that of another, by column.
    Difference {
        /// The label that counts for the answer.
        plus: Column,
        /// Column of the label that counts against it.
        minus: usize,
    },
}

/// A column of the logits, which was found by its label's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its place.
    pub index: usize,
    /// Columns there must be.
    pub of: usize,
}

impl Rule {
    /// The rule that a model's facts describe.
    pub fn new(model: &Model) -> Result<Self> {
        match model.architecture {
            Architecture::BiEncoder => Ok(Self::Cosine),
            Architecture::CrossEncoder => Ok(Self::Head(ScoreHead::new(model.scoring_facts()?)?)),
            Architecture::Decoder => bail!("a decoder is no evaluator"),
        }
    }

    /// The score of what was returned for a pair: the vectors of its two texts, or its logits alone.
    pub fn score(self, returned: &[&[f32]]) -> Result<f64> {
        match (self, returned) {
            (Self::Cosine, [a, b]) => {
                ensure!(
                    a.len() == b.len(),
                    "two embeddings have {} and {} dimensions; this is a bug",
                    a.len(),
                    b.len()
                );
                cosine(a, b).ok_or_else(|| anyhow!("an embedding is all zeros: the cosine is not defined"))
            }
            (Self::Head(head), [logits]) => head.score(logits),
            _ => bail!("{} values for one pair; this is a bug", returned.len()),
        }
    }
}

impl ScoreHead {
    fn new(facts: &ScoringFacts) -> Result<Self> {
        let of = facts.labels.len().max(1);
        let target = || Ok::<_, anyhow::Error>(Column { index: facts.target_column()?, of });
        let only = Column { index: 0, of: 1 };
        let logit = || if facts.labels.len() > 1 { target() } else { Ok(only) };
        match facts.head {
            Some(Head::Logit) => Ok(Self::Logit(logit()?)),
            Some(Head::Sigmoid) => Ok(Self::Sigmoid(logit()?)),
            Some(Head::Probability) => Ok(Self::Probability(target()?)),
            Some(Head::Difference) => Ok(Self::Difference { plus: target()?, minus: facts.minus_column()? }),
            None => Err(anyhow!("`scoring.head` is missing")),
        }
    }

    fn column(self) -> Column {
        match self {
            Self::Logit(column) | Self::Sigmoid(column) | Self::Probability(column) => column,
            Self::Difference { plus, .. } => plus,
        }
    }

    /// Score of one row of logits.
    pub fn score(self, logits: &[f32]) -> Result<f64> {
        let Column { index, of } = self.column();
        ensure!(
            logits.len() == of,
            "the graph returned {} logits per row, the registry knows of {of}: `scoring.labels`",
            logits.len()
        );
        ensure!(logits.iter().all(|logit| logit.is_finite()), "the evaluator returned NaN or infinite logits");
        let logit = f64::from(logits[index]);
        Ok(match self {
            Self::Logit(_) => logit,
            Self::Sigmoid(_) => 1.0 / (1.0 + (-logit).exp()),
            Self::Probability(_) => probability(logits, index),
            Self::Difference { minus, .. } => probability(logits, index) - probability(logits, minus),
        })
    }
}

fn probability(logits: &[f32], column: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mass = |logit: f32| f64::from(logit - largest).exp();
    mass(logits[column]) / logits.iter().map(|&logit| mass(logit)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_on_known_logits() {
        let one = Column { index: 0, of: 1 };
        let three = [0.0, 3_f32.ln(), 0.0];
        let second = Column { index: 1, of: 3 };
        for (head, logits, expected) in [
            (ScoreHead::Logit(one), &[-1.5][..], -1.5),
            (ScoreHead::Logit(second), &[-1.5, 4.0, 2.0], 4.0),
            (ScoreHead::Sigmoid(one), &[0.0], 0.5),
            (ScoreHead::Probability(second), &three, 0.6),
            (ScoreHead::Difference { plus: second, minus: 2 }, &three, 0.4),
        ] {
            assert!((head.score(logits).expect("score") - expected).abs() < 1e-7, "{head:?}");
        }
    }

    #[test]
    fn wrong_widths_and_nan_are_errors() {
        let one = Column { index: 0, of: 1 };
        assert!(ScoreHead::Logit(one).score(&[1.0, 2.0]).is_err());
        assert!(ScoreHead::Probability(Column { index: 0, of: 3 }).score(&[1.0, 2.0]).is_err());
        assert!(ScoreHead::Sigmoid(one).score(&[f32::NAN]).is_err());
        let error = Rule::Cosine.score(&[&[0.0, 0.0], &[1.0, 0.0]]).expect_err("no direction").to_string();
        assert!(error.contains("all zeros"), "{error}");
    }
}
