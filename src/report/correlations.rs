//! Figure 4 for this run: how well each evaluator's scores follow F1, per task type and averaged over tasks (Section
//! 5.1), with the sizes and intervals that the paper leaves out. Rows of all LLMs are pooled, as in the paper.

use crate::join::{F1, Joined, ScorerColumn};
use crate::statistics::bootstrap::{Group, pearson_intervals, sums_by_task};
use crate::statistics::{Estimate, agreement, fisher_z_mean};
use serde::{Deserialize, Serialize};

/// One evaluator against one reference signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatorCorrelation {
    /// Node key of the evaluator.
    pub evaluator: String,
    /// Reference signal: `f1`.
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

pub(super) fn correlations(joined: &Joined, task_types: &[&str]) -> Vec<EvaluatorCorrelation> {
    let Some(f1) = joined.scorer(F1) else { return Vec::new() };
    joined.evaluators().map(|evaluator| correlate(joined, evaluator, f1, task_types)).collect()
}

fn correlate(
    joined: &Joined,
    evaluator: &ScorerColumn,
    reference: &ScorerColumn,
    task_types: &[&str],
) -> EvaluatorCorrelation {
    let (x, y) = (evaluator.normalized(), reference.normalized());
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
        evaluator: evaluator.name.into(),
        reference: reference.name.into(),
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
