//! What a round pays, as pure functions: Equations 2, 4 and 5, and the shapes and charges beside them.

use crate::settings::Simulation;
use crate::settings::mechanism::{Rewards, Shape};

/// `R_F = alpha_F Q - beta_F C_F` (Equation 2), for quality Q in [0, 1] and cost C.
#[must_use]
pub fn inference(alpha: f64, beta: f64, quality: f64, cost: f64) -> f64 {
    alpha * quality - beta * cost
}

/// `C_close = 1 - d` (Equation 4), for a deviation d in [0, 1].
#[must_use]
pub fn closeness(deviation: f64) -> f64 {
    1.0 - deviation
}

/// `R_M = alpha_M C_close - beta_M C_M` (Equation 5), for closeness in [0, 1] and cost C.
#[must_use]
pub fn evaluator(alpha: f64, beta: f64, closeness: f64, cost: f64) -> f64 {
    alpha * closeness - beta * cost
}

/// The quality that is paid for: all of it, or under the threshold shape none below the threshold.
#[must_use]
pub fn paid_quality(rewards: &Rewards, quality: f64) -> f64 {
    if rewards.shape == Shape::Threshold && quality < rewards.threshold { 0.0 } else { quality }
}

/// The cost that is charged: C, or under the convex shape `C^exponent`.
#[must_use]
pub fn charged_cost(rewards: &Rewards, cost: f64) -> f64 {
    if rewards.shape == Shape::Convex { cost.powf(rewards.exponent) } else { cost }
}

/// The prices of one configuration, looked up by record and node.
#[derive(Debug, Clone)]
pub struct Prices {
    rewards: Rewards,
    alpha_f: f64,
    beta_f: f64,
    alpha_m: f64,
    beta_m: f64,
    penalty: f64,
    /// Factor on both alphas, by record.
    task_weights: Vec<f64>,
    /// Charged cost by inference node: of what it declares.
    models: Vec<f64>,
    /// Charged cost by evaluator.
    evaluators: Vec<f64>,
}

impl Prices {
    /// Prices for records of these weights and nodes of these declared costs.
    #[must_use]
    pub fn new(settings: &Simulation, task_weights: Vec<f64>, models: &[f64], evaluators: &[f64]) -> Self {
        let charged = |costs: &[f64]| costs.iter().map(|&cost| charged_cost(&settings.rewards, cost)).collect();
        Self {
            alpha_f: settings.alpha_f,
            beta_f: settings.beta_f,
            alpha_m: settings.alpha_m,
            beta_m: settings.beta_m,
            penalty: settings.audit.penalty,
            task_weights,
            models: charged(models),
            evaluators: charged(evaluators),
            rewards: settings.rewards.clone(),
        }
    }

    /// The reward of inference node `model` for quality Q in [0, 1] on record `task`; `congestion` is a factor on `beta_F`.
    #[must_use]
    pub fn inference(&self, task: usize, model: usize, quality: f64, congestion: f64, caught: bool) -> f64 {
        let alpha = self.alpha_f * self.task_weights[task];
        let reward =
            inference(alpha, self.beta_f * congestion, paid_quality(&self.rewards, quality), self.models[model]);
        if caught { reward - self.penalty } else { reward }
    }

    /// The reward of an evaluator for a deviation d in [0, 1] on record `task`.
    #[must_use]
    pub fn evaluator(&self, task: usize, node: usize, deviation: f64, caught: bool) -> f64 {
        let alpha = self.alpha_m * self.task_weights[task];
        let reward = evaluator(alpha, self.beta_m, closeness(deviation), self.evaluators[node]);
        if caught { reward - self.penalty } else { reward }
    }

    /// The least and the most that a round can pay inference node `model`, congestion up to `congestion` included; `caught`
    /// if it can be.
    #[must_use]
    pub fn bounds_of_model(&self, model: usize, congestion: f64, caught: bool) -> (f64, f64) {
        let penalty = if caught { self.penalty } else { 0.0 };
        // Congestion can take the weight of cost down to 0.
        let least = if congestion > 1.0 { 0.0 } else { 1.0 };
        let charge = self.beta_f * self.models[model];
        (-charge * congestion.max(1.0) - penalty, self.alpha_f * self.largest_weight() - charge * least)
    }

    /// The same of an evaluator.
    #[must_use]
    pub fn bounds_of_evaluator(&self, node: usize, caught: bool) -> (f64, f64) {
        let penalty = if caught { self.penalty } else { 0.0 };
        let charge = self.beta_m * self.evaluators[node];
        (-charge - penalty, self.alpha_m * self.largest_weight() - charge)
    }

    fn largest_weight(&self) -> f64 {
        self.task_weights.iter().copied().fold(0.0, f64::max)
    }

    /// The least and the most that a round can pay anybody, congestion up to `congestion` included.
    #[must_use]
    pub fn bounds(&self, congestion: f64) -> (f64, f64) {
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let charge = (self.beta_f * congestion * most(&self.models)).max(self.beta_m * most(&self.evaluators));
        (-charge - self.penalty, self.alpha_f.max(self.alpha_m) * most(&self.task_weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn worked_examples() {
        assert_close(inference(1.0, 0.3, 0.6, 0.5), 0.45);
        assert_close(inference(1.0, 0.5, 0.2, 1.0), -0.3);
        assert_close(evaluator(1.0, 0.3, closeness(0.25), 0.5), 0.6);
        assert_close(evaluator(2.0, 0.0, closeness(0.0), 1.0), 2.0);
    }

    #[test]
    fn shapes_task_weights_and_penalties() {
        let with = |shape| {
            let rewards = Rewards { shape, exponent: 2.0, threshold: 0.5, ..Rewards::default() };
            let mut settings = Simulation { rewards, ..Simulation::default() };
            settings.audit.penalty = 2.0;
            Prices::new(&settings, vec![1.0, 0.5], &[0.5], &[0.0, 0.5])
        };
        assert_close(with(Shape::Linear).inference(0, 0, 0.4, 1.0, false), 0.4 - 0.15);
        assert_close(with(Shape::Linear).inference(1, 0, 0.4, 2.0, false), 0.2 - 0.3);
        assert_close(with(Shape::Convex).inference(0, 0, 0.4, 1.0, false), 0.4 - 0.3 * 0.25);
        assert_close(with(Shape::Convex).evaluator(0, 1, 0.1, false), 0.9 - 0.3 * 0.25);
        assert_close(with(Shape::Threshold).inference(0, 0, 0.4, 1.0, false), -0.15);
        assert_close(with(Shape::Threshold).inference(0, 0, 0.5, 1.0, true), 0.5 - 0.15 - 2.0);
        assert_close(with(Shape::Linear).evaluator(1, 0, 0.2, true), 0.4 - 2.0);
        let (low, high) = with(Shape::Linear).bounds(1.0);
        assert_close(low, -2.15);
        assert_close(high, 1.0);
    }
}
