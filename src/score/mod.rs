//! How good answers are: generations in, scores out (Section 4.2, ground truth and lightweight evaluators).

pub mod bi_encoder;
pub mod cross_encoder;
pub mod evaluator;
pub mod f1;
pub mod min_max;
pub mod normalise;
pub mod pairs;
pub mod pooling;

pub use evaluator::Evaluator;
pub use pairs::{Pair, text_scores};

/// Scorer name of token F1.
pub const F1: &str = "f1";

/// Scorer name of exact match.
pub const EXACT_MATCH: &str = "exact_match";
