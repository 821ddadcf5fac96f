//! Weights that learn from deviations (arXiv 2601.21189, Equation 21, and three rules beside it), and how one
//! sees that they have stopped telling evaluators apart.

use crate::settings::mechanism::{Trust, TrustUpdate};

/// The weights of a pool of evaluators over the rounds of one replicate.
#[derive(Debug, Clone)]
pub struct Weights {
    settings: Trust,
    current: Vec<f64>,
    /// Exponential moving averages of deviations, where the update wants them.
    averages: Vec<f64>,
    /// Evaluators whose weight is `max`.
    at_max: usize,
    rounds: u64,
    saturation: Saturation,
}

/// How far trust has stopped telling evaluators apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Saturation {
    /// The round, counted from 1, after which all weights were `max` for the first time: the rule was the one with equal
    /// weights then. None if that did not happen.
    pub first: Option<u64>,
    /// Rounds that ended so.
    pub rounds: u64,
    /// Evaluators whose weight is `max` now.
    pub at_max: usize,
}

impl Weights {
    /// Weights to begin with, brought within the bounds of the settings.
    #[must_use]
    pub fn new(settings: &Trust, initial: &[f64]) -> Self {
        let mut weights = Self {
            settings: settings.clone(),
            current: initial.iter().map(|weight| weight.clamp(settings.min, settings.max)).collect(),
            averages: Vec::new(),
            at_max: 0,
            rounds: 0,
            saturation: Saturation::default(),
        };
        // The average at which the update leaves the weight as it is.
        let Trust { min, max, .. } = settings;
        let average = |weight: &f64| if max > min { (max - weight) / (max - min) / 2.0 } else { 0.0 };
        weights.averages = weights.current.iter().map(average).collect();
        weights.at_max = weights.current.iter().filter(|&&weight| weights.is_max(weight)).count();
        weights
    }

    /// The weight of each evaluator.
    #[must_use]
    pub fn get(&self) -> &[f64] {
        &self.current
    }

    /// How far weights have stopped to differ.
    #[must_use]
    pub fn saturation(&self) -> Saturation {
        Saturation { at_max: self.at_max, ..self.saturation }
    }

    /// Whether the update compares with the others, whatever evaluators are paid by.
    #[must_use]
    pub fn wants_the_others(&self) -> bool {
        self.settings.update == TrustUpdate::LeaveOneOut
    }

    /// Lets a round pass in which nobody reported.
    pub fn pass(&mut self) {
        self.rounds += 1;
        self.look();
    }

    /// Whether the round that ends here ends with equal weights.
    fn look(&mut self) {
        if self.at_max == self.current.len() {
            self.saturation.rounds += 1;
            self.saturation.first.get_or_insert(self.rounds);
        }
    }

    /// Lets one round count: the deviation d in [0, 1] of each evaluator that took part.
    pub fn learn(&mut self, evaluators: impl Iterator<Item = usize> + Clone, deviations: &[f64]) {
        self.rounds += 1;
        let mean = deviations.iter().sum::<f64>() / deviations.len() as f64;
        for (evaluator, &deviation) in evaluators.zip(deviations) {
            let before = self.current[evaluator];
            let after = self.updated(evaluator, before, deviation, mean).clamp(self.settings.min, self.settings.max);
            self.at_max += usize::from(self.is_max(after));
            self.at_max -= usize::from(self.is_max(before));
            self.current[evaluator] = after;
        }
        self.look();
    }

    fn updated(&mut self, evaluator: usize, weight: f64, deviation: f64, mean: f64) -> f64 {
        let Trust { update, rate, min, max } = self.settings;
        match update {
            TrustUpdate::Eq21 | TrustUpdate::LeaveOneOut => weight * (1.0 + rate * (0.5 - deviation)),
            TrustUpdate::Relative => weight * (10.0 * rate * (mean - deviation)).exp(),
            TrustUpdate::Ema => {
                let average = &mut self.averages[evaluator];
                *average += rate * (deviation - *average);
                max - (max - min) * (2.0 * *average).min(1.0)
            }
        }
    }

    fn is_max(&self, weight: f64) -> bool {
        weight >= self.settings.max * (1.0 - 1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(update: TrustUpdate, rate: f64) -> Weights {
        Weights::new(&Trust { update, rate, ..Trust::default() }, &[1.0; 3])
    }

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn one_round_by_hand() {
        let deviations = [0.1, 0.6];
        let mut published = weights(TrustUpdate::Eq21, 0.1);
        published.learn([0, 2].into_iter(), &deviations);
        for (weight, expected) in published.get().iter().zip([1.04, 1.0, 0.99]) {
            assert_close(*weight, expected);
        }
        let mut relative = weights(TrustUpdate::Relative, 0.1);
        relative.learn([0, 2].into_iter(), &deviations);
        for (weight, expected) in relative.get().iter().zip([0.25_f64.exp(), 1.0, (-0.25_f64).exp()]) {
            assert_close(*weight, expected);
        }
        let mut average = weights(TrustUpdate::Ema, 0.5);
        average.learn([0, 2].into_iter(), &deviations);
        average.learn([2].into_iter(), &[0.8]);
        // Weight 1 stands for an average of 1 / 1.9 / 2; it moves half of the way to 0.1.
        let begun = 0.5 / 1.9;
        assert_close(average.get()[1], 1.0);
        assert_close(average.get()[0], 2.0 - 1.9 * 2.0 * (begun + 0.5 * (0.1 - begun)));
        let third = begun + 0.5 * (0.6 - begun);
        assert_close(average.get()[2], 2.0 - 1.9 * (2.0 * (third + 0.5 * (0.8 - third))).min(1.0));
    }

    /// Evaluators that deviate by less than a half only ever gain under Equation 21: it ends as the plain mean.
    #[test]
    fn the_published_update_saturates_and_says_when() {
        let mut published = weights(TrustUpdate::Eq21, 0.1);
        for _ in 0..60 {
            published.learn(0..3, &[0.0, 0.1, 0.4]);
        }
        // 1.01^n reaches 2 after 70 rounds: the worst of three is not there yet.
        assert_eq!(published.saturation().first, None);
        for _ in 60..80 {
            published.learn(0..3, &[0.0, 0.1, 0.4]);
        }
        assert_eq!(published.saturation().first, Some(70));
        assert!(published.get().iter().all(|&weight| (weight - 2.0).abs() < 1e-12));
        let mut relative = weights(TrustUpdate::Relative, 0.1);
        for _ in 0..1000 {
            relative.learn(0..3, &[0.0, 0.1, 0.4]);
        }
        assert_eq!(relative.saturation().first, None);
        assert_close(relative.get()[2], 0.1);
    }

    #[test]
    fn a_weight_can_leave_its_bound_again() {
        let mut weights = weights(TrustUpdate::Eq21, 1.0);
        (0..10).for_each(|_| weights.learn([0, 1].into_iter(), &[0.0, 0.0]));
        assert_close(weights.get()[1], 2.0);
        weights.learn([1].into_iter(), &[0.9]);
        assert_close(weights.get()[1], 1.2);
        (0..10).for_each(|_| weights.learn([2].into_iter(), &[0.0]));
        assert_eq!(
            (weights.saturation().first, weights.saturation().at_max),
            (None, 2),
            "the second is below its bound"
        );
        (0..10).for_each(|_| weights.learn([1].into_iter(), &[0.0]));
        // Ten more rounds: 1.2 is 1.8 after one and 2 after two.
        assert_eq!(weights.saturation(), Saturation { first: Some(23), rounds: 9, at_max: 3 });
        weights.pass();
        weights.learn([0].into_iter(), &[0.9]);
        assert_eq!(weights.saturation(), Saturation { first: Some(23), rounds: 10, at_max: 2 });
    }
}
