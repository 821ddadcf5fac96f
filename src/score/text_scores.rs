//! F1 and exact match of a pair, as rows of the scores table.

use super::f1::Normal;
use super::pairs::Pair;
use super::{EXACT_MATCH, F1};
use crate::settings::F1References;
use crate::store::Fingerprint;
use crate::store::rows::ScoreRow;
use anyhow::Result;

/// A scorer that reads text: its name and its metric, in 0..1.
pub type TextScorer = (&'static str, fn(&Normal) -> f64);

/// The scorers that read text.
pub const TEXT_SCORERS: [TextScorer; 2] = [(F1, Normal::token_f1), (EXACT_MATCH, Normal::exact_match)];

/// The texts of a pair as every text scorer reads them.
pub struct TextPair<'p> {
    pair: &'p Pair,
    accepted: &'p [String],
    normal: Result<Normal, String>,
}

impl<'p> TextPair<'p> {
    /// Chooses the references that count and normalises every text once.
    #[must_use]
    pub fn new(pair: &'p Pair, references: F1References) -> Self {
        let all = &pair.task.references;
        let accepted = match references {
            F1References::Max => &all[..],
            F1References::First => &all[..all.len().min(1)],
        };
        let normal = pair.output.as_ref().map(|output| Normal::new(output, accepted)).map_err(Clone::clone);
        Self { pair, accepted, normal }
    }

    /// The row of one scorer: the metric in 0..1, and times ten.
    pub fn row(&self, (scorer, metric): TextScorer) -> Result<ScoreRow> {
        let raw = self.normal.as_ref().map(metric).map_err(Clone::clone);
        let work_key = Fingerprint::new("text score")
            .text("scorer", scorer)
            .value("references", &self.accepted)?
            .value("output", &self.pair.output)?
            .key();
        let mut row = self.pair.row(scorer, raw, work_key);
        row.normalized = row.raw.map(|raw| raw * super::scale::SCALE);
        Ok(row)
    }
}
