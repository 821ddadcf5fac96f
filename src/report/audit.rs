//! The evaluators' reliability audit: what share of the answers an evaluator could score and saw whole, whether it tells them
//! apart, and whether it points the same way on every type of task.

use super::correlations::{EvaluatorCorrelation, Sign};
use super::counts::is_failed;
use crate::join::{F1, Joined, ScorerColumn};
use crate::statistics::Estimate;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What an evaluator's scores are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatorAudit {
    /// Node key of the evaluator.
    pub evaluator: String,
    /// Whether its scores are part of the consensus.
    pub paid: bool,
    /// Answers that it could have scored.
    pub answers: usize,
    /// Of these, answers with a score.
    pub scored: usize,
    /// Share of its scores whose texts did not fit its maximum length, 0..1; null where it is not known of any.
    pub truncated_share: Option<f64>,
    /// Different raw scores as a share of all, 0..1: near 0, it hardly tells answers apart. Null without scores.
    pub distinct_share: Option<f64>,
    /// What its correlations with F1 say over all task types; null where none is defined.
    pub sign: Option<Sign>,
    /// Pearson's r with F1 averaged over tasks.
    pub f1: Estimate,
    /// The same at equal length of answers.
    pub f1_at_equal_length: Estimate,
}

pub(super) fn audit(joined: &Joined, paid: &[String], correlations: &[EvaluatorCorrelation]) -> Vec<EvaluatorAudit> {
    let answered = joined.generations.iter().map(|row| !is_failed(row)).collect::<Vec<_>>();
    joined.evaluators().map(|evaluator| of_evaluator(evaluator, &answered, paid, correlations)).collect()
}

fn of_evaluator(
    evaluator: &ScorerColumn,
    answered: &[bool],
    paid: &[String],
    correlations: &[EvaluatorCorrelation],
) -> EvaluatorAudit {
    let scores: Vec<f64> =
        evaluator.raw().into_iter().zip(answered).filter_map(|(score, answered)| score.filter(|_| *answered)).collect();
    let truncated: Vec<bool> = evaluator.rows.iter().filter_map(|row| (*row)?.truncated).collect();
    let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
    let distinct: HashSet<u64> = scores.iter().map(|score| score.to_bits()).collect();
    let found = correlations.iter().find(|row| row.evaluator == evaluator.name && row.reference == F1);
    EvaluatorAudit {
        evaluator: evaluator.name.into(),
        paid: paid.iter().any(|key| key == evaluator.name),
        answers: answered.iter().filter(|answered| **answered).count(),
        scored: scores.len(),
        truncated_share: share(truncated.iter().filter(|cut| **cut).count(), truncated.len()),
        distinct_share: share(distinct.len(), scores.len()),
        sign: found.filter(|row| row.by_task.iter().any(|task| task.pearson.value.is_some())).map(|row| row.sign),
        f1: found.map(|row| row.mean_over_tasks).unwrap_or_default(),
        f1_at_equal_length: found.map(|row| row.mean_at_equal_length).unwrap_or_default(),
    }
}
