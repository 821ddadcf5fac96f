//! The draws of Algorithm 1, steps 1 to 4: record, inference node and evaluators of one round after another.
//! Both the tally of a replicate and the table of rounds read the same sequence, so they cannot disagree.

use crate::settings::EvaluatorsPerRound;
use crate::simulate::rng::Stream;
use crate::simulate::table::ScoreTable;

/// An endless sequence of rounds; no round allocates.
#[derive(Debug, Clone)]
pub struct Rounds {
    stream: Stream,
    cells: usize,
    k_min: usize,
    k_max: usize,
    /// All evaluators in an order that every draw shuffles further, which costs no uniformity.
    pool: Vec<usize>,
}

/// What one round draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw<'a> {
    /// Record i and inference node f, as a cell of the table.
    pub cell: usize,
    /// K different evaluators, with or without a score for the cell.
    pub evaluators: &'a [usize],
}

impl Rounds {
    /// Rounds over a table; K is at least 1 and at most the pool of evaluators.
    #[must_use]
    pub fn new(table: &ScoreTable, k: EvaluatorsPerRound, stream: Stream) -> Self {
        let (k_min, k_max) = k.bounds();
        Self { stream, cells: table.cells(), k_min, k_max, pool: (0..table.evaluators()).collect() }
    }

    /// The next round. Record and inference node are independent and uniform, so one draw over all pairs serves both;
    /// drawing the whole pool needs no randomness and leaves it in order.
    #[inline]
    pub fn draw(&mut self) -> Draw<'_> {
        let cell = self.stream.below(self.cells);
        let k = if self.k_min == self.k_max {
            self.k_max
        } else {
            self.k_min + self.stream.below(self.k_max - self.k_min + 1)
        };
        if k < self.pool.len() {
            for drawn in 0..k {
                let other = drawn + self.stream.below(self.pool.len() - drawn);
                self.pool.swap(drawn, other);
            }
        }
        Draw { cell, evaluators: &self.pool[..k] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(k: EvaluatorsPerRound, evaluators: usize) -> Rounds {
        Rounds::new(&ScoreTable::new(2, 2, evaluators), k, Stream::new(7, 0))
    }

    /// Chi-square of counts that should be equal.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn every_pair_and_every_ordered_subset_is_equally_likely() {
        let mut rounds = rounds(EvaluatorsPerRound::Fixed(2), 4);
        let (mut cells, mut subsets) = ([0; 4], [0; 16]);
        for _ in 0..60_000 {
            let Draw { cell, evaluators } = rounds.draw();
            cells[cell] += 1;
            subsets[evaluators[0] * 4 + evaluators[1]] += 1;
        }
        assert!(chi_square(&cells) < 21.1, "3 degrees of freedom: p < 0.0001");
        let (same, different): (Vec<_>, Vec<_>) = (0..16).partition(|i| i % 5 == 0);
        assert!(same.iter().all(|&i| subsets[i] == 0), "an evaluator was drawn twice");
        let different: Vec<_> = different.iter().map(|&i| subsets[i]).collect();
        assert!(chi_square(&different) < 37.4, "11 degrees of freedom: p < 0.0001");
    }

    #[test]
    fn a_range_draws_every_k_equally() {
        let mut rounds = rounds(EvaluatorsPerRound::Range { min: 1, max: 3 }, 3);
        let mut counts = [0; 3];
        for _ in 0..30_000 {
            counts[rounds.draw().evaluators.len() - 1] += 1;
        }
        assert!(chi_square(&counts) < 18.4, "2 degrees of freedom: p < 0.0001");
    }

    #[test]
    fn the_whole_pool_comes_in_order() {
        let mut rounds = rounds(EvaluatorsPerRound::Fixed(3), 3);
        assert!((0..10).all(|_| rounds.draw().evaluators == [0, 1, 2]));
    }
}
