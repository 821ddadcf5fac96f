//! What `run.json` says of each evaluator: how it was run, what that took and what became of its rows. It is saved beside
//! every table as soon as that is written, so that a stage that ends early leaves no table without its figures.

use super::open_run::Run;
use crate::executor::Totals;
use crate::score::Execution;
use crate::score::column::GroupScale;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// What the record says of one evaluator.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// What the table that they describe was made from, as its stamp says it; empty while it is being written.
    pub inputs: String,
    /// Who made it, as its stamp says it.
    pub made_by: String,
    /// How it was run when it last read something; null when nobody had to run it.
    pub execution: Option<Execution>,
    /// What that took; null when every piece of work was there already.
    pub inference: Option<Inference>,
    /// What normalisation did, group by group.
    pub normalization: Vec<GroupScale>,
    /// Rows whose text was cut.
    pub truncated: usize,
}

impl Figures {
    /// What the user should know of it.
    pub fn warnings(&self, key: &str) -> Vec<String> {
        let constant = self.normalization.iter().filter(|scale| scale.constant && scale.n > 0).map(|scale| {
            format!("evaluator `{key}` gave all {} `{}` rows the same score: normalised to 5", scale.n, scale.group)
        });
        let truncated = (self.truncated > 0).then(|| {
            format!("evaluator `{key}` reads fewer tokens than {} rows have: their texts were cut", self.truncated)
        });
        constant.chain(truncated).collect()
    }
}

/// What inference took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inference {
    /// Wall time from the first text to the last stored result, weights loaded.
    seconds: f64,
    /// Distinct texts, or pairs, that were read.
    pieces: usize,
    /// Rows of the column they were read for.
    rows: usize,
    batches: usize,
    tokens: usize,
    padding_waste: f64,
    busy_share: f64,
    /// Percentiles of the time of a piece in each stage, in ms.
    stages: serde_json::Value,
}

impl Inference {
    /// From the executor's account, for a column of so many rows.
    pub fn new(rows: usize, totals: &Totals) -> Self {
        Self {
            seconds: totals.elapsed.as_secs_f64(),
            pieces: totals.rows,
            rows,
            batches: totals.batches,
            tokens: totals.tokens,
            padding_waste: totals.padding_waste(),
            busy_share: totals.busy_share(),
            stages: json!(totals.meter.stages()),
        }
    }

    /// The same in one line for people.
    pub fn line(&self, key: &str) -> String {
        format!(
            "{key}: {} distinct texts for {} rows in {:.1} s: {:.0} tokens/s, padding {:.1} %, workers busy {:.1} %",
            self.pieces,
            self.rows,
            self.seconds,
            self.tokens as f64 / self.seconds.max(1e-9),
            self.padding_waste * 100.0,
            self.busy_share * 100.0
        )
    }
}

impl Run {
    /// What the record says of the evaluators that have scored before.
    pub(super) fn figures(&self) -> BTreeMap<String, Figures> {
        let stage = self.record.stages.get("score");
        let figures = stage.and_then(|stage| stage.details.get("evaluators"));
        figures.and_then(|figures| serde_json::from_value(figures.clone()).ok()).unwrap_or_default()
    }

    /// Changes it, and saves the record: what comes next may be a kill.
    pub(super) fn change_figures(&mut self, change: impl FnOnce(&mut BTreeMap<String, Figures>)) -> Result<()> {
        let mut figures = self.figures();
        change(&mut figures);
        let stage = self.record.stages.entry("score".to_owned()).or_default();
        stage.details.insert("evaluators".to_owned(), json!(figures));
        self.save()
    }
}
