//! How good answers are: generations in, scores out (Section 4.2, ground truth and lightweight evaluators).
//!
//! An evaluator's column is made in two passes over the pairs: `compute` reads every distinct text once and stores what
//! the graph returned, `column` looks it up and turns it into rows.

pub mod column;
pub mod compute;
pub mod evaluator;
pub mod f1;
mod fake;
pub mod graph;
pub mod head;
pub mod identity;
pub mod normalise;
pub mod pairs;
pub mod pooling;
pub mod scale;
pub mod text_scores;

pub use evaluator::{Evaluator, Execution};
pub use identity::Identity;
pub use pairs::{Pair, Pairs};

/// Scorer name of token F1.
pub const F1: &str = "f1";

/// Scorer name of exact match.
pub const EXACT_MATCH: &str = "exact_match";

/// Scorers that compare with the reference and are no nodes: nobody pays them.
pub const METRICS: [&str; 2] = [F1, EXACT_MATCH];

/// Every scorer of a run: the metrics, then these evaluators.
#[must_use]
pub fn with_metrics(evaluators: Vec<String>) -> Vec<String> {
    METRICS.map(str::to_owned).into_iter().chain(evaluators).collect()
}
