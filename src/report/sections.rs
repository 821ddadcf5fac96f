//! [`Report`]: everything the report says about a run, as data. `--format json` prints it as it stands, so field names
//! are promised to users: add fields, never rename them. The renderers read nothing else.

use super::audit::EvaluatorAudit;
use super::comparison::PaperComparison;
use super::correlations::{EvaluatorAgreement, EvaluatorCorrelation};
use super::counts::Counts;
use super::judge::JudgeReport;
use super::missing::Missing;
use super::quality::ModelQuality;
use super::warnings::Warning;
use crate::settings::Simulation;
use crate::store::rows::RewardRow;
use serde::{Deserialize, Serialize};

/// Version of the JSON shape; rises when a field changes its meaning or goes.
pub const REPORT_VERSION: u32 = 1;

/// A whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_VERSION`] of the program that wrote it.
    pub report_version: u32,
    /// Which run this is.
    pub identity: Identity,
    /// Tasks, answers and failed rows.
    pub counts: Counts,
    /// Settings of the mechanism and its simulation.
    pub simulation: Simulation,
    /// Table 4 for this run, in the order of the `rewards` table; empty before `simulate`.
    pub rewards: Vec<RewardRow>,
    /// Figure 4 for this run: one entry per evaluator and reference signal; empty without evaluator scores.
    pub correlations: Vec<EvaluatorCorrelation>,
    /// How far the evaluators agree with each other; nothing in it for fewer than two.
    pub evaluator_agreement: EvaluatorAgreement,
    /// What an evaluator's scores are worth: one entry per evaluator.
    pub evaluator_audit: Vec<EvaluatorAudit>,
    /// Figure 5 for this run, and more: one entry per LLM; empty before `generate`.
    pub quality: Vec<ModelQuality>,
    /// What an LLM judge says of the answers, and what is to be said of it; null for a run that was not judged.
    pub judge: Option<JudgeReport>,
    /// What the paper published, beside this run.
    pub paper: PaperComparison,
    /// What a reader should know before quoting a number.
    pub warnings: Vec<Warning>,
    /// What the report could not say yet, and how to get it.
    pub missing: Vec<Missing>,
}

/// Which run this is; filled in by the caller from `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the run.
    pub name: String,
    /// Run directory as the user would type it, e.g. `results/quick`: the commands that the report suggests name it.
    pub directory: String,
    /// Version of poq that made the run.
    pub poq_version: String,
    /// When the run started, RFC 3339.
    pub started: String,
    /// Machine in one line, e.g. processor, cores and memory.
    pub machine: String,
    /// Inference runtime and provider, e.g. `ONNX Runtime 1.31.1, CPU`.
    pub runtime: String,
    /// Seed of the answers.
    pub seed: u64,
}
