//! What a node may do in a round: branches, each with its probability.

use crate::simulate::rng::Stream;

/// Label of nodes that do as they should.
pub const HONEST: &str = "honest";

/// What an evaluator reports, given the score s that it would report if it were honest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Report {
    /// s.
    Honest,
    /// s plus a number of points, cut to 0..10.
    Shift(f64),
    /// The same when the round's inference node is this one; s otherwise.
    Favour(usize, f64),
    /// Always the same, without looking.
    Constant(f64),
    /// The mean of what those report who look; this where nobody does.
    Copy(f64),
}

impl Report {
    /// What is reported about an answer of `model`. Copies are filled in by the round.
    #[inline]
    #[must_use]
    pub fn of(self, honest: f64, model: usize) -> f64 {
        match self {
            Self::Shift(by) => (honest + by).clamp(0.0, 10.0),
            Self::Favour(target, by) if target == model => (honest + by).clamp(0.0, 10.0),
            Self::Honest | Self::Favour(..) => honest,
            Self::Constant(score) | Self::Copy(score) => score,
        }
    }

    /// Whether the evaluator runs its model for this.
    #[must_use]
    pub fn looks(self) -> bool {
        !matches!(self, Self::Constant(_) | Self::Copy(_))
    }
}

/// One thing that a node may do in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Branch<T> {
    /// Its probability; those of all branches of a node add up to 1.
    pub probability: f64,
    /// What it does.
    pub action: T,
    /// Whether an audit catches it with a false cost.
    pub caught: bool,
}

/// All that a node may do, and how it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour<T> {
    /// `honest`, or its strategies joined by `+`.
    pub label: String,
    /// Its declared cost is this many times the true one.
    pub declared: f64,
    /// What it may do.
    pub branches: Vec<Branch<T>>,
    /// Probability of the branches up to and with each.
    pub(super) cumulative: Vec<f64>,
}

impl<T: Copy> Behaviour<T> {
    pub(super) fn new(action: T) -> Self {
        let branches = vec![Branch { probability: 1.0, action, caught: false }];
        Self { label: HONEST.to_owned(), declared: 1.0, branches, cumulative: vec![1.0] }
    }

    /// Whether it does as it should.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.label == HONEST
    }

    /// Draws a branch; takes no random number where there is only one.
    #[inline]
    pub fn draw(&self, stream: &mut Stream) -> usize {
        if self.branches.len() == 1 {
            return 0;
        }
        let at = stream.unit();
        self.cumulative.partition_point(|&up_to| up_to <= at).min(self.branches.len() - 1)
    }

    pub(super) fn adopt(&mut self, label: &str) {
        self.label = if self.is_honest() { label.to_owned() } else { format!("{}+{label}", self.label) };
    }

    /// Replaces what is done by `branches` with a probability, and leaves it as it is otherwise.
    pub(super) fn mix(&mut self, probability: f64, branches: &[(f64, T)]) {
        let kept = self.branches.iter().map(|branch| (branch.probability * (1.0 - probability), branch.action));
        let new = branches.iter().map(|&(share, action)| (share * probability, action));
        self.set(new.chain(kept).map(|(probability, action)| Branch { probability, action, caught: false }).collect());
    }

    /// Splits every branch into one that is audited and one that is not.
    pub(super) fn audit(&mut self, probability: f64) {
        let split = self.branches.iter().flat_map(|&branch| {
            let part = |caught, share| Branch { probability: branch.probability * share, caught, ..branch };
            [part(true, probability), part(false, 1.0 - probability)]
        });
        self.set(split.collect());
    }

    fn set(&mut self, branches: Vec<Branch<T>>) {
        self.branches = branches.into_iter().filter(|branch| branch.probability > 0.0).collect();
        let mut total = 0.0;
        self.cumulative = self
            .branches
            .iter()
            .map(|branch| {
                total += branch.probability;
                total
            })
            .collect();
    }
}
