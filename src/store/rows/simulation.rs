//! Rows of the tables that `poq simulate` writes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `rewards`: what a node earned, averaged over replicates of the simulation (Table 4 and beyond).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RewardRow {
    /// `inference` or `evaluator`.
    pub node_type: String,
    /// Node key.
    pub node: String,
    /// Mean reward per job over all replicates; null when the node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub avg_reward: Option<f64>,
    /// Standard error of `avg_reward`, from the spread over replicates; null with fewer than two.
    #[schemars(extend("unit" = "reward per job"))]
    pub stderr: Option<f64>,
    /// Standard deviation of the reward over jobs; null when the node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub std_reward: Option<f64>,
    /// 5th percentile of the reward over jobs: the smallest reward that at least 5 % of the jobs did not exceed; null when the
    /// node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub reward_p05: Option<f64>,
    /// Median reward; null when the node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub reward_p50: Option<f64>,
    /// 95th percentile; null when the node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub reward_p95: Option<f64>,
    /// Lower end of the 95 % interval of `avg_reward` (Student's t over replicates); null where `stderr` is.
    #[schemars(extend("unit" = "reward per job"))]
    pub ci_low: Option<f64>,
    /// Upper end of the 95 % interval; null where `stderr` is.
    #[schemars(extend("unit" = "reward per job"))]
    pub ci_high: Option<f64>,
    /// Closed-form expectation of the reward per job, without simulation; null where rounds depend on each other or the closed
    /// form would take too long.
    #[schemars(extend("unit" = "reward per job"))]
    pub expected_reward: Option<f64>,
    /// Closed-form standard deviation of the reward per job; null where `expected_reward` is, or where it alone is unknown.
    #[schemars(extend("unit" = "reward per job"))]
    pub expected_std: Option<f64>,
    /// (`avg_reward` - `expected_reward`) in standard errors: `expected_std / sqrt(jobs)` where that is known, else `stderr`;
    /// null when the standard error is zero or unknown.
    #[schemars(extend("unit" = "standard errors"))]
    pub z: Option<f64>,
    /// What the node would earn on average if nobody were dishonest; null where nobody is.
    #[schemars(extend("unit" = "reward per job"))]
    pub honest_reward: Option<f64>,
    /// Mean latency per sample, in ms; null when nobody knows it.
    #[schemars(extend("unit" = "ms"))]
    pub avg_latency_ms: Option<f64>,
    /// C; in [0, 1] unless costs are absolute.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub cost_norm: f64,
    /// The cost that the node declares, and is charged.
    #[schemars(extend("unit" = "as `cost_norm`"))]
    pub declared_cost: f64,
    /// The cost that its work really takes on average per job: less than C for those who do not look, and for those who
    /// answer with a cheaper model.
    #[schemars(extend("unit" = "as `cost_norm`"))]
    pub spent_cost: f64,
    /// `honest`, or what the node does instead.
    pub strategy: String,
    /// Mean over replicates of the evaluator's weight after the last round; null where weights do not learn.
    #[schemars(extend("unit" = "weight"))]
    pub trust_weight: Option<f64>,
    /// Jobs over all replicates.
    pub jobs: i64,
    /// Replicates simulated.
    pub replicates: i32,
}

/// `network`: one figure of the simulation that belongs to no node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkRow {
    /// What is measured: `consensus_error` (mean absolute difference of consensus and proxy, points), `consensus_pearson`
    /// (their correlation) and `ranking_kendall` (of nodes by reward and by proxy) for each proxy;
    /// `payout_inference_per_round` and `payout_evaluators_per_round` (reward units); more where there are attacks,
    /// weights that learn or a scheduler, which `docs/mechanism.md` explains.
    pub metric: String,
    /// What consensus is held against, `f1` or `judge`; null for metrics that need nothing.
    pub proxy: Option<String>,
    /// The figure; null where it cannot be computed.
    #[schemars(extend("unit" = "as `metric` says"))]
    pub value: Option<f64>,
}

/// `rounds`: one round of Algorithm 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundRow {
    /// Replicate the round belongs to.
    #[schemars(extend("unit" = "number"))]
    pub replicate: i32,
    /// Round number within the replicate.
    #[schemars(extend("unit" = "number"))]
    pub round: i64,
    /// Record i.
    pub task_id: String,
    /// Inference node f.
    pub model: String,
    /// The inference node whose answer was judged: another than `model` where that swapped it.
    pub answered_by: String,
    /// S: the evaluators that were drawn and have a score.
    pub evaluators: Vec<String>,
    /// What each of them reported, in [0, 10].
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub reports: Vec<f64>,
    /// What each of them weighed.
    #[schemars(extend("unit" = "weight"))]
    pub weights: Vec<f64>,
    /// Q in [0, 1] (Equation 1); null when no drawn evaluator has a score.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub consensus: Option<f64>,
    /// Factor on `beta_F`, from the load of the inference node; 1 without congestion.
    #[schemars(extend("unit" = "factor"))]
    pub congestion: f64,
    /// Whether an audit caught the inference node with a false cost.
    pub caught_inference: bool,
    /// Whether an audit caught each evaluator, in the order of `evaluators`.
    pub caught_evaluators: Vec<bool>,
    /// `R_F` (Equation 2); null when `consensus` is.
    #[schemars(extend("unit" = "reward"))]
    pub reward_inference: Option<f64>,
    /// `R_M` (Equation 5), in the order of `evaluators`.
    #[schemars(extend("unit" = "reward"))]
    pub rewards_evaluators: Vec<f64>,
}
