//! What one replicate adds up, per node and for the network: steps 6 and 7 of Algorithm 1, and how far the consensus is
//! from what it stands for.

use crate::simulate::mechanism::{Mechanism, Settled};

/// Jobs of one node, and the sums over them of its reward and of its square.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Sum of rewards.
    pub sum: f64,
    /// Sum of squared rewards.
    pub squares: f64,
    /// Rounds that paid the node.
    pub jobs: u64,
}

impl Tally {
    /// `count` jobs of the same reward.
    #[inline]
    pub fn count(&mut self, reward: f64, count: u64) {
        let times = count as f64;
        self.sum += times * reward;
        self.squares += times * reward * reward;
        self.jobs += count;
    }

    /// Adds another's jobs.
    pub fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.squares += other.squares;
        self.jobs += other.jobs;
    }

    /// Standard deviation of the reward over the jobs; none without a job.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        let jobs = self.jobs as f64;
        (self.jobs > 0).then(|| deviation(self.squares / jobs, self.sum / jobs))
    }
}

/// The standard deviation from the mean of squares and the mean; less than a millionth of the rewards' size is what rounding
/// leaves, and counts as 0.
#[must_use]
pub fn deviation(mean_of_squares: f64, mean: f64) -> f64 {
    let variance = mean_of_squares - mean * mean;
    if variance < 1e-12 * mean_of_squares { 0.0 } else { variance.sqrt() }
}

/// Sums of a consensus x and a proxy y over rounds, both in [0, 10].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Agreement {
    rounds: f64,
    error: f64,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Agreement {
    /// `count` rounds that agree on x where the proxy says y; nothing where the proxy says nothing.
    #[inline]
    pub fn count(&mut self, x: f64, y: f64, count: u64) {
        if y.is_nan() {
            return;
        }
        let times = count as f64;
        self.rounds += times;
        self.error += times * (x - y).abs();
        self.x += times * x;
        self.y += times * y;
        self.xx += times * x * x;
        self.yy += times * y * y;
        self.xy += times * x * y;
    }

    /// Adds other rounds.
    pub fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.error += other.error;
        self.x += other.x;
        self.y += other.y;
        self.xx += other.xx;
        self.yy += other.yy;
        self.xy += other.xy;
    }

    /// Mean absolute difference, in points of 0..10; none without a round.
    #[must_use]
    pub fn mean_error(&self) -> Option<f64> {
        (self.rounds > 0.0).then(|| self.error / self.rounds)
    }

    /// Pearson's r over rounds; none where one of the two does not vary.
    #[must_use]
    pub fn pearson(&self) -> Option<f64> {
        let n = self.rounds;
        if n == 0.0 {
            return None;
        }
        let spread = |squares: f64, sum: f64| deviation(squares / n, sum / n);
        let (sx, sy) = (spread(self.xx, self.x), spread(self.yy, self.y));
        (sx > 1e-9 && sy > 1e-9).then(|| (self.xy / n - self.x / n * (self.y / n)) / (sx * sy))
    }
}

/// All sums of one replicate.
#[derive(Debug, Clone, PartialEq)]
pub struct Replicate {
    /// Rewards of each inference node over the rounds that drew it and were not void.
    pub models: Vec<Tally>,
    /// Rewards of each evaluator over the rounds that drew it and in which it reported.
    pub evaluators: Vec<Tally>,
    /// Consensus against each proxy of the network.
    pub agreement: Vec<Agreement>,
    /// Rounds that paid nobody, because no drawn evaluator has a score.
    pub void_rounds: u64,
    /// Draws of an evaluator that has no score.
    pub skipped: u64,
}

impl Replicate {
    /// No rounds yet.
    #[must_use]
    pub fn empty(mechanism: &Mechanism) -> Self {
        let network = mechanism.network;
        Self {
            models: vec![Tally::default(); network.models.len()],
            evaluators: vec![Tally::default(); network.evaluators.len()],
            agreement: vec![Agreement::default(); network.proxies.len()],
            void_rounds: 0,
            skipped: 0,
        }
    }

    /// One settled round of an inference node.
    #[inline]
    pub fn add_round(&mut self, mechanism: &Mechanism, model: usize, settled: &Settled) {
        self.skipped += settled.skipped;
        if settled.is_void() {
            self.void_rounds += 1;
            return;
        }
        self.models[model].count(settled.reward, 1);
        for (&evaluator, &reward) in settled.evaluators.iter().zip(&settled.rewards) {
            self.evaluators[evaluator].count(reward, 1);
        }
        for (agreement, proxy) in self.agreement.iter_mut().zip(&mechanism.network.proxies) {
            agreement.count(settled.consensus, proxy.values[settled.judged], 1);
        }
    }

    /// Adds the sums of other rounds.
    pub fn add(&mut self, other: &Self) {
        let both = self.models.iter_mut().zip(&other.models);
        both.chain(self.evaluators.iter_mut().zip(&other.evaluators)).for_each(|(tally, &part)| tally.add(part));
        self.agreement.iter_mut().zip(&other.agreement).for_each(|(agreement, part)| agreement.add(part));
        self.void_rounds += other.void_rounds;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_that_of_the_pairs() {
        let mut agreement = Agreement::default();
        for (x, y, count) in [(1.0, 2.0, 2), (3.0, 3.0, 1), (5.0, f64::NAN, 7), (4.0, 8.0, 1)] {
            agreement.count(x, y, count);
        }
        assert!((agreement.mean_error().expect("rounds") - 1.5).abs() < 1e-12);
        // Pairs (1, 2), (1, 2), (3, 3), (4, 8): covariance 2.8125, variances 1.6875 and 6.1875.
        let expected = 2.8125 / (1.6875_f64 * 6.1875).sqrt();
        assert!((agreement.pearson().expect("spread") - expected).abs() < 1e-12);
        assert_eq!(Agreement::default().mean_error(), None);
        let mut constant = Agreement::default();
        constant.count(5.0, 1.0, 3);
        constant.count(5.0, 2.0, 3);
        assert_eq!(constant.pearson(), None);
    }

    #[test]
    fn the_spread_of_equal_rewards_is_exactly_nothing() {
        let mut tally = Tally::default();
        for _ in 0..250 {
            let mut spell = Tally::default();
            (0..4000).for_each(|_| spell.count(0.7, 1));
            tally.add(spell);
        }
        assert_eq!(tally.deviation(), Some(0.0));
        tally.count(1.7, 1_000_000);
        assert!((tally.deviation().expect("jobs") - 0.5).abs() < 1e-6);
    }
}
