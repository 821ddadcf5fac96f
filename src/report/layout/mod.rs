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

/// The report, part by part.
pub(super) struct Sections {
    pub opening: Vec<Block>,
    pub rewards: Vec<Block>,
    pub correlations: Vec<Block>,
    pub quality: Vec<Block>,
    pub judge: Vec<Block>,
    pub paper: Vec<Block>,
}

/// Writes every part.
pub(super) fn sections(report: &Report) -> Sections {
    Sections {
        opening: run::opening(report),
        rewards: run::rewards(report),
        correlations: evaluators::correlations(report),
        quality: models::quality(report),
        judge: judge::judge(report),
        paper: paper::comparison(report),
    }
}

/// The whole report, top to bottom.
pub(super) fn blocks(report: &Report) -> Vec<Block> {
    let Sections { opening, rewards, correlations, quality, judge, paper } = sections(report);
    [opening, rewards, correlations, quality, judge, paper].concat()
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
