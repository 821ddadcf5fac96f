//! Quality and cost per LLM, as three tables: against the references, what it took, and
//! in the evaluators' eyes.

use super::missing;
use crate::report::document::{Block, Table};
use crate::report::format::{NONE, count, estimate, fixed, milliseconds, percent};
use crate::report::missing::Section;
use crate::report::quality::ModelQuality;
use crate::report::sections::Report;

/// Quality and cost per LLM.
pub(super) fn quality(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::section("Quality and cost per LLM")];
    blocks.extend(missing(report, Section::Quality));
    if report.quality.is_empty() {
        return blocks;
    }
    let several = report.counts.tasks_by_type.len() > 1;
    let over_tasks = if several { "; F1 over tasks weighs each task type the same" } else { "" };
    blocks.push(Block::paragraph(format!(
        "F1 is the mean over answers, 0 to 10, ± its 95 % interval{over_tasks}; n counts answers of all types."
    )));
    blocks.push(Block::Table(references(report)));
    blocks.push(Block::paragraph(
        "Latency is the profile's mean per answer; F1 per second and per 1,000 tokens are mean F1 divided by it and by \
         the new tokens, each averaged over task types. On the Pareto frontier is whoever no other beats on latency and F1 at once. New tokens are the mean per \
         answer, and \"at limit\" is the share of answers cut off at the limit on new \
         tokens: an LLM that does not stop is slower and loses F1 for the same reason, so read the two together.",
    ));
    blocks.push(Block::Table(costs(report)));
    if report.quality.iter().any(|row| !row.evaluators.is_empty()) {
        blocks.push(Block::paragraph(
            "Mean normalised score per evaluator, 0 to 10, over at least n answers. The scale is set by the answers of this run, so it ranks LLMs \
             within the run and means nothing outside it.",
        ));
        blocks.push(Block::Table(evaluators(report)));
    }
    blocks
}

fn references(report: &Report) -> Table {
    let types: Vec<&str> = report.counts.tasks_by_type.iter().map(|part| part.task_type.as_str()).collect();
    let several = types.len() > 1;
    let mut headings = vec!["LLM".to_owned()];
    headings.extend(types.iter().map(|task_type| format!("F1 {task_type}")));
    headings.extend(several.then(|| "F1 over tasks".into()));
    headings.extend(["n".into(), "Exact match (qa)".into()]);
    let mut table = Table::new(1, headings);
    for row in &report.quality {
        let mut cells = vec![row.model.clone()];
        cells.extend(row.by_task.iter().map(|task| estimate(&task.f1, 2)));
        cells.extend(several.then(|| estimate(&row.f1, 2)));
        cells.extend([count(row.f1.n as u64), exact_match(row)]);
        table.row(cells);
    }
    table
}

/// `40.0 % of 60`.
fn exact_match(row: &ModelQuality) -> String {
    match row.exact_match_share {
        Some(_) => format!("{} of {}", percent(row.exact_match_share), count(row.exact_match_n as u64)),
        None => NONE.into(),
    }
}

fn costs(report: &Report) -> Table {
    let headings = [
        "LLM",
        "Latency (ms)",
        "F1 per second",
        "F1 per 1,000 tokens",
        "Frontier",
        "New tokens",
        "At limit",
        "Answers",
        "Failed",
    ];
    let mut table = Table::new(1, headings);
    for row in &report.quality {
        table.row([
            row.model.clone(),
            milliseconds(row.latency_ms),
            fixed(row.f1_per_second, 2),
            fixed(row.f1_per_1000_tokens, 1),
            row.on_frontier.map_or(NONE, |on| if on { "yes" } else { "no" }).into(),
            fixed(row.mean_output_tokens, 1),
            percent(row.length_stop_share),
            count(row.answers as u64),
            count(row.failed as u64),
        ]);
    }
    table
}

fn evaluators(report: &Report) -> Table {
    let names = report.quality.first().map(|row| &row.evaluators[..]).unwrap_or_default();
    let headings = std::iter::once("LLM").chain(names.iter().map(|mean| mean.evaluator.as_str())).chain(["n"]);
    let mut table = Table::new(1, headings);
    for row in &report.quality {
        let scores = row.evaluators.iter().map(|mean| estimate(&mean.score, 2));
        // Evaluators that failed on an answer have fewer: what all of them have is said.
        let fewest = row.evaluators.iter().map(|mean| mean.score.n).min().unwrap_or_default();
        table.row(std::iter::once(row.model.clone()).chain(scores).chain([count(fewest as u64)]));
    }
    table
}
