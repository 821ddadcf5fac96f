//! The quality dimensions of arXiv 2603.04028 for every answer of a run. Their names and what they are about are the
//! paper's, as far as they are known; the definitions are ours, and the README lists them.

use super::Evaluator;
use super::answers::{Answer, Answers};
use super::calibrate::Half;
use super::structure::structure;
use crate::profile::INFERENCE;
use crate::score::normalise::normalise;
use crate::score::scale::SCALE;
use crate::statistics::mean;
use crate::store::rows::ProfileRow;
use anyhow::{Context, Result};
use std::collections::{BTreeSet, HashMap};

/// How many dimensions there are.
pub const DIMENSIONS: usize = 6;

/// What `source` says where a signal has nothing to be computed from.
const NOTHING: &str = "none";

/// A quality dimension; as a number, its place in [`Dimension::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// What the model's answers to other records are worth.
    ModelPrior,
    /// How cheap the model is.
    CostPrior,
    /// Form of the answer.
    Structure,
    /// Closeness to the reference, by bi-encoders.
    Semantic,
    /// Closeness to what was asked.
    Alignment,
    /// How much the evaluators agree.
    Agreement,
}

impl Dimension {
    /// Every dimension, in the order of tables.
    pub const ALL: [Self; DIMENSIONS] =
        [Self::ModelPrior, Self::CostPrior, Self::Structure, Self::Semantic, Self::Alignment, Self::Agreement];

    /// The name that tables and settings use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ModelPrior => "model_prior",
            Self::CostPrior => "cost_prior",
            Self::Structure => "structure",
            Self::Semantic => "semantic",
            Self::Alignment => "alignment",
            Self::Agreement => "agreement",
        }
    }

    /// The dimension of this name.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == name).with_context(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|dimension| dimension.name()).collect();
            format!("`{name}` is no quality dimension; there are {}", known.join(", "))
        })
    }
}

/// One signal of every answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// What it was computed from.
    pub source: String,
    /// In [0, 1], one per answer, or why there is none.
    pub values: Vec<Result<f64, String>>,
}

impl Signal {
    /// A signal of answers; what has no answer has no signal.
    pub fn of<'a>(
        answers: &Answers<'a>,
        source: String,
        mut value: impl FnMut(usize, &Answer<'a>, &'a str) -> Result<f64, String>,
    ) -> Self {
        let rows = answers.rows.iter().enumerate();
        Self { source, values: rows.map(|(row, answer)| value(row, answer, answer.output()?)).collect() }
    }

    /// The values alone.
    #[must_use]
    pub fn present(&self) -> Vec<Option<f64>> {
        self.values.iter().map(|value| value.as_ref().ok().copied()).collect()
    }
}

/// Every dimension of every answer, in the order of [`Dimension::ALL`]. `halves` is the half that each answer's record is in.
#[must_use]
pub fn dimensions(
    answers: &Answers,
    evaluators: &[Evaluator],
    profile: &[ProfileRow],
    halves: &[Half],
) -> [Signal; DIMENSIONS] {
    let keys = |wanted: fn(&Evaluator) -> bool| -> Vec<&str> {
        evaluators.iter().filter(|e| wanted(e) && answers.scorer(&e.key).is_some()).map(|e| e.key.as_str()).collect()
    };
    let paid = keys(|evaluator| evaluator.paid);
    [
        model_prior(answers, &paid, halves),
        cost_prior(answers, profile),
        structure_of(answers),
        semantic(answers, &keys(|evaluator| evaluator.bi_encoder && !evaluator.reads_input)),
        alignment(answers, &keys(|evaluator| evaluator.reads_input)),
        agreement_of(answers, &paid),
    ]
}

/// Mean normalised score of these evaluators in [0, 1], those without a score left out: Equation 1 for all of them at once.
/// Null where none has a score.
#[must_use]
pub fn consensus(answers: &Answers, keys: &[&str], row: usize) -> Option<f64> {
    mean(answers.scores(keys, row)).map(unit)
}

/// Mean consensus of the model's answers to the records of the same task type in the other half of the split: nothing of
/// the answer's own record goes in, and what a held-out answer gets is known from the half of the fit. (The mean over all
/// records but one would not do: within a model it falls as the left-out score rises, with a correlation of -1.)
fn model_prior(answers: &Answers, paid: &[&str], halves: &[Half]) -> Signal {
    let mut sums: HashMap<(&str, &str, Half), (f64, usize)> = HashMap::new();
    for (row, (answer, half)) in answers.rows.iter().zip(halves).enumerate() {
        if let Some(quality) = consensus(answers, paid, row) {
            let (sum, count) = sums.entry((answer.task_type(), answer.generation.model.as_str(), *half)).or_default();
            *sum += quality;
            *count += 1;
        }
    }
    Signal::of(answers, source(paid), |row, answer, _| {
        let other = (answer.task_type(), answer.generation.model.as_str(), halves[row].other());
        let (sum, count) =
            sums.get(&other).ok_or("the records of the other half hold no scored answer of this model")?;
        Ok(sum / *count as f64)
    })
}

/// 1 - C with C in [0, 1] from the profile.
fn cost_prior(answers: &Answers, profile: &[ProfileRow]) -> Signal {
    let mut costs: HashMap<&str, Option<f64>> = HashMap::new();
    for row in profile.iter().filter(|row| row.node_type == INFERENCE) {
        // A node's first row is the one that its cost comes from.
        costs.entry(&row.node).or_insert_with(|| row.latency_ms_mean.map(|_| row.cost_norm));
    }
    Signal::of(answers, "profile".to_owned(), |_, answer, _| {
        let model = answer.generation.model.as_str();
        let cost = costs.get(model).ok_or_else(|| format!("`{model}` is not in the profile"))?;
        cost.map(|cost| (1.0 - cost).clamp(0.0, 1.0)).ok_or_else(|| format!("nobody knows the latency of `{model}`"))
    })
}

fn structure_of(answers: &Answers) -> Signal {
    Signal::of(answers, "rules".to_owned(), |_, answer, output| {
        Ok(structure(output, answer.generation.finish_reason.as_deref(), answer.task_type()))
    })
}

/// Mean normalised score of the bi-encoders that read the reference.
fn semantic(answers: &Answers, keys: &[&str]) -> Signal {
    Signal::of(answers, source(keys), |row, _, _| {
        if keys.is_empty() {
            return Err("the run has no bi-encoder that reads the reference".to_owned());
        }
        consensus(answers, keys, row).ok_or_else(|| format!("no score by {}", keys.join(", ")))
    })
}

/// Mean normalised score of the evaluators that read the input instead of the reference; the overlap of words where the run
/// has none.
fn alignment(answers: &Answers, keys: &[&str]) -> Signal {
    if !keys.is_empty() {
        return Signal::of(answers, source(keys), |row, _, _| {
            consensus(answers, keys, row).ok_or_else(|| format!("no score by {}", keys.join(", ")))
        });
    }
    // Answers to one task stand together, and its input is the longer text.
    let mut known: Option<(&str, BTreeSet<String>)> = None;
    Signal::of(answers, "word_overlap".to_owned(), |_, answer, output| {
        let task = answer.task;
        let (_, input) = match known.take().filter(|(id, _)| *id == task.task_id) {
            Some(known_input) => known.insert(known_input),
            None => known.insert((&task.task_id, words(&task.input))),
        };
        word_overlap(input, &words(output)).ok_or_else(|| "the input has no words".to_owned())
    })
}

fn agreement_of(answers: &Answers, paid: &[&str]) -> Signal {
    Signal::of(answers, source(paid), |row, _, _| {
        let scores = answers.scores(paid, row);
        agreement(&scores).ok_or_else(|| format!("agreement takes two scores; there are {}", scores.len()))
    })
}

/// Distinct words of a text as `SQuAD`'s evaluation compares them: lower case, without punctuation and articles.
#[must_use]
pub fn words(text: &str) -> BTreeSet<String> {
    normalise(text).split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Overlap coefficient (Szymkiewicz-Simpson) of two sets of words, `|A and B| / min(|A|, |B|)` in [0, 1]: for an answer
/// shorter than its input, the share of its words that the input has. An answer without words shares none: 0. Null for
/// an input without words.
#[must_use]
pub fn word_overlap(input: &BTreeSet<String>, output: &BTreeSet<String>) -> Option<f64> {
    if input.is_empty() {
        return None;
    }
    let shared = output.iter().filter(|word| input.contains(*word)).count();
    Some(shared as f64 / input.len().min(output.len()).max(1) as f64)
}

/// 1 - sd / 5 in [0, 1], where sd is the standard deviation (of a population) of normalised scores in 0..10 and 5 the
/// largest that there can be: half of them 0, half of them 10. Null for fewer than two scores.
#[must_use]
pub fn agreement(scores: &[f64]) -> Option<f64> {
    if scores.len() < 2 {
        return None;
    }
    let mean = mean(scores)?;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / scores.len() as f64;
    Some((1.0 - variance.sqrt() / (SCALE / 2.0)).clamp(0.0, 1.0))
}

/// A score in 0..10 as a quality in [0, 1].
#[must_use]
pub fn unit(score: f64) -> f64 {
    (score / SCALE).clamp(0.0, 1.0)
}

/// Evaluators, for the column `source`.
#[must_use]
pub fn source(keys: &[&str]) -> String {
    if keys.is_empty() { NOTHING.to_owned() } else { keys.join("+") }
}

#[cfg(test)]
#[path = "dimensions_tests.rs"]
mod tests;
