//! All that travels the executor's channels: a job, the row made ready from it, and the row that came out.

use crate::model::tokenizer::Encoding;
use std::time::{Duration, Instant};

/// A row of work. `index` is the caller's: results come back with it, in any order.
#[derive(Debug, Clone)]
pub struct Job {
    /// Caller's row number.
    pub index: usize,
    /// What is tokenised.
    pub text: Text,
}

/// Text of a job.
#[derive(Debug, Clone)]
pub enum Text {
    /// One text.
    One(String),
    /// Two texts, read together.
    Pair(String, String),
}

/// A tokenised row on its way to a worker.
#[derive(Debug)]
pub struct Ready {
    /// Caller's row number.
    pub index: usize,
    /// Token ids.
    pub encoding: Encoding,
    /// Time spent tokenising.
    pub tokenise: Duration,
    /// When it began to wait.
    pub since: Instant,
}

/// A finished row.
#[derive(Debug)]
pub struct Done<O> {
    /// Caller's row number.
    pub index: usize,
    /// Output, or why there is none.
    pub result: Result<O, String>,
    /// Tokens read; 0 when the row did not tokenise.
    pub tokens: usize,
    /// Whether the tokenizer cut the text.
    pub truncated: bool,
    /// Time spent tokenising.
    pub tokenise: Duration,
    /// Time between tokenising and inference.
    pub queue: Duration,
    /// Inference time of the batch divided by its rows.
    pub infer: Duration,
}

impl<O> Done<O> {
    pub(super) fn failed(index: usize, tokenise: Duration, error: String) -> Self {
        let zero = Duration::ZERO;
        Self { index, result: Err(error), tokens: 0, truncated: false, tokenise, queue: zero, infer: zero }
    }
}

/// A duration in ms at full precision.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
