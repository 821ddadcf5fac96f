//! What failed and why: errors of answers, scores, judgements and checks, those that say the same counted together.

use crate::report::Inputs;
use crate::report::counts::is_failed;
use serde::Serialize;
use std::collections::HashMap;

/// Groups that the page lists.
const MOST_GROUPS: usize = 50;
/// Characters of an error that the page shows.
const LENGTH: usize = 600;

/// Rows that failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Failure {
    /// Table that they are in.
    pub table: &'static str,
    /// Who failed.
    pub node: String,
    /// What the first of them says.
    pub error: String,
    /// How many.
    pub rows: usize,
    /// Task of the first of them.
    pub task: String,
}

/// The groups, most rows first, and how many there are in all.
pub(super) fn failures(inputs: &Inputs) -> (Vec<Failure>, usize) {
    let mut found: Vec<Failure> = Vec::new();
    let mut places: HashMap<(&'static str, String, String), usize> = HashMap::new();
    let mut add = |table, node: String, task: &str, error: &str| {
        // Numbers differ from row to row where the reason does not.
        let reason: String = error.chars().filter(|c| !c.is_ascii_digit()).collect();
        let place = *places.entry((table, node.clone(), reason)).or_insert_with(|| {
            let error = error.chars().take(LENGTH).collect();
            found.push(Failure { table, node, error, rows: 0, task: task.to_owned() });
            found.len() - 1
        });
        found[place].rows += 1;
    };
    for row in inputs.generations.iter().filter(|row| is_failed(row)) {
        add("generations", row.model.clone(), &row.task_id, row.error.as_deref().unwrap_or("no answer and no error"));
    }
    for row in inputs.scores {
        if let Some(error) = &row.error {
            add("scores", row.scorer.clone(), &row.task_id, error);
        }
    }
    for row in inputs.judgements {
        if let Some(error) = &row.error {
            add("judgements", row.judge.clone(), &row.task_id, error);
        }
    }
    for row in inputs.judge_checks {
        if let Some(error) = &row.error {
            add("judge_checks", format!("{} ({})", row.judge, row.check), &row.task_id, error);
        }
    }
    found.sort_by_key(|group| std::cmp::Reverse(group.rows));
    let all = found.len();
    found.truncate(MOST_GROUPS);
    (found, all)
}
