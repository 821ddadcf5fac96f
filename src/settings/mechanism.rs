//! The parts of `[simulation]`: consensus and trust, reward shapes, costs, scheduling, pools, attacks and audits. Each
//! field with its default; where the papers give none, the default is ours (`docs/mechanism.md` says which).

use anyhow::{Result, bail, ensure};
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
    pub(super) fn check(&self) -> Result<()> {
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
    pub(super) fn check(&self) -> Result<()> {
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

/// How costs are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CostScale {
    /// `(x - min) / (max - min)` within the pool (Section 3.3).
    #[default]
    MinMax,
    /// `x / max` within the pool: the cheapest node costs something too.
    Max,
    /// `x / unit`: does not depend on who else is in the pool, and may exceed 1.
    Absolute,
}

/// What a node's cost x is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CostBasis {
    /// Mean latency in ms times the node's hardware multiplier.
    #[default]
    Latency,
    /// Money per answer: machine time, energy and bandwidth.
    Money,
}

/// The cost model. Maps are by node key; `default` in a map stands for all nodes that it does not name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Costs {
    /// What is counted.
    pub basis: CostBasis,
    /// How it becomes C.
    pub scale: CostScale,
    /// What counts as C = 1 on the absolute scale: ms, or money per 1,000 answers.
    pub unit: f64,
    /// Multipliers of latency, for nodes on other hardware than the profile's; 1 where not given.
    pub hardware: BTreeMap<String, f64>,
    /// Price of a machine per hour; 0 where not given.
    pub price_per_hour: BTreeMap<String, f64>,
    /// Power drawn while working, in watts; 0 where not given.
    pub power_watts: BTreeMap<String, f64>,
    /// Price of energy per kWh.
    pub energy_price: f64,
    /// Bytes sent per answer; 0 where not given.
    pub bytes_per_answer: BTreeMap<String, f64>,
    /// Price of bandwidth per GB (10^9 bytes).
    pub bandwidth_price: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            basis: CostBasis::Latency,
            scale: CostScale::MinMax,
            unit: 1000.0,
            hardware: BTreeMap::new(),
            price_per_hour: BTreeMap::new(),
            power_watts: BTreeMap::new(),
            energy_price: 0.0,
            bytes_per_answer: BTreeMap::new(),
            bandwidth_price: 0.0,
        }
    }
}

impl Costs {
    pub(super) fn check(&self) -> Result<()> {
        positive("costs.unit", self.unit)?;
        not_negative("costs.energy_price", self.energy_price)?;
        not_negative("costs.bandwidth_price", self.bandwidth_price)?;
        for (node, factor) in &self.hardware {
            positive(&format!("costs.hardware.{node}"), *factor)?;
        }
        let maps = [
            ("price_per_hour", &self.price_per_hour),
            ("power_watts", &self.power_watts),
            ("bytes_per_answer", &self.bytes_per_answer),
        ];
        for (field, map) in maps {
            for (node, value) in map {
                not_negative(&format!("costs.{field}.{node}"), *value)?;
            }
        }
        let prices = [("energy_price", self.energy_price), ("bandwidth_price", self.bandwidth_price)];
        let mut charged = prices.iter().filter(|(_, price)| *price > 0.0).map(|(field, _)| *field);
        let mut mapped = maps.iter().filter(|(_, map)| !map.is_empty()).map(|(field, _)| *field);
        let money = charged.next().or_else(|| mapped.next());
        match (self.basis, money) {
            (CostBasis::Latency, Some(field)) => {
                bail!("`simulation.costs.{field}` means nothing unless `simulation.costs.basis` is `money`")
            }
            (CostBasis::Money, None) => bail!(
                "`simulation.costs.basis` is `money`, but nothing has a price: set `price_per_hour`, `power_watts` with \
                 `energy_price`, or `bytes_per_answer` with `bandwidth_price`"
            ),
            _ => Ok(()),
        }
    }

    /// Whether costs are those of the profile.
    #[must_use]
    pub fn are_those_of_the_profile(&self) -> bool {
        (self.basis, self.scale) == (CostBasis::Latency, CostScale::MinMax) && self.hardware.is_empty()
    }
}

/// How inference nodes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// All alike (Algorithm 1).
    #[default]
    Uniform,
    /// With probability proportional to the mean reward so far, where that is positive.
    Proportional,
    /// Thompson sampling with a normal posterior of each node's mean reward.
    Thompson,
    /// UCB1: the largest mean reward plus `exploration sqrt(2 ln t / n)`.
    Ucb,
}

/// Scheduling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// The policy.
    pub policy: Policy,
    /// Share of rounds drawn uniformly by `proportional`; width of the bonus of `ucb`, in units of reward.
    pub exploration: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { policy: Policy::Uniform, exploration: 0.1 }
    }
}

impl Schedule {
    pub(super) fn check(&self) -> Result<()> {
        not_negative("schedule.exploration", self.exploration)?;
        if self.policy == Policy::Proportional {
            share("schedule.exploration", self.exploration)?;
        }
        Ok(())
    }
}

/// Cost weights that follow load: `beta_F (1 + strength (load - 1))`, at least 0, where load is the node's share of recent
/// rounds relative to an equal share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Congestion {
    /// How much twice the equal share adds, relative to `beta_f`.
    pub strength: f64,
    /// Rounds that count as recent: the time constant of an exponential moving average.
    pub memory: f64,
}

impl Default for Congestion {
    fn default() -> Self {
        Self { strength: 1.0, memory: 100.0 }
    }
}

impl Congestion {
    pub(super) fn check(&self) -> Result<()> {
        not_negative("congestion.strength", self.strength)?;
        ensure!(
            self.memory.is_finite() && self.memory >= 1.0,
            "`simulation.congestion.memory` must be at least 1 round; it is {}",
            self.memory
        );
        Ok(())
    }
}

/// How synthetic evaluators are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PoolMethod {
    /// A real evaluator's scores plus normal noise, cut to 0..10.
    #[default]
    Noise,
    /// A one-factor Gaussian copula fitted to the real evaluators, with their own distributions of scores.
    Copula,
}

/// A pool of synthetic evaluators: the i-th is modelled on the template number i modulo their count, and costs as much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Evaluators in the pool.
    pub evaluators: usize,
    /// How they are made.
    pub method: PoolMethod,
    /// Node keys of the real evaluators that they are modelled on; empty: all of them.
    pub templates: Vec<String>,
    /// Standard deviation of the noise, in points of 0..10.
    pub noise: f64,
    /// Seed of the pool: the same pool for every seed of the simulation.
    pub seed: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self { evaluators: 20, method: PoolMethod::Noise, templates: Vec::new(), noise: 1.0, seed: 42 }
    }
}

impl Pool {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(
            (2..=1000).contains(&self.evaluators),
            "`simulation.pool.evaluators` must lie between 2 and 1000; it is {}",
            self.evaluators
        );
        not_negative("pool.noise", self.noise)
    }
}

/// What a dishonest evaluator does. s is the score it would report if it were honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum EvaluatorStrategy {
    /// `s + N(0, strength^2)`, cut to 0..10.
    Noise,
    /// `min(10, s + strength)`: Equation 18 of arXiv 2601.21189.
    Boost,
    /// `max(0, s - strength)`.
    Sabotage,
    /// Boost of the inference node `target`, honest about the others.
    Collude,
    /// Does not look: reports the pool's mean score always.
    Lazy,
    /// Does not look: reports the mean of what the others of its round have reported; with commit-reveal, or alone, it is lazy.
    Copycat,
    /// Honest about answers, and declares `strength` times its cost.
    Misreport,
}

/// Some evaluators that are not honest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluatorAttack {
    /// What they do.
    pub strategy: EvaluatorStrategy,
    /// Their share of the pool, rounded to the nearest whole evaluator; which ones is drawn with the simulation's seed.
    pub share: Option<f64>,
    /// Their number, in place of a share.
    pub count: Option<usize>,
    /// Their node keys, in place of a share.
    pub nodes: Option<Vec<String>>,
    /// sigma of noise (default 2), points of a boost, a sabotage or a collusion (default 3), factor on a declared cost
    /// (default 0.5).
    pub strength: Option<f64>,
    /// Probability of doing it in a round, honest otherwise (intermittent manipulation; default 1).
    pub probability: Option<f64>,
    /// Inference node in whose favour they collude.
    pub target: Option<String>,
    /// Whether scores are committed before they are revealed, so that a copycat has nothing to copy (default false).
    pub commit_reveal: Option<bool>,
}

impl EvaluatorAttack {
    /// `strength`, or its default.
    #[must_use]
    pub fn strength(&self) -> f64 {
        self.strength.unwrap_or(match self.strategy {
            EvaluatorStrategy::Noise => 2.0,
            EvaluatorStrategy::Misreport => 0.5,
            _ => 3.0,
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        use EvaluatorStrategy::{Collude, Copycat, Lazy, Misreport};
        let given =
            usize::from(self.share.is_some()) + usize::from(self.count.is_some()) + usize::from(self.nodes.is_some());
        ensure!(given == 1, "say who: exactly one of `share`, `count` and `nodes`");
        if let Some(value) = self.share {
            ensure!((0.0..=1.0).contains(&value), "`share` must lie in 0..1; it is {value}");
        }
        if let Some(value) = self.probability {
            ensure!((0.0..=1.0).contains(&value), "`probability` must lie in 0..1; it is {value}");
        }
        let strength = self.strength();
        ensure!(strength.is_finite() && strength >= 0.0, "`strength` must be finite and at least 0; it is {strength}");
        let strategy = self.strategy;
        if matches!(strategy, Lazy | Copycat) && self.strength.is_some() {
            bail!("`strength` means nothing to `lazy` and `copycat`");
        }
        if strategy == Misreport && self.probability.is_some() {
            bail!("`probability` means nothing to `misreport`: a cost is declared once");
        }
        match (strategy == Collude, self.target.is_some()) {
            (true, false) => bail!("`collude` needs the inference node it favours as `target`"),
            (false, true) => bail!("`target` means nothing but to `collude`"),
            _ => {}
        }
        if self.commit_reveal.is_some() && strategy != Copycat {
            bail!("`commit_reveal` means nothing but to `copycat`");
        }
        Ok(())
    }
}

/// What a dishonest inference node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum InferenceStrategy {
    /// Answers with the cheaper model `with`, and is charged its own cost.
    Swap,
    /// Declares `strength` times its cost.
    Misreport,
}

/// An inference node that is not honest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferenceAttack {
    /// What it does.
    pub strategy: InferenceStrategy,
    /// Its node key.
    pub node: String,
    /// The inference node whose answers it passes off as its own.
    pub with: Option<String>,
    /// Probability of swapping in a round (default 1).
    pub probability: Option<f64>,
    /// Factor on the declared cost (default 0.5).
    pub strength: Option<f64>,
}

impl InferenceAttack {
    /// `strength`, or its default.
    #[must_use]
    pub fn strength(&self) -> f64 {
        self.strength.unwrap_or(0.5)
    }

    pub(super) fn check(&self) -> Result<()> {
        let swap = self.strategy == InferenceStrategy::Swap;
        match (swap, &self.with) {
            (true, None) => bail!("`swap` needs the inference node it answers `with`"),
            (false, Some(_)) => bail!("`with` means nothing but to `swap`"),
            (true, Some(with)) => ensure!(*with != self.node, "`{with}` cannot be swapped for itself"),
            _ => {}
        }
        if swap && self.strength.is_some() {
            bail!("`strength` means nothing to `swap`");
        }
        if !swap && self.probability.is_some() {
            bail!("`probability` means nothing to `misreport`: a cost is declared once");
        }
        if let Some(value) = self.probability {
            ensure!((0.0..=1.0).contains(&value), "`probability` must lie in 0..1; it is {value}");
        }
        let strength = self.strength();
        ensure!(strength.is_finite() && strength >= 0.0, "`strength` must be finite and at least 0; it is {strength}");
        Ok(())
    }
}

/// Random audits of declared costs. An audit finds out the true cost; who declared another one pays the penalty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Probability that a job is audited.
    pub probability: f64,
    /// What a found misreport costs, in units of reward.
    pub penalty: f64,
}

impl Audit {
    pub(super) fn check(&self) -> Result<()> {
        share("audit.probability", self.probability)?;
        not_negative("audit.penalty", self.penalty)
    }
}

fn share(field: &str, value: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&value), "`simulation.{field}` must lie in 0..1; it is {value}");
    Ok(())
}

fn positive(field: &str, value: f64) -> Result<()> {
    ensure!(value.is_finite() && value > 0.0, "`simulation.{field}` must be a finite number above 0; it is {value}");
    Ok(())
}

fn not_negative(field: &str, value: f64) -> Result<()> {
    ensure!(
        value.is_finite() && value >= 0.0,
        "`simulation.{field}` must be a finite number of at least 0; it is {value}"
    );
    Ok(())
}
