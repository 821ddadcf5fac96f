//! How runs differ from a baseline: what made them, their settings and tasks, which metrics moved, and
//! what is exactly the same. Called by `poq report RUN --compare OTHER…`; reads rows, never a file.
//!
//! [`Tables`] hold a run, [`Comparison::new`] compares it with others, and `comparison_to_markdown` writes it down. Rows that
//! two runs have in common are compared in pairs; latencies and rewards have none and are compared as two samples.

mod equality;
mod identity;
mod layout;
mod metric;
mod missing;
mod nodes;
mod pairing;
mod rows;
mod summary;
mod tables;
mod words;

#[cfg(test)]
mod tests;

pub use equality::{Outputs, TableEquality};
pub use identity::{Fact, SettingDifference, Status};
pub use metric::{LEVEL, Method, Metric, Subject, Verdict};
pub use missing::MissingMetric;
pub use pairing::{Data, Ids};
pub use tables::{Lacking, Run, Tables};

use super::document::Block;
use anyhow::Result;
use pairing::Pairing;
use serde::Serialize;

/// Version of the JSON shape; rises when a field changes its meaning or goes.
pub const COMPARISON_VERSION: u32 = 1;

/// A baseline and the runs that are compared with it: what `--format json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// [`COMPARISON_VERSION`] of the program that wrote it.
    pub comparison_version: u32,
    /// The run that others are compared with.
    pub baseline: RunName,
    /// One entry per other run, in the order they were named.
    pub comparisons: Vec<Pair>,
}

/// Which run it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunName {
    /// What it is called here: its name, or its directory where two runs have the same name.
    pub label: String,
    /// Its directory as it was typed.
    pub directory: String,
    /// When it was begun, RFC 3339.
    pub created: String,
    /// When it was last worked on, RFC 3339.
    pub updated: String,
}

/// One run compared with the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// The other run.
    pub other: RunName,
    /// What there is to say, in a paragraph.
    pub summary: String,
    /// What a reader of the numbers should know.
    pub warnings: Vec<String>,
    /// Numbers of metrics by what is to be said of them.
    pub counts: Counts,
    /// Every metric that both runs have, what moved first.
    pub metrics: Vec<Metric>,
    /// What is not compared, and why.
    pub missing: Vec<MissingMetric>,
    /// Whether answers are the same texts, per LLM.
    pub outputs: Vec<Outputs>,
    /// Which tables are the same row by row.
    pub tables: Vec<TableEquality>,
    /// Settings that differ, those that can change results first.
    pub settings: Vec<SettingDifference>,
    /// What made the runs.
    pub identity: Vec<Fact>,
    /// Their tasks.
    pub data: Data,
}

/// Numbers of metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Metrics that both runs have.
    pub compared: usize,
    /// Of these, metrics that moved: the interval of the difference leaves out zero.
    pub moved: usize,
    /// Of these, metrics that still do after Holm's correction.
    pub moved_after_holm: usize,
    /// Metrics whose interval holds zero.
    pub within: usize,
    /// Metrics that are the same to the last bit.
    pub identical: usize,
    /// Metrics that differ by rounding alone.
    pub rounding: usize,
    /// Metrics that differ and have no interval.
    pub untested: usize,
}

impl Counts {
    fn of(metrics: &[Metric]) -> Self {
        let count = |verdict| metrics.iter().filter(|metric| metric.verdict == verdict).count();
        Self {
            compared: metrics.len(),
            moved: count(Verdict::Moved),
            moved_after_holm: metrics.iter().filter(|metric| metric.moved_after_holm()).count(),
            within: count(Verdict::Within),
            identical: count(Verdict::Identical),
            rounding: count(Verdict::Rounding),
            untested: count(Verdict::Untested),
        }
    }
}

impl Comparison {
    /// A comparison with a baseline, to which others are added one by one, so that no two of them need be in memory together.
    #[must_use]
    pub fn new(baseline: &Run) -> Self {
        Self { comparison_version: COMPARISON_VERSION, baseline: name_of(baseline), comparisons: Vec::new() }
    }

    /// Compares another run with the baseline, which must be the one that the comparison was begun with.
    pub fn add(&mut self, baseline: &Run, other: &Run) -> Result<()> {
        self.comparisons.push(compare(baseline, other)?);
        Ok(())
    }

    /// The document.
    pub(super) fn blocks(&self) -> Vec<Block> {
        layout::blocks(self)
    }
}

fn compare(baseline: &Run, other: &Run) -> Result<Pair> {
    let pairing = Pairing::new(baseline, other);
    let (mut metrics, absent) = rows::metrics(&pairing);
    metrics.extend(nodes::metrics(&pairing));
    metric::correct_and_sort(&mut metrics);
    let counts = Counts::of(&metrics);
    let outputs = equality::outputs(&pairing);
    let tables = equality::tables(&pairing);
    let identity = identity::facts(baseline, other);
    let missing = missing::missing(&pairing, &absent);
    Ok(Pair {
        other: name_of(other),
        summary: summary::summary(&pairing, &metrics, counts, &missing, &outputs, &tables),
        warnings: summary::warnings(&pairing, &identity),
        counts,
        metrics,
        missing,
        outputs,
        tables,
        settings: identity::settings(baseline, other)?,
        identity,
        data: pairing.data,
    })
}

fn name_of(run: &Run) -> RunName {
    RunName {
        label: run.label.clone(),
        directory: run.directory.clone(),
        created: run.record.created.clone(),
        updated: run.record.updated.clone(),
    }
}
