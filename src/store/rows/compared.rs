//! The columns that a comparison of runs reads: of tables that may be large, no others.

use super::Row;
use serde::{Deserialize, Serialize};

/// `tasks`, and of it what tells whether two runs ask the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedTask {
    /// Unique within the run.
    pub task_id: String,
    /// `qa` or `summarization`.
    pub task_type: String,
    /// x: what was asked.
    pub input: String,
    /// Every accepted answer.
    pub references: Vec<String>,
}

/// `generations` without timings and what answers were made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedAnswer {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node.
    pub model: String,
    /// What is scored; null when the row failed.
    pub output: Option<String>,
    /// Tokens generated; null for imported answers and when the row failed.
    pub output_tokens: Option<i32>,
    /// `stop` or `length`; null where `output_tokens` is.
    pub finish_reason: Option<String>,
    /// Whether the passage or article was cut; null without a prompt.
    pub prompt_truncated: Option<bool>,
    /// Why the row has no answer; null when it has one.
    pub error: Option<String>,
}

/// `scores` without timings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparedScore {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node that answered.
    pub model: String,
    /// `f1`, `exact_match` or the node key of an evaluator.
    pub scorer: String,
    /// s: the scorer's own number; null when the row failed.
    pub raw: Option<f64>,
    /// e: the score in 0..10; null when `raw` is.
    pub normalized: Option<f64>,
    /// Whether the tokenizer cut the text; null where nothing was read.
    pub truncated: Option<bool>,
    /// Why there is no score; null when there is one.
    pub error: Option<String>,
}

/// `judgements`: grades, and who gave them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparedGrade {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node that answered.
    pub model: String,
    /// Name of the judge.
    pub judge: String,
    /// Where it is; empty in tables of an earlier poq.
    #[serde(default)]
    pub place: String,
    /// The grade, from 0 to 10; null when there is no grade.
    pub score: Option<f64>,
    /// Why there is no grade; null when there is one.
    pub error: Option<String>,
}

impl Row for ComparedTask {
    const TABLE: &'static str = "tasks";
}

impl Row for ComparedAnswer {
    const TABLE: &'static str = "generations";
}

impl Row for ComparedScore {
    const TABLE: &'static str = "scores";
}

impl Row for ComparedGrade {
    const TABLE: &'static str = "judgements";
}
