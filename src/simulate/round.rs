//! The draws of Algorithm 1, steps 1 to 4: record, inference node and evaluators of one round after another, and what each
//! of them does. The tally of a replicate, the count of outcomes and the log of rounds read the same sequence, so they
//! cannot disagree.

use crate::simulate::rng::{Bound, Stream};
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
    /// Pairs of a cell and a slot, where subsets are enumerated: slot by slot, cell by cell.
    places: Option<Bound>,
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
        let places =
            u32::try_from(tasks * models * law.slots().len()).ok().filter(|&places| places > 0).map(Bound::new);
        let members = Vec::with_capacity(law.k().1);
        let round = Round { members, ..Round::default() };
        Self { stream, strategies, law, tasks, models, places, pool: (0..law.pool()).collect(), round }
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
        if let Some(places) = self.places {
            let place = self.stream.lane(places) as usize;
            let slots = self.law.slots();
            self.place(place / slots.len());
            self.fill(slots[place % slots.len()] as usize);
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

    /// Counts the places of the next rounds, cell by cell and slot by slot, for those who count outcomes; nothing where subsets
    /// are not enumerated. The rounds are those of [`Rounds::draw`], as long as nobody has more than one branch.
    #[inline]
    pub fn count_places(&mut self, rounds: u64, counts: &mut [u64]) {
        if let Some(places) = self.places {
            self.stream.lanes(places, rounds, |place| counts[place as usize] += 1);
        }
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
    fn counted_places_are_those_of_the_rounds() {
        let (strategies, law) = (honest(4), law(4, 1, 3));
        let mut rounds = Rounds::new(2, &strategies, &law, Stream::new(7, 0));
        let mut counting = rounds.clone();
        let (mut counts, mut expected) = (vec![0; 4 * law.slots().len()], vec![0; 4 * law.subsets().len()]);
        counting.count_places(1001, &mut counts);
        for _ in 0..1001 {
            let round = rounds.draw();
            expected[(round.task * 2 + round.model) * law.subsets().len() + round.subset.expect("enumerated")] += 1;
        }
        let mut folded = vec![0; expected.len()];
        for (place, count) in counts.iter().enumerate() {
            let subset = law.slots()[place % law.slots().len()] as usize;
            folded[place / law.slots().len() * law.subsets().len() + subset] += count;
        }
        assert_eq!(folded, expected);
    }
}
