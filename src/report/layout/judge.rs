//! The judge's section: what it says of the LLMs, and what the checks say of it.

use super::missing;
use crate::report::document::{Block, Table};
use crate::report::format::{NONE, count, estimate, fixed, percent};
use crate::report::judge::{CheckSummary, JudgeReport, Verbosity};
use crate::report::missing::Section;
use crate::report::sections::Report;
use crate::statistics::regression::Slope;

/// The whole section.
pub(super) fn judge(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::section("The LLM judge")];
    blocks.extend(missing(report, Section::Judge));
    let Some(judge) = &report.judge else { return blocks };
    blocks.push(Block::paragraph(opening(judge)));
    if judge.graded == 0 {
        return blocks;
    }
    blocks.push(Block::paragraph(
        "Mean grade, 0 to 10, ± its 95 % interval, with the standard deviation (SD) and the number of graded answers (n).",
    ));
    blocks.push(Block::Table(grades(judge)));
    blocks.push(Block::paragraph(
        "Does the judge pay for length? Points per ten words more, with its 95 % interval clustered by record: over all \
         answers, and between answers of equal F1.",
    ));
    blocks.push(Block::Table(verbosity(&judge.verbosity)));
    if !judge.checks.is_empty() {
        blocks.push(Block::paragraph(
            "Checks: grades of the same answers when asked again (repeat), with the candidate answer first (swap), with an \
             attempt to dictate the score in the answer (injection), and by another judge (second). n counts pairs of grades; \
             \"shift\" is the mean change of the grade over records, ± its 95 % interval; kappa is Cohen's, with quadratic weights.",
        ));
        blocks.push(Block::Table(checks(&judge.checks)));
        let within = judge.checks.iter().find_map(|check| check.std_within);
        blocks.extend(within.map(|std| {
            Block::paragraph(format!(
                "Asked again, the grades of one answer have a standard deviation of {std:.2} points on average."
            ))
        }));
    }
    blocks
}

fn opening(judge: &JudgeReport) -> String {
    let JudgeReport { judge: name, answers, graded, refused, repaired, asked_once_more, .. } = judge;
    let place = if judge.local { String::new() } else { format!(" at {}", judge.place) };
    let cost = match judge.cost_usd {
        _ if judge.local => ", run by poq itself".to_owned(),
        Some(cost) => format!(", for ${cost:.4}"),
        None => ", at an unknown cost".to_owned(),
    };
    let caution = if judge.local {
        " A small model's grades are what they are: look at how they follow F1 (above), and at the checks, before you \
         believe them."
    } else {
        ""
    };
    format!(
        "`{name}`{place} graded {graded} of {answers} sampled answers{cost}. {repaired} replies had to be mended, {asked_once_more} \
         answers were asked about once more, {refused} were refused.{caution}"
    )
}

fn grades(judge: &JudgeReport) -> Table {
    let types = judge.models.first().map(|model| &model.by_task[..]).unwrap_or_default();
    let mut headings = vec!["LLM".to_owned()];
    for task in types {
        headings.extend([task.task_type.clone(), "SD".to_owned(), "n".to_owned()]);
    }
    headings.push("over tasks".to_owned());
    let mut table = Table::new(1, headings);
    for model in &judge.models {
        let mut cells = vec![model.model.clone()];
        for task in &model.by_task {
            cells.extend([estimate(&task.score, 2), fixed(task.std, 2), count(task.score.n as u64)]);
        }
        cells.push(estimate(&model.over_tasks, 2));
        table.row(cells);
    }
    table
}

fn verbosity(rows: &[Verbosity]) -> Table {
    let mut table = Table::new(1, ["Task", "Points per 10 words", "At equal F1", "n"]);
    for row in rows {
        table.row([row.task_type.clone(), slope(row.slope), slope(row.slope_at_equal_f1), count(row.n as u64)]);
    }
    table
}

fn slope(slope: Option<Slope>) -> String {
    let Some(Slope { value, ci_low, ci_high, .. }) = slope else { return NONE.to_owned() };
    match ci_low.zip(ci_high) {
        Some((low, high)) => format!("{value:.2} [{low:.2}, {high:.2}]"),
        None => format!("{value:.2}"),
    }
}

fn checks(rows: &[CheckSummary]) -> Table {
    let mut table = Table::new(1, ["Check", "n", "Failed", "Shift", "Equal", "Raised", "Pearson's r", "Kappa"]);
    for row in rows {
        let what = if row.check == "second" { &row.judge } else { &row.variant };
        let name = if what.is_empty() { row.check.clone() } else { format!("{}: {what}", row.check) };
        table.row([
            name,
            count(row.n as u64),
            count(row.failed as u64),
            estimate(&row.shift, 2),
            percent(row.equal_share),
            percent(row.raised_share),
            fixed(row.pearson, 2),
            fixed(row.weighted_kappa, 2),
        ]);
    }
    table
}
