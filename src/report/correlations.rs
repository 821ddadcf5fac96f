//! Figure 4 for this run: how well each evaluator's scores follow F1, per task type and averaged over tasks (Section
//! 5.1), with the sizes and intervals that the paper leaves out. Rows of all LLMs are pooled, as in the paper.

use crate::join::{F1, Joined, ScorerColumn};
use crate::statistics::bootstrap::{Group, pearson_intervals, sums_by_task};
use crate::statistics::{Estimate, agreement, fisher_z_mean};
use serde::{Deserialize, Serialize};

/// One evaluator against one reference signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatorCorrelation {
    /// Node key of the evaluator, or `f1` where that is held against the judge.
    pub evaluator: String,
    /// Reference signal: `f1`, or `judge` for the grades of the LLM judge.
    pub reference: String,
    /// One entry per task type of the run.
    pub by_task: Vec<TaskCorrelation>,
    /// Unweighted mean of Pearson's r over task types, the paper's way; null unless every type has one.
    pub mean_over_tasks: Estimate,
    /// The same mean through Fisher's z; null where `mean_over_tasks` is.
    pub fisher_z_mean: Option<f64>,
}

/// One evaluator on the answers to one type of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskCorrelation {
    /// `qa` or `summarization`.
    pub task_type: String,
    /// Pearson's r, with an interval by resampling tasks; `n` counts pairs. Null for fewer than three pairs or a
    /// constant column.
    pub pearson: Estimate,
    /// Spearman's rho, ties by mean rank.
    pub spearman: Option<f64>,
}

/// Name of the judge as a reference signal, whoever it is.
pub(super) const JUDGE: &str = "judge";

/// Every evaluator against F1, then every evaluator, and F1 itself, against the judge, as far as they are there.
pub(super) fn correlations(joined: &Joined, task_types: &[&str]) -> Vec<EvaluatorCorrelation> {
    let f1 = joined.scorer(F1).map(ScorerColumn::normalized);
    let against = |name: &str, values: &[Option<f64>], reference: &str, other: &[Option<f64>]| {
        correlate(joined, (name, values), (reference, other), task_types)
    };
    let evaluators: Vec<(&str, Vec<Option<f64>>)> =
        joined.evaluators().map(|evaluator| (evaluator.name, evaluator.normalized())).collect();
    let mut found = Vec::new();
    if let Some(f1) = &f1 {
        found.extend(evaluators.iter().map(|(name, scores)| against(name, scores, F1, f1)));
    }
    if let Some(judge) = joined.judge() {
        let with_f1 = evaluators.iter().map(|(name, scores)| (*name, scores)).chain(f1.iter().map(|f1| (F1, f1)));
        found.extend(with_f1.map(|(name, scores)| against(name, scores, JUDGE, &judge)));
    }
    found
}

fn correlate(
    joined: &Joined,
    (name, x): (&str, &[Option<f64>]),
    (reference, y): (&str, &[Option<f64>]),
    task_types: &[&str],
) -> EvaluatorCorrelation {
    let mut by_task = Vec::new();
    let mut groups = Vec::new();
    for task_type in task_types {
        let rows = joined.answers_of_type(task_type);
        let x: Vec<_> = rows.iter().map(|row| x[*row]).collect();
        let y: Vec<_> = rows.iter().map(|row| y[*row]).collect();
        let tasks: Vec<_> = rows.iter().map(|row| joined.generations[*row].task_id.as_str()).collect();
        let found = agreement(&x, &y);
        by_task.push(TaskCorrelation {
            task_type: (*task_type).into(),
            pearson: Estimate { value: found.pearson, ci_low: None, ci_high: None, n: found.n },
            spearman: found.spearman,
        });
        groups.push(Group { name: task_type, tasks: sums_by_task(&tasks, &x, &y) });
    }

    let intervals = pearson_intervals(&groups);
    for (task, interval) in by_task.iter_mut().zip(intervals.groups) {
        set_interval(&mut task.pearson, interval);
    }
    let parts: Vec<Estimate> = by_task.iter().map(|task| task.pearson).collect();
    let defined: Option<Vec<f64>> = parts.iter().map(|part| part.value).collect();
    let mut mean_over_tasks = Estimate { ci_low: None, ci_high: None, ..Estimate::average(&parts) };
    set_interval(&mut mean_over_tasks, intervals.mean);
    EvaluatorCorrelation {
        evaluator: name.into(),
        reference: reference.into(),
        by_task,
        mean_over_tasks,
        fisher_z_mean: defined.and_then(|defined| fisher_z_mean(&defined)),
    }
}

fn set_interval(estimate: &mut Estimate, interval: Option<(f64, f64)>) {
    if let (Some(_), Some((low, high))) = (estimate.value, interval) {
        (estimate.ci_low, estimate.ci_high) = (Some(low), Some(high));
    }
}
