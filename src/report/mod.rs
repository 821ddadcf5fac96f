//! The last stage: what the tables of a run mean. Reads rows, never a model and never a file; every function is pure.
//!
//! `metrics` is the wide join, `build` computes a [`Report`] (what `--format json` prints), and `to_markdown`, `to_text` and
//! `html::page` render it; `coefficients_to_text` renders what `simulate::infer` found. [`compare`] says how runs differ. Called by
//! the `report`, `run` and `simulate` commands.

mod audit;
pub mod compare;
mod comparison;
mod correlations;
mod counts;
mod document;
pub(crate) mod format;
mod frontier;
pub mod html;
mod judge;
mod layout;
mod metrics;
mod missing;
mod quality;
mod render;
mod sections;
mod warnings;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod report_tests;

pub use audit::EvaluatorAudit;
pub use comparison::{CorrelationPair, Correlations, Pairing, PaperComparison, Payment, RewardPair};
pub use correlations::{EvaluatorAgreement, EvaluatorCorrelation, Sign, TaskAlpha, TaskCorrelation};
pub use counts::{Counts, TableCount, TaskCount};
pub use judge::{CheckSummary, JudgeReport, JudgedModel, JudgedTask, Verbosity};
pub use metrics::{COLUMNS as METRICS_COLUMNS, metrics};
pub use missing::{Missing, Section};
pub use quality::{EvaluatorMean, ModelQuality, TaskQuality};
pub use render::{coefficients_to_text, comparison_to_markdown, to_markdown, to_text};
pub use sections::{Identity, REPORT_VERSION, Report};
pub use warnings::Warning;

use crate::join::{Joined, distinct};
use crate::settings::Settings;
use crate::store::rows::{GenerationRow, JudgeCheckRow, JudgementRow, ProfileRow, RewardRow, ScoreRow, TaskRow};
use anyhow::Result;

/// The tables of a run and the settings they were made with; a table that does not exist yet is an empty slice.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Which run this is.
    pub identity: &'a Identity,
    /// Resolved settings.
    pub settings: &'a Settings,
    /// `tasks`.
    pub tasks: &'a [TaskRow],
    /// `generations`.
    pub generations: &'a [GenerationRow],
    /// `scores`.
    pub scores: &'a [ScoreRow],
    /// `judgements`.
    pub judgements: &'a [JudgementRow],
    /// `judge_checks`.
    pub judge_checks: &'a [JudgeCheckRow],
    /// `profile`.
    pub profile: &'a [ProfileRow],
    /// `rewards`.
    pub rewards: &'a [RewardRow],
}

impl<'a> Inputs<'a> {
    /// The answers with their tasks, scores and grades. Fails only on tables that contradict themselves.
    pub fn join(&self) -> Result<Joined<'a>> {
        Joined::new(self.tasks, self.generations, self.scores, self.judgements)
    }

    /// Task types in order of first appearance.
    fn task_types(&self) -> Vec<&str> {
        distinct(self.tasks.iter().map(|task| task.task_type.as_str()))
    }

    /// The profile row that the report quotes for a node: Section 4.3 measures inference at batch size one, so the
    /// smallest batch size wins.
    fn profile_of(&self, node_type: &str, node: &str) -> Option<&ProfileRow> {
        profile_of(self.profile, node_type, node)
    }
}

/// The same of a table by itself.
fn profile_of<'p>(profile: &'p [ProfileRow], node_type: &str, node: &str) -> Option<&'p ProfileRow> {
    let of_node = |row: &&ProfileRow| row.node_type == node_type && row.node == node;
    profile.iter().filter(of_node).min_by_key(|row| row.batch_size)
}

/// Computes the report of a run, however far the run has come; `joined` is [`Inputs::join`].
#[must_use]
pub fn build(inputs: &Inputs, joined: &Joined) -> Report {
    let task_types = inputs.task_types();
    let paid = &inputs.settings.scoring.evaluators;
    let correlations = correlations::correlations(joined, &task_types);
    let quality = quality::quality(inputs, joined, &task_types);
    Report {
        report_version: REPORT_VERSION,
        identity: inputs.identity.clone(),
        counts: counts::counts(inputs, joined, &task_types),
        simulation: inputs.settings.simulation.clone(),
        rewards: inputs.rewards.to_vec(),
        paper: comparison::comparison(inputs, &correlations),
        judge: judge::judge(inputs, joined, &task_types),
        warnings: warnings::warnings(inputs, joined, &task_types),
        missing: missing::missing(inputs, joined, &task_types),
        evaluator_agreement: correlations::agreement_of_evaluators(joined, &task_types, paid),
        evaluator_audit: audit::audit(joined, paid, &correlations),
        correlations,
        quality,
    }
}
