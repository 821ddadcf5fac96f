//! How the network chooses who answers (step 2 of Algorithm 1), where the choice follows what nodes have earned: a bandit
//! whose arms are the inference nodes and whose rewards are theirs. And what a node's load does to the weight of its cost.

use crate::settings::mechanism::{Congestion, Policy, Schedule};
use crate::simulate::rng::Stream;
use statrs::distribution::{ContinuousCDF, Normal};

/// What the scheduler knows after some rounds of one replicate.
#[derive(Debug, Clone)]
pub struct Scheduler {
    settings: Schedule,
    /// Width of the range of rewards: the spread that is assumed before any is seen.
    width: f64,
    /// Paid rounds, sum of rewards and of their squares, by inference node.
    seen: Vec<(f64, f64, f64)>,
    rounds: u64,
    /// The node that was chosen most often, and the round since which it is.
    leader: (usize, u64),
}

impl Scheduler {
    /// A scheduler that knows nothing yet of `models` nodes but that their rewards differ by no more than `width`.
    #[must_use]
    pub fn new(settings: &Schedule, models: usize, width: f64) -> Self {
        Self { settings: settings.clone(), width, seen: vec![(0.0, 0.0, 0.0); models], rounds: 0, leader: (0, 1) }
    }

    /// The round, counted from 1, since which the same node has been chosen most often: when the market had made up its
    /// mind.
    #[must_use]
    pub fn settled_at(&self) -> u64 {
        self.leader.1
    }

    /// The inference node of the next round. Every node is tried twice first.
    pub fn choose(&mut self, stream: &mut Stream) -> usize {
        self.rounds += 1;
        if let Some(untried) = self.seen.iter().position(|seen| seen.0 < 2.0) {
            return untried;
        }
        match self.settings.policy {
            Policy::Uniform => stream.below(self.seen.len()),
            Policy::Proportional => self.proportional(stream),
            Policy::Thompson => {
                let normal = Normal::standard();
                argmax(self.seen.iter().map(|&(n, sum, squares)| {
                    let mean = sum / n;
                    // One more observation that is off by the whole range: two rewards alike must not end the search.
                    let variance = ((squares - n * mean * mean).max(0.0) + self.width * self.width) / n;
                    // Away from 0 and 1, where the quantile is infinite.
                    let at = stream.unit().mul_add(1.0 - 1e-15, 5e-16);
                    mean + normal.inverse_cdf(at) * (variance / n).sqrt()
                }))
            }
            Policy::Ucb => {
                let log = 2.0 * (self.rounds as f64).ln();
                argmax(self.seen.iter().map(|&(n, sum, _)| sum / n + self.settings.exploration * (log / n).sqrt()))
            }
        }
    }

    fn proportional(&self, stream: &mut Stream) -> usize {
        let weight = |&(n, sum, _): &(f64, f64, f64)| (sum / n).max(0.0);
        let total: f64 = self.seen.iter().map(weight).sum();
        if total <= 0.0 || stream.unit() < self.settings.exploration {
            return stream.below(self.seen.len());
        }
        let mut left = stream.unit() * total;
        let last = self.seen.len() - 1;
        self.seen
            .iter()
            .position(|seen| {
                left -= weight(seen);
                left < 0.0
            })
            .unwrap_or(last)
    }

    /// What the chosen node earned; none in a void round, which counts as 0 so that a node that nobody can judge is not
    /// tried for ever.
    pub fn learn(&mut self, model: usize, reward: Option<f64>) {
        let reward = reward.unwrap_or(0.0);
        let seen = &mut self.seen[model];
        seen.0 += 1.0;
        seen.1 += reward;
        seen.2 += reward * reward;
        if model != self.leader.0 && self.seen[model].0 > self.seen[self.leader.0].0 {
            self.leader = (model, self.rounds);
        }
    }
}

fn argmax(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (i, value) in values.enumerate() {
        if value > best.1 {
            best = (i, value);
        }
    }
    best.0
}

/// How much of the recent work each inference node did.
#[derive(Debug, Clone)]
pub struct Load {
    settings: Congestion,
    /// Exponential moving average of each node's share of the rounds.
    shares: Vec<f64>,
}

impl Load {
    /// Equal shares.
    #[must_use]
    pub fn new(settings: &Congestion, models: usize) -> Self {
        Self { settings: settings.clone(), shares: vec![1.0 / models as f64; models] }
    }

    /// The factor on `beta_F` of a node: 1 at an equal share.
    #[must_use]
    pub fn factor(&self, model: usize) -> f64 {
        let load = self.shares[model] * self.shares.len() as f64;
        (1.0 + self.settings.strength * (load - 1.0)).max(0.0)
    }

    /// The largest factor that there can be.
    #[must_use]
    pub fn largest_factor(&self) -> f64 {
        1.0 + self.settings.strength * (self.shares.len() as f64 - 1.0)
    }

    /// One round of a node.
    pub fn learn(&mut self, model: usize) {
        let rate = 1.0 / self.settings.memory;
        self.shares.iter_mut().for_each(|share| *share *= 1.0 - rate);
        self.shares[model] += rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of two nodes that earn 0.2 and 0.6, give or take 0.3.
    fn play(policy: Policy, rounds: usize) -> (Vec<usize>, Scheduler) {
        let mut stream = Stream::new(3, 0);
        let mut scheduler = Scheduler::new(&Schedule { policy, ..Schedule::default() }, 2, 1.0);
        let mut counts = vec![0; 2];
        for _ in 0..rounds {
            let model = scheduler.choose(&mut stream);
            counts[model] += 1;
            let reward = [0.2, 0.6][model] + 0.3 * (2.0 * stream.unit() - 1.0);
            scheduler.learn(model, Some(reward));
        }
        (counts, scheduler)
    }

    #[test]
    fn policies_route_work_to_who_earns_more() {
        let share = |policy| play(policy, 20_000).0[1] as f64 / 20_000.0;
        assert!((share(Policy::Uniform) - 0.5).abs() < 0.02);
        // One tenth at random, the rest as 0.2 to 0.6.
        assert!((share(Policy::Proportional) - (0.05 + 0.9 * 0.75)).abs() < 0.02);
        assert!(share(Policy::Thompson) > 0.99);
        assert!(share(Policy::Ucb) > 0.98);
        assert!(play(Policy::Thompson, 2000).1.settled_at() < 100);
    }

    /// Rewards that are all alike at first, as under a threshold, must not end the search for the best node.
    #[test]
    fn thompson_sampling_is_not_locked_out_by_two_equal_rewards() {
        for seed in 0..200 {
            let mut stream = Stream::new(seed, 0);
            let schedule = Schedule { policy: Policy::Thompson, ..Schedule::default() };
            let mut scheduler = Scheduler::new(&schedule, 3, 1.0);
            let mut counts = [0; 3];
            for _ in 0..5000 {
                let model = scheduler.choose(&mut stream);
                counts[model] += 1;
                scheduler.learn(model, Some(if stream.unit() < [0.3, 0.5, 0.7][model] { 0.8 } else { 0.0 }));
            }
            assert!(counts[2] > 3500, "seed {seed}: {counts:?}");
        }
    }

    #[test]
    fn every_node_is_tried_twice_and_void_rounds_count() {
        let mut stream = Stream::new(1, 0);
        let mut scheduler = Scheduler::new(&Schedule { policy: Policy::Ucb, ..Schedule::default() }, 3, 1.0);
        let first: Vec<usize> = (0..6)
            .map(|_| {
                let model = scheduler.choose(&mut stream);
                scheduler.learn(model, (model != 2).then_some(0.5));
                model
            })
            .collect();
        assert_eq!(first, [0, 0, 1, 1, 2, 2]);
        assert_ne!(scheduler.choose(&mut stream), 2);
    }

    #[test]
    fn load_is_relative_to_an_equal_share() {
        let mut load = Load::new(&Congestion { strength: 0.5, memory: 10.0 }, 4);
        assert!((load.factor(0) - 1.0).abs() < 1e-12);
        (0..1000).for_each(|_| load.learn(0));
        assert!((load.factor(0) - load.largest_factor()).abs() < 1e-9 && (load.largest_factor() - 2.5).abs() < 1e-12);
        assert!((load.factor(1) - 0.5).abs() < 1e-9);
        let mut strong = Load::new(&Congestion { strength: 5.0, memory: 1.0 }, 2);
        strong.learn(1);
        assert!(strong.factor(0).abs() < 1e-12, "never below 0");
    }
}
