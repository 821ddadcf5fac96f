//! Arguments of `poq simulate` and `poq sweep`.

use super::StageArguments;
use super::parse::{k, setting};
use crate::settings::mechanism::{Deviation, Rule};
use crate::settings::{EvaluatorsPerRound, RoundLog};
use clap::Args;
use std::path::PathBuf;

/// `poq simulate`.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// Directory of the run, e.g. results/quick; may be left out with --infer-coefficients
    pub run: Option<PathBuf>,
    /// Simulate nothing: print which alpha and beta fit the rewards of the run, or of the paper's Table 4 without a run
    #[arg(long, conflicts_with_all = ["rounds", "replicates", "seed", "k", "alpha", "beta", "alpha_f", "beta_f", "alpha_m", "beta_m", "rule", "deviation", "round_log", "set"])]
    pub infer_coefficients: bool,
    /// Whose rewards to infer from when there is no run [default: paper]
    #[arg(long, value_enum, requires = "infer_coefficients", conflicts_with = "run")]
    pub preset: Option<Preset>,
    /// Rounds per replicate
    #[arg(long, value_name = "N")]
    pub rounds: Option<u64>,
    /// Independent replicates
    #[arg(long, value_name = "N")]
    pub replicates: Option<u32>,
    /// Seed of all streams
    #[arg(long)]
    pub seed: Option<u64>,
    /// Evaluators per round: a number, or a range like 1..3
    #[arg(long, value_name = "K", value_parser = k)]
    pub k: Option<EvaluatorsPerRound>,
    /// Weight of quality, for inference nodes and evaluators
    #[arg(long)]
    pub alpha: Option<f64>,
    /// Weight of cost, for inference nodes and evaluators
    #[arg(long)]
    pub beta: Option<f64>,
    /// Weight of quality for inference nodes
    #[arg(long)]
    pub alpha_f: Option<f64>,
    /// Weight of cost for inference nodes
    #[arg(long)]
    pub beta_f: Option<f64>,
    /// Weight of closeness for evaluators
    #[arg(long)]
    pub alpha_m: Option<f64>,
    /// Weight of cost for evaluators
    #[arg(long)]
    pub beta_m: Option<f64>,
    /// What the evaluators of a round agree on
    #[arg(long)]
    pub rule: Option<Rule>,
    /// Whom an evaluator is compared with
    #[arg(long)]
    pub deviation: Option<Deviation>,
    /// Which rounds are kept in rounds.parquet
    #[arg(long)]
    pub round_log: Option<RoundLog>,
    /// Any setting of the section `simulation`, in TOML: --set consensus.trust.update='"relative"'
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = setting)]
    pub set: Vec<(String, toml::Value)>,
}

/// `poq sweep`.
#[derive(Debug, Args)]
pub struct SweepArguments {
    /// The run
    #[command(flatten)]
    pub stage: StageArguments,
    /// Sweep file: which settings take which values
    pub sweep: PathBuf,
    /// Run it, however many cells and rounds it has
    #[arg(long)]
    pub yes: bool,
}

/// Rewards that were published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Table 4 of arXiv 2512.16317
    Paper,
}
