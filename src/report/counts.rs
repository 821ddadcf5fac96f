//! How much there is: tasks per task type, answers, and rows that failed, per table.
//! A failed row is kept with its error and counted here; it is never a zero elsewhere.

use super::Inputs;
use crate::join::{Joined, distinct};
use crate::store::rows::{GenerationRow, TaskRow};
use serde::{Deserialize, Serialize};

/// Sizes of the tables of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Tasks in all.
    pub tasks: usize,
    /// Tasks per task type, in order of first appearance.
    pub tasks_by_type: Vec<TaskCount>,
    /// Answers, failed ones left out.
    pub answers: usize,
    /// Tables whose rows can fail.
    pub tables: Vec<TableCount>,
}

/// Tasks of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCount {
    /// `qa` or `summarization`.
    pub task_type: String,
    /// Keys of the data sets they come from.
    pub datasets: Vec<String>,
    /// How many.
    pub tasks: usize,
}

/// Rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableCount {
    /// Name of the table.
    pub table: String,
    /// Rows, failed ones included.
    pub rows: usize,
    /// Rows that hold an error instead of a value.
    pub failed: usize,
}

/// Whether a row of `generations` has no answer to score.
pub(super) fn is_failed(row: &GenerationRow) -> bool {
    row.error.is_some() || row.output.is_none()
}

pub(super) fn counts(inputs: &Inputs, joined: &Joined, task_types: &[&str]) -> Counts {
    let failed_answers = joined.generations.iter().filter(|row| is_failed(row)).count();
    let failed_scores = inputs.scores.iter().filter(|row| row.error.is_some()).count();
    let table = |table: &str, rows, failed| TableCount { table: table.into(), rows, failed };
    Counts {
        tasks: inputs.tasks.len(),
        tasks_by_type: task_types.iter().map(|task_type| of_type(inputs.tasks, task_type)).collect(),
        answers: joined.generations.len() - failed_answers,
        tables: vec![
            table("generations", joined.generations.len(), failed_answers),
            table("scores", inputs.scores.len(), failed_scores),
        ],
    }
}

fn of_type(tasks: &[TaskRow], task_type: &str) -> TaskCount {
    let of_type = || tasks.iter().filter(|task| task.task_type == task_type);
    TaskCount {
        task_type: task_type.into(),
        datasets: distinct(of_type().map(|task| task.dataset.as_str())).into_iter().map(Into::into).collect(),
        tasks: of_type().count(),
    }
}
