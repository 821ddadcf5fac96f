//! What the evaluators of one round agree on, and how far each stands from it: Equations 1 and 3 and the robust rules
//! that stand beside the mean, as pure functions of normalized scores e in [0, 10] and of weights.
//!
//! Every rule is equivariant under translation and permutation of the scores and stays between the smallest and the
//! largest. With one score it is that score; with two of equal weight all but Yuma clipping with kappa other than one half
//! are their mean.

mod rules;
#[cfg(test)]
mod tests;

pub use rules::{Huber, Mean, Median, TrimmedMean, WeightedMedian, Yuma};

use crate::settings::mechanism::{Consensus, Deviation, Rule};

/// The scores of one round and what each of them weighs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Votes<'a> {
    /// Normalized scores, one per evaluator, in [0, 10]; at least one.
    pub scores: &'a [f64],
    /// Positive weights, as many as scores.
    pub weights: &'a [f64],
}

/// Room for a rule to work in, so that a round allocates nothing.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// (score, weight) in an order of the rule's choosing.
    sorted: Vec<(f64, f64)>,
    /// Values and slopes of a piecewise linear function.
    knots: Vec<(f64, f64)>,
    /// The votes of all but one.
    others: (Vec<f64>, Vec<f64>),
}

impl Scratch {
    /// The votes from the lowest score to the highest.
    fn sort(&mut self, votes: Votes) -> &[(f64, f64)] {
        self.sorted.clear();
        for (&score, &weight) in votes.scores.iter().zip(votes.weights) {
            // Pools are small: insertion beats sorting afterwards.
            let place = self.sorted.iter().rposition(|&(other, _)| other <= score).map_or(0, |i| i + 1);
            self.sorted.insert(place, (score, weight));
        }
        &self.sorted
    }
}

/// A consensus rule.
pub trait Aggregate: Send + Sync {
    /// The consensus of at least one vote, in [0, 10].
    fn consensus(&self, votes: Votes, scratch: &mut Scratch) -> f64;

    /// Whether weights make a difference.
    fn is_weighted(&self) -> bool;
}

/// The rule that the settings name.
#[must_use]
pub fn rule(settings: &Consensus) -> Box<dyn Aggregate> {
    match settings.rule {
        Rule::Mean => Box::new(Mean),
        Rule::Median => Box::new(Median),
        Rule::TrimmedMean => Box::new(TrimmedMean { trim: settings.trim }),
        Rule::Huber => Box::new(Huber { delta: settings.huber_delta }),
        Rule::WeightedMedian => Box::new(WeightedMedian),
        Rule::Yuma => Box::new(Yuma { kappa: settings.kappa }),
    }
}

/// `Q = consensus / 10` (Equation 1), in [0, 1].
#[must_use]
pub fn quality(consensus: f64) -> f64 {
    consensus / 10.0
}

/// `d = |e - consensus| / 10` (Equation 3), in [0, 1].
#[must_use]
pub fn deviation(score: f64, consensus: f64) -> f64 {
    (score - consensus).abs() / 10.0
}

/// The deviation of each vote from `consensus`, or from the consensus of the others, for which a vote that is alone
/// deviates by 0.
pub fn deviations(
    aggregate: &dyn Aggregate,
    mode: Deviation,
    votes: Votes,
    consensus: f64,
    scratch: &mut Scratch,
    into: &mut Vec<f64>,
) {
    into.clear();
    match mode {
        Deviation::Inclusive => into.extend(votes.scores.iter().map(|&score| deviation(score, consensus))),
        Deviation::LeaveOneOut => {
            let others = std::mem::take(&mut scratch.others);
            let (mut scores, mut weights) = others;
            for left_out in 0..votes.scores.len() {
                if votes.scores.len() == 1 {
                    into.push(0.0);
                    continue;
                }
                let rest = |values: &[f64], into: &mut Vec<f64>| {
                    into.clear();
                    into.extend_from_slice(&values[..left_out]);
                    into.extend_from_slice(&values[left_out + 1..]);
                };
                rest(votes.scores, &mut scores);
                rest(votes.weights, &mut weights);
                let consensus = aggregate.consensus(Votes { scores: &scores, weights: &weights }, scratch);
                into.push(deviation(votes.scores[left_out], consensus));
            }
            scratch.others = (scores, weights);
        }
    }
}
