//! F1 and exact match of a pair, as rows of the scores table.

use super::pairs::Pair;
use super::{EXACT_MATCH, F1, f1};
use crate::settings::F1References;
use crate::store::Fingerprint;
use crate::store::rows::ScoreRow;
use anyhow::Result;

/// A scorer that reads text: its name and its metric, in 0..1.
type TextScorer = (&'static str, fn(&str, &[String]) -> f64);

/// The scorers that read text.
pub const TEXT_SCORERS: [TextScorer; 2] = [(F1, f1::token_f1), (EXACT_MATCH, f1::exact_match)];

/// The row of one scorer for a pair: the metric in 0..1, and times ten.
pub fn text_score(pair: &Pair, (scorer, metric): TextScorer, references: F1References) -> Result<ScoreRow> {
    let all = &pair.task.references;
    let accepted = match references {
        F1References::Max => &all[..],
        F1References::First => &all[..all.len().min(1)],
    };
    let raw = pair.output.as_ref().map(|output| metric(output, accepted)).map_err(Clone::clone);
    let work_key = Fingerprint::new("text score")
        .text("scorer", scorer)
        .value("references", &accepted)?
        .value("output", &pair.output)?
        .key();
    let mut row = pair.row(scorer, raw, work_key);
    row.normalized = row.raw.map(|raw| raw * super::scale::SCALE);
    Ok(row)
}
