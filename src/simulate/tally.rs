//! What one replicate adds up: steps 5 to 7 of Algorithm 1. Quality and deviation are summed instead of rewards, for
//! these are linear in them: one simulation can be priced with any coefficients.

use crate::simulate::consensus;
use crate::simulate::round::{Draw, Rounds};
use crate::simulate::table::ScoreTable;

/// Rounds summed on their own before they join the total, so that rounding errors grow with thousands of additions and
/// not with all of them.
const BLOCK: u64 = 4096;

/// Jobs of one node and the sum over them of its quality Q (inference node) or deviation d (evaluator).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Sum of Q or d over the jobs.
    pub sum: f64,
    /// Rounds that paid the node.
    pub jobs: u64,
}

impl Tally {
    fn count(&mut self, value: f64) {
        self.sum += value;
        self.jobs += 1;
    }

    /// Adds another sum and its jobs.
    pub fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.jobs += other.jobs;
    }
}

/// All sums of one replicate.
#[derive(Debug, Clone, PartialEq)]
pub struct Replicate {
    /// Quality of each inference node over the rounds that drew it and found a score.
    pub models: Vec<Tally>,
    /// Deviation of each evaluator over the rounds that drew it and for which it has a score.
    pub evaluators: Vec<Tally>,
    /// Rounds that paid nobody, because no drawn evaluator has a score.
    pub void_rounds: u64,
    /// Draws of an evaluator that has no score.
    pub skipped: u64,
}

impl Replicate {
    /// Plays `count` rounds.
    #[must_use]
    pub fn play(table: &ScoreTable, mut rounds: Rounds, count: u64) -> Self {
        let mut total = Self::empty(table);
        let mut block = Self::empty(table);
        let mut left = count;
        while left > 0 {
            let played = left.min(BLOCK);
            for _ in 0..played {
                block.add_round(table, rounds.draw());
            }
            total.absorb(&mut block);
            left -= played;
        }
        total
    }

    fn empty(table: &ScoreTable) -> Self {
        Self {
            models: vec![Tally::default(); table.models()],
            evaluators: vec![Tally::default(); table.evaluators()],
            void_rounds: 0,
            skipped: 0,
        }
    }

    #[inline]
    fn add_round(&mut self, table: &ScoreTable, draw: Draw) {
        let present = table.present(draw.cell, draw.evaluators);
        let Some(mean) = consensus::mean(present.clone().map(|(_, score)| score)) else {
            self.void_rounds += 1;
            self.skipped += draw.evaluators.len() as u64;
            return;
        };
        let (_, model) = table.task_and_model(draw.cell);
        self.models[model].count(consensus::quality(mean));
        let mut missing = draw.evaluators.len() as u64;
        for (evaluator, score) in present {
            self.evaluators[evaluator].count(consensus::deviation(score, mean));
            missing -= 1;
        }
        self.skipped += missing;
    }

    /// Moves the other's sums here and leaves it empty.
    fn absorb(&mut self, other: &mut Self) {
        for (tally, part) in self.models.iter_mut().zip(&mut other.models) {
            tally.add(std::mem::take(part));
        }
        for (tally, part) in self.evaluators.iter_mut().zip(&mut other.evaluators) {
            tally.add(std::mem::take(part));
        }
        self.void_rounds += std::mem::take(&mut other.void_rounds);
        self.skipped += std::mem::take(&mut other.skipped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::EvaluatorsPerRound;
    use crate::simulate::rng::Stream;

    #[test]
    fn one_round_by_hand() {
        let mut table = ScoreTable::new(1, 2, 3);
        table.set(0, 1, 0, 2.0);
        table.set(0, 1, 2, 8.0);
        let mut replicate = Replicate::empty(&table);
        replicate.add_round(&table, Draw { cell: 1, evaluators: &[2, 1, 0] });
        assert_eq!(replicate.models, [Tally { sum: 0.0, jobs: 0 }, Tally { sum: 0.5, jobs: 1 }]);
        assert_eq!(replicate.evaluators[0], Tally { sum: 0.3, jobs: 1 });
        assert_eq!(replicate.evaluators[1], Tally::default(), "no score, no job");
        assert_eq!((replicate.void_rounds, replicate.skipped), (0, 1));

        replicate.add_round(&table, Draw { cell: 0, evaluators: &[0, 1] });
        assert_eq!((replicate.void_rounds, replicate.skipped), (1, 3));
        assert_eq!(replicate.models[0], Tally::default(), "a void round pays nobody");
    }

    #[test]
    fn every_round_pays_one_inference_node_or_is_void() {
        let mut table = ScoreTable::new(3, 2, 2);
        table.set(0, 0, 0, 1.0);
        table.set(2, 1, 1, 9.0);
        let count = 2 * BLOCK + 77;
        let rounds = Rounds::new(&table, EvaluatorsPerRound::Range { min: 1, max: 2 }, Stream::new(3, 0));
        let replicate = Replicate::play(&table, rounds, count);
        let paid: u64 = replicate.models.iter().map(|tally| tally.jobs).sum();
        assert_eq!(paid + replicate.void_rounds, count);
        assert!(paid > 0 && replicate.void_rounds > 0);
    }
}
