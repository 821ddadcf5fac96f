//! Consensus and trust, and the shapes of rewards (Equations 1 to 5).

use super::{not_negative, positive, share};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whom an evaluator's score is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Deviation {
    /// With the consensus of all, its own score included: Equation 3 as printed.
    #[default]
    Inclusive,
    /// With the consensus of the others: Section 3.2 in words ("its peers"). Alone, an evaluator deviates by 0.
    LeaveOneOut,
}

/// A consensus rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Weighted mean; Equation 1 where the weights are equal.
    #[default]
    Mean,
    /// The middle score, or the midpoint of the two middle ones; weights do not count.
    Median,
    /// Mean without a share of the scores at each end; weights do not count.
    TrimmedMean,
    /// Huber's M-estimator of location with the evaluators' weights.
    Huber,
    /// The score with half of the weight on either side.
    WeightedMedian,
    /// Bittensor's clipping: scores above what a share kappa of the weight supports are cut down to it before the mean.
    Yuma,
}

/// What the evaluators of a round agree on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consensus {
    /// The rule.
    pub rule: Rule,
    /// Share of the scores that a trimmed mean drops at each end, in (0, 0.5); at least one where there are three.
    pub trim: f64,
    /// Distance in points of 0..10 from which Huber's estimator counts a score as an outlier.
    pub huber_delta: f64,
    /// Share of the weight that must support a score under Yuma clipping.
    pub kappa: f64,
    /// Weights of evaluators by node key; 1 for those not named. With `trust`, the weights they begin with.
    pub stakes: BTreeMap<String, f64>,
    /// Weights that learn from deviations; absent: they stay what they are.
    pub trust: Option<Trust>,
}

impl Default for Consensus {
    fn default() -> Self {
        Self { rule: Rule::Mean, trim: 0.2, huber_delta: 1.0, kappa: 0.5, stakes: BTreeMap::new(), trust: None }
    }
}

/// A trust update: what an evaluator's deviation does to its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum TrustUpdate {
    /// `w (1 + rate (0.5 - d))`: Equation 21 of arXiv 2601.21189. Saturates where deviations stay below one half.
    #[default]
    Eq21,
    /// `w exp(10 rate (mean d of the round - d))`: only what sets an evaluator apart from the others counts.
    Relative,
    /// Equation 21 with the deviation from the consensus of the others.
    LeaveOneOut,
    /// A weight that falls linearly, from `max` to `min`, with the exponential moving average of d over [0, 0.5].
    Ema,
}

/// Weights that learn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// The update.
    pub update: TrustUpdate,
    /// lambda: how much one round counts.
    pub rate: f64,
    /// Weights never fall below it.
    pub min: f64,
    /// Weights never rise above it.
    pub max: f64,
}

impl Default for Trust {
    fn default() -> Self {
        Self { update: TrustUpdate::Eq21, rate: 0.1, min: 0.1, max: 2.0 }
    }
}

impl Consensus {
    pub(in crate::settings) fn check(&self) -> Result<()> {
        ensure!(
            self.trim > 0.0 && self.trim < 0.5,
            "`simulation.consensus.trim` must lie between 0 and 0.5, both excluded, for a trimmed mean of two halves has \
             nothing left; it is {}",
            self.trim
        );
        positive("consensus.huber_delta", self.huber_delta)?;
        ensure!(
            self.kappa > 0.0 && self.kappa <= 1.0,
            "`simulation.consensus.kappa` must lie in (0, 1]; it is {}",
            self.kappa
        );
        for (node, stake) in &self.stakes {
            positive(&format!("consensus.stakes.{node}"), *stake)?;
        }
        let Some(trust) = &self.trust else { return Ok(()) };
        positive("consensus.trust.rate", trust.rate)?;
        ensure!(trust.rate <= 1.0, "`simulation.consensus.trust.rate` must be at most 1; it is {}", trust.rate);
        positive("consensus.trust.min", trust.min)?;
        ensure!(
            trust.max.is_finite() && trust.max >= trust.min,
            "`simulation.consensus.trust.max` must be finite and at least `min` ({}); it is {}",
            trust.min,
            trust.max
        );
        for (node, stake) in &self.stakes {
            ensure!(
                (trust.min..=trust.max).contains(stake),
                "`simulation.consensus.stakes.{node}` must lie between `trust.min` and `trust.max`; it is {stake}"
            );
        }
        Ok(())
    }
}

/// How a reward depends on quality and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `alpha Q - beta C` (Equation 2).
    #[default]
    Linear,
    /// `alpha Q - beta C^exponent`: high costs hurt more than in proportion.
    Convex,
    /// `alpha Q [Q >= threshold] - beta C`: quality below the threshold pays nothing.
    Threshold,
}

/// Reward shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rewards {
    /// The shape.
    pub shape: Shape,
    /// Exponent of the convex shape.
    pub exponent: f64,
    /// Quality in [0, 1] from which the threshold shape pays.
    pub threshold: f64,
    /// Factors on both alphas by task type; 1 for those not named.
    pub task_weights: BTreeMap<String, f64>,
}

impl Default for Rewards {
    fn default() -> Self {
        Self { shape: Shape::Linear, exponent: 2.0, threshold: 0.5, task_weights: BTreeMap::new() }
    }
}

impl Rewards {
    pub(in crate::settings) fn check(&self) -> Result<()> {
        ensure!(
            self.exponent.is_finite() && self.exponent >= 1.0,
            "`simulation.rewards.exponent` must be at least 1; it is {}",
            self.exponent
        );
        share("rewards.threshold", self.threshold)?;
        for (task_type, weight) in &self.task_weights {
            not_negative(&format!("rewards.task_weights.{task_type}"), *weight)?;
        }
        Ok(())
    }
}
