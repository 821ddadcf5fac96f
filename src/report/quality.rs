//! Figure 5 for this run, as numbers: what each LLM's answers are worth, what they cost, and how long they are. Length
//! stands beside both because an LLM that never stops is slower and, on short answers, punished by F1.

use super::Inputs;
use super::counts::is_failed;
use super::frontier::on_frontier;
use crate::join::{EXACT_MATCH, F1, Joined, ScorerColumn};
use crate::statistics::{Estimate, mean};
use serde::{Deserialize, Serialize};

/// Quality and cost of one inference node. Means skip missing values; "over tasks" is the unweighted mean over task
/// types, null unless every type of the run has a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelQuality {
    /// Node key of the inference node.
    pub model: String,
    /// Mean F1 over tasks, 0..10.
    pub f1: Estimate,
    /// Per task type.
    pub by_task: Vec<TaskQuality>,
    /// Share of the answers to `qa` tasks that match a reference exactly, 0..1; null without such tasks.
    pub exact_match_share: Option<f64>,
    /// Answers behind that share.
    pub exact_match_n: usize,
    /// Mean normalised score per evaluator, over tasks.
    pub evaluators: Vec<EvaluatorMean>,
    /// Mean latency per answer from the profile, in ms.
    pub latency_ms: Option<f64>,
    /// Whether that latency was `measured`, `given` or `imported`.
    pub latency_source: Option<String>,
    /// Mean F1 over tasks per second of latency.
    pub f1_per_second: Option<f64>,
    /// Mean F1 over tasks per 1,000 tokens generated, of which the mean is over tasks, too.
    pub f1_per_1000_tokens: Option<f64>,
    /// Whether no other LLM is as fast and as good in F1 over tasks, and faster or better; null without latency or F1.
    pub on_frontier: Option<bool>,
    /// Mean tokens generated per answer.
    pub mean_output_tokens: Option<f64>,
    /// Share of answers that ran into the limit on new tokens, 0..1.
    pub length_stop_share: Option<f64>,
    /// Answers, failed ones left out.
    pub answers: usize,
    /// Rows without an answer.
    pub failed: usize,
}

/// One inference node on one type of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskQuality {
    /// `qa` or `summarization`.
    pub task_type: String,
    /// Mean F1, 0..10.
    pub f1: Estimate,
}

/// What one evaluator thinks of one inference node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatorMean {
    /// Node key of the evaluator.
    pub evaluator: String,
    /// Mean normalised score over tasks, 0..10.
    pub score: Estimate,
}

pub(super) fn quality(inputs: &Inputs, joined: &Joined, task_types: &[&str]) -> Vec<ModelQuality> {
    let mut found: Vec<ModelQuality> =
        joined.models().into_iter().map(|model| of_model(inputs, joined, task_types, model)).collect();
    let points: Vec<_> = found.iter().map(|model| model.latency_ms.zip(model.f1.value)).collect();
    for (model, on_frontier) in found.iter_mut().zip(on_frontier(&points)) {
        model.on_frontier = on_frontier;
    }
    found
}

fn of_model(inputs: &Inputs, joined: &Joined, task_types: &[&str], model: &str) -> ModelQuality {
    let own = |row: &usize| joined.generations[*row].model == model;
    let rows: Vec<usize> = (0..joined.generations.len()).filter(own).collect();
    let of_type = |task_type: &str| joined.answers_of_type(task_type).into_iter().filter(own).collect::<Vec<_>>();
    let by_type: Vec<Vec<usize>> = task_types.iter().map(|task_type| of_type(task_type)).collect();
    let means = |scorer: &ScorerColumn| {
        let scores = scorer.normalized();
        by_type.iter().map(|rows| Estimate::of_mean(&present(&scores, rows))).collect::<Vec<_>>()
    };

    let f1_by_task = joined.scorer(F1).map_or_else(|| vec![Estimate::default(); task_types.len()], means);
    let f1 = Estimate::average(&f1_by_task);
    let exact_match =
        joined.scorer(EXACT_MATCH).map(|scorer| present(&scorer.raw(), &of_type("qa"))).unwrap_or_default();
    let profile = inputs.profile_of("inference", model);
    let latency_ms = profile.and_then(|row| row.latency_ms_mean);
    let answered: Vec<_> = rows.iter().map(|row| &joined.generations[*row]).filter(|row| !is_failed(row)).collect();
    let tokens: Vec<f64> = answered.iter().filter_map(|row| row.output_tokens.map(f64::from)).collect();
    let mean_output_tokens = mean(&tokens);
    // Weighed as F1 is, or the ratio would depend on how many tasks of each type there are.
    let tokens_of = |rows: &Vec<usize>| {
        let answered = rows.iter().map(|row| &joined.generations[*row]).filter(|row| !is_failed(row));
        mean(answered.filter_map(|row| row.output_tokens.map(f64::from)))
    };
    let tokens_over_tasks = by_type.iter().map(tokens_of).collect::<Option<Vec<f64>>>().and_then(mean);
    let stops: Vec<f64> = answered
        .iter()
        .filter_map(|row| row.finish_reason.as_deref().map(|reason| f64::from(u8::from(reason == "length"))))
        .collect();
    ModelQuality {
        model: model.into(),
        f1,
        by_task: task_types
            .iter()
            .zip(f1_by_task)
            .map(|(task_type, f1)| TaskQuality { task_type: (*task_type).into(), f1 })
            .collect(),
        exact_match_share: mean(&exact_match),
        exact_match_n: exact_match.len(),
        evaluators: joined
            .evaluators()
            .map(|scorer| EvaluatorMean { evaluator: scorer.name.into(), score: Estimate::average(&means(scorer)) })
            .collect(),
        latency_ms,
        latency_source: profile.map(|row| row.source.clone()),
        f1_per_second: f1.value.zip(latency_ms).filter(|(_, ms)| *ms > 0.0).map(|(f1, ms)| f1 / (ms / 1000.0)),
        f1_per_1000_tokens: f1.value.zip(tokens_over_tasks).filter(|(_, n)| *n > 0.0).map(|(f1, n)| 1000.0 * f1 / n),
        on_frontier: None,
        mean_output_tokens,
        length_stop_share: mean(&stops),
        answers: answered.len(),
        failed: rows.len() - answered.len(),
    }
}

fn present(values: &[Option<f64>], rows: &[usize]) -> Vec<f64> {
    rows.iter().filter_map(|row| values[*row]).collect()
}
