//! Rows of the tables that `poq signals` writes.

use super::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `signals`: one signal of one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignalRow {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node that answered.
    pub model: String,
    /// `qa` or `summarization`.
    pub task_type: String,
    /// A quality dimension (`model_prior`, `cost_prior`, `structure`, `semantic`, `alignment`, `agreement`), `composite` or
    /// `composite_calibrated`.
    pub signal: String,
    /// What it was computed from in this run: node keys of evaluators joined by `+`, or the name of a rule.
    pub source: String,
    /// The signal in [0, 1], higher is better; null where it cannot be computed for this answer, never zero instead.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub value: Option<f64>,
    /// Why there is no value; null when there is a value.
    pub error: Option<String>,
}

/// `signals`, and of it what a quality is read from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalValue {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node that answered.
    pub model: String,
    /// Name of the signal.
    pub signal: String,
    /// The signal in [0, 1]; null where it could not be computed.
    pub value: Option<f64>,
}

/// `signal_audit`: how one signal follows the reference quality on the answers to one type of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignalAuditRow {
    /// `qa` or `summarization`.
    pub task_type: String,
    /// Name of the signal; for evaluators the node key.
    pub signal: String,
    /// `dimension`, `composite`, `consensus` (mean or median of the M nodes' scores) or `evaluator` (one evaluator alone).
    pub kind: String,
    /// What it was computed from in this run, as in `signals`.
    pub source: String,
    /// The reference quality it is held against: `f1` or `exact_match`.
    pub reference: String,
    /// Records looked at: `fit` (the half that chose what is kept), `held_out` (the other half) or `all`. Under `all`,
    /// signals with the model prior in them are compared within each half: values and reference less the means of the
    /// half. For each half's prior is the mean of the other half, which over both would pull r down by itself.
    pub split: String,
    /// Answers that have both the signal and the reference.
    pub n: i64,
    /// Records (tasks) behind them.
    pub records: i64,
    /// Pearson's r; null for fewer than three answers or a constant column.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub pearson: Option<f64>,
    /// Lower end of its 95 % interval, by resampling records; null for fewer than ten of them, where `pearson` is, and where
    /// r is not defined in 95 % of the resamples.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub ci_low: Option<f64>,
    /// Upper end of the interval; null where `ci_low` is.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub ci_high: Option<f64>,
    /// Spearman's rho, ties by mean rank; null where `pearson` is.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub spearman: Option<f64>,
    /// `positive` or `negative` where the whole interval lies on one side of zero, `unclear` where it does not or there is no
    /// interval; null where `pearson` is.
    pub sign: Option<String>,
    /// Weight in `composite`, of a sum of 1; null for what is no dimension.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub default_weight: Option<f64>,
    /// Whether the dimension is in A, the set that calibration keeps for this task type; null for what is no dimension.
    pub kept: Option<bool>,
    /// Weight in `composite_calibrated`, of a sum of 1; null for what is no dimension, and for all where A is empty.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub calibrated_weight: Option<f64>,
}

/// `cascade`: one threshold of the cascade on the answers to one type of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CascadeRow {
    /// `qa`, `summarization` or `all`. Under `all`, shares, costs and differences are over all answers, and correlations
    /// are the unweighted mean over task types, null unless every type has one.
    pub task_type: String,
    /// Points of 0..10 within which a score is in doubt: 0 stops at the first evaluator, 10 runs them all.
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub threshold: f64,
    /// The score, in points of 0..10, whose neighbourhood is in doubt.
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub middle: f64,
    /// `mean` (of the evaluators that ran) or `last` (the score of the last one that ran).
    pub verdict: String,
    /// Node keys in the order in which they run.
    pub evaluators: Vec<String>,
    /// The reference quality that scores are held against: `f1` or `exact_match`.
    pub reference: String,
    /// Answers that every evaluator of the cascade has scored; the others are left out.
    pub n: i64,
    /// Share of answers that went past the first evaluator; null without answers.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub escalated_share: Option<f64>,
    /// Mean number of evaluators that ran per answer; null without answers.
    #[schemars(extend("unit" = "evaluators per answer"))]
    pub mean_evaluators: Option<f64>,
    /// Mean cost per answer: latencies of the evaluators that ran, added up, in ms; null without answers.
    #[schemars(extend("unit" = "ms"))]
    pub cost_ms: Option<f64>,
    /// Cost of running them all, in ms.
    #[schemars(extend("unit" = "ms"))]
    pub cost_full_ms: f64,
    /// Cost of running the last one alone, in ms.
    #[schemars(extend("unit" = "ms"))]
    pub cost_last_ms: f64,
    /// 1 - `cost_ms` / `cost_full_ms`; null without answers or without a cost.
    #[schemars(extend("unit" = "share, at most 1"))]
    pub cost_saved_vs_full: Option<f64>,
    /// 1 - `cost_ms` / `cost_last_ms`; negative where the cascade costs more than its last evaluator alone; null without
    /// answers or without a cost.
    #[schemars(extend("unit" = "share, at most 1"))]
    pub cost_saved_vs_last: Option<f64>,
    /// Pearson's r of the cascade's score with the reference; null for fewer than three answers or a constant column.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub pearson: Option<f64>,
    /// Lower end of its 95 % interval, by resampling records; null for fewer than ten records.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub ci_low: Option<f64>,
    /// Upper end of the interval; null where `ci_low` is.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub ci_high: Option<f64>,
    /// Spearman's rho of the cascade's score with the reference; null where `pearson` is.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub spearman: Option<f64>,
    /// Pearson's r of the consensus: the mean over all evaluators of the cascade; null for fewer than three answers or a
    /// constant column.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub pearson_consensus: Option<f64>,
    /// Spearman's rho of the consensus; null where `pearson_consensus` is.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub spearman_consensus: Option<f64>,
    /// Pearson's r of the last evaluator alone; null for fewer than three answers or a constant column.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub pearson_last: Option<f64>,
    /// Spearman's rho of the last evaluator alone; null where `pearson_last` is.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub spearman_last: Option<f64>,
    /// Quality lost against the consensus: mean absolute difference of the scores, in points of 0..10; null without answers.
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub mean_abs_difference_consensus: Option<f64>,
    /// The same against the last evaluator alone; null without answers.
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub mean_abs_difference_last: Option<f64>,
}

impl Row for SignalRow {
    const TABLE: &'static str = "signals";
}

impl Row for SignalValue {
    const TABLE: &'static str = "signals";
}

impl Row for SignalAuditRow {
    const TABLE: &'static str = "signal_audit";
}

impl Row for CascadeRow {
    const TABLE: &'static str = "cascade";
}
