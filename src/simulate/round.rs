//! The draws of Algorithm 1, steps 1 to 4: record, inference node and evaluators of one round after another, and what each
//! of them does. The tally of a replicate, the count of outcomes and the log of rounds read the same sequence, so they
//! cannot disagree.

use crate::simulate::rng::{Pair, Stream};
use crate::simulate::strategy::Strategies;
use crate::simulate::subsets::SubsetLaw;

/// An endless sequence of rounds; no round allocates.
#[derive(Debug, Clone)]
pub struct Rounds<'a> {
    stream: Stream,
    strategies: &'a Strategies,
    law: &'a SubsetLaw,
    tasks: usize,
    models: usize,
    /// Cells and slots, where subsets are enumerated.
    pair: Option<Pair>,
    /// All evaluators, in an order that every draw shuffles further, which costs no uniformity.
    pool: Vec<usize>,
    round: Round,
}

/// What one round draws.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// Record i.
    pub task: usize,
    /// Inference node f.
    pub model: usize,
    /// Which of its branches the inference node takes.
    pub branch: usize,
    /// The number of the subset, where subsets are enumerated.
    pub subset: Option<usize>,
    /// The K evaluators, with or without a score, and the branch that each takes.
    pub members: Vec<(usize, usize)>,
}

impl<'a> Rounds<'a> {
    /// Rounds over so many records; who plays and how stands in `strategies` and `law`.
    #[must_use]
    pub fn new(tasks: usize, strategies: &'a Strategies, law: &'a SubsetLaw, stream: Stream) -> Self {
        let models = strategies.models.len();
        let pair = match (u32::try_from(tasks * models), law.slots().len()) {
            (Ok(cells), slots) if slots > 0 => Some(Pair::new(cells, slots as u32)),
            _ => None,
        };
        let members = Vec::with_capacity(law.k().1);
        let round = Round { members, ..Round::default() };
        Self { stream, strategies, law, tasks, models, pair, pool: (0..law.pool()).collect(), round }
    }

    /// The random numbers, for a scheduler that draws too.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The round drawn last.
    #[must_use]
    pub fn round(&self) -> &Round {
        &self.round
    }

    /// The next round. Record and inference node are independent and uniform, so one draw over all pairs serves both.
    #[inline]
    pub fn draw(&mut self) -> &Round {
        if let Some(pair) = self.pair {
            let (cell, slot) = self.stream.pair(&pair);
            self.place(cell as usize);
            self.fill(self.law.slots()[slot as usize] as usize);
        } else {
            let cell = self.stream.below(self.tasks * self.models);
            self.place(cell);
            self.draw_members();
        }
        self.draw_branches();
        &self.round
    }

    /// The next round with an inference node that somebody else has chosen.
    pub fn draw_for(&mut self, model: usize) -> &Round {
        self.round.task = self.stream.below(self.tasks);
        self.round.model = model;
        self.draw_members();
        self.draw_branches();
        &self.round
    }

    /// The next round as the number of its cell and its subset, for those who count outcomes; branches follow from
    /// [`Rounds::draw_branches_of`]. Only where subsets are enumerated; the sequence is that of [`Rounds::draw`].
    #[inline]
    pub fn draw_numbers(&mut self, pair: &Pair) -> (usize, usize) {
        let (cell, slot) = self.stream.pair(pair);
        (cell as usize, self.law.slots()[slot as usize] as usize)
    }

    /// Cells and slots, where subsets are enumerated.
    #[must_use]
    pub fn pair(&self) -> Option<Pair> {
        self.pair
    }

    /// The branches of a round known by its numbers, in the order in which [`Rounds::draw`] draws them.
    #[inline]
    pub fn draw_branches_of(&mut self, cell: usize, subset: usize) -> &Round {
        self.place(cell);
        self.fill(subset);
        self.draw_branches();
        &self.round
    }

    fn place(&mut self, cell: usize) {
        self.round.task = cell / self.models;
        self.round.model = cell % self.models;
    }

    fn fill(&mut self, subset: usize) {
        self.round.subset = Some(subset);
        self.round.members.clear();
        self.round.members.extend(self.law.subsets()[subset].0.iter().map(|&evaluator| (evaluator, 0)));
    }

    fn draw_members(&mut self) {
        if !self.law.slots().is_empty() {
            let slot = self.stream.below(self.law.slots().len());
            return self.fill(self.law.slots()[slot] as usize);
        }
        let (k_min, k_max) = self.law.k();
        let k = if k_min == k_max { k_max } else { k_min + self.stream.below(k_max - k_min + 1) };
        if k < self.pool.len() {
            for drawn in 0..k {
                let other = drawn + self.stream.below(self.pool.len() - drawn);
                self.pool.swap(drawn, other);
            }
        }
        self.round.subset = None;
        self.round.members.clear();
        self.round.members.extend(self.pool[..k].iter().map(|&evaluator| (evaluator, 0)));
    }

    fn draw_branches(&mut self) {
        self.round.branch = self.strategies.models[self.round.model].draw(&mut self.stream);
        for (evaluator, branch) in &mut self.round.members {
            *branch = self.strategies.evaluators[*evaluator].draw(&mut self.stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{EvaluatorsPerRound, Simulation};
    use crate::simulate::tests::random_network;

    /// Chi-square of counts that should be equal.
    fn chi_square(counts: &[u32]) -> f64 {
        let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
    }

    fn honest(evaluators: usize) -> Strategies {
        Strategies::of(&random_network(1, (2, 2, evaluators), 0), &Simulation::default()).expect("honest")
    }

    fn law(pool: usize, min: usize, max: usize) -> SubsetLaw {
        SubsetLaw::new(pool, EvaluatorsPerRound::Range { min, max })
    }

    #[test]
    fn every_pair_and_every_subset_is_equally_likely() {
        // Enumerated, and drawn by shuffling.
        for pool in [4, 40] {
            let (strategies, law) = (honest(pool), law(pool, pool / 2, pool / 2));
            assert_eq!(law.slots().is_empty(), pool == 40);
            let mut rounds = Rounds::new(2, &strategies, &law, Stream::new(7, 0));
            let (mut cells, mut pairs) = ([0; 4], vec![0; pool * pool]);
            for _ in 0..60_000 {
                let round = rounds.draw();
                cells[round.task * 2 + round.model] += 1;
                let members: Vec<usize> = round.members.iter().map(|(evaluator, _)| *evaluator).collect();
                let (low, high) = (members[0].min(members[1]), members[0].max(members[1]));
                assert_eq!(members.len(), pool / 2);
                pairs[low * pool + high] += 1;
            }
            assert!(chi_square(&cells) < 21.1, "3 degrees of freedom: p < 0.0001");
            if pool == 4 {
                let different: Vec<u32> = pairs.into_iter().filter(|&count| count > 0).collect();
                assert_eq!(different.len(), 6);
                assert!(chi_square(&different) < 25.7, "5 degrees of freedom: p < 0.0001");
            }
        }
    }

    #[test]
    fn a_range_draws_every_k_equally() {
        let (strategies, law) = (honest(3), law(3, 1, 3));
        let mut rounds = Rounds::new(2, &strategies, &law, Stream::new(7, 0));
        let mut counts = [0; 3];
        for _ in 0..30_000 {
            counts[rounds.draw().members.len() - 1] += 1;
        }
        assert!(chi_square(&counts) < 18.4, "2 degrees of freedom: p < 0.0001");
    }

    #[test]
    fn numbers_and_rounds_are_one_sequence() {
        let (strategies, law) = (honest(4), law(4, 1, 3));
        let mut rounds = Rounds::new(2, &strategies, &law, Stream::new(7, 0));
        let mut numbers = rounds.clone();
        let pair = numbers.pair().expect("enumerated");
        for _ in 0..1000 {
            let (cell, subset) = numbers.draw_numbers(&pair);
            let same = numbers.draw_branches_of(cell, subset).clone();
            assert_eq!(*rounds.draw(), same);
        }
    }
}
