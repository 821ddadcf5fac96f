//! Writes a [`Report`] down as blocks: the order of the sections, their words, their units.
//! No number is computed here.

pub(super) mod coefficients;
mod evaluators;
mod judge;
mod models;
mod paper;
mod run;

use super::document::Block;
use super::missing::Section;
use super::sections::Report;

/// The whole report, top to bottom.
pub(super) fn blocks(report: &Report) -> Vec<Block> {
    let mut blocks = run::opening(report);
    blocks.extend(run::rewards(report));
    blocks.extend(evaluators::correlations(report));
    blocks.extend(models::quality(report));
    blocks.extend(judge::judge(report));
    blocks.extend(paper::comparison(report));
    blocks
}

/// What is missing from a section, as the points that stand in its place.
fn missing(report: &Report, section: Section) -> Option<Block> {
    let points: Vec<String> = report
        .missing
        .iter()
        .filter(|missing| missing.section == section)
        .map(|missing| format!("{} To get it: `{}`.", missing.what, missing.command.replace(" && ", "`, then `")))
        .collect();
    (!points.is_empty()).then_some(Block::List(points))
}
