//! Figure 4 for this run and the evaluators' audit, as tables. Called by `layout::blocks`; the numbers
//! are those of `correlations.rs` and `audit.rs`.

use super::missing;
use crate::join::F1;
use crate::report::correlations::{EvaluatorCorrelation, JUDGE, Sign, TaskCorrelation};
use crate::report::document::{Block, Table};
use crate::report::format::{NONE, count, fixed, interval, percent};
use crate::report::missing::Section;
use crate::report::sections::Report;

/// Evaluators against F1, and everything against the judge, per task type and averaged; then what their scores are worth.
pub(super) fn correlations(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::section("Evaluators against F1 (Figure 4 for this run)")];
    if let Some(table) = table(report, F1) {
        blocks.push(Block::paragraph(
            "Pearson's r between an evaluator's scores and F1 over the answers of all LLMs; n counts answers. The \
             95 % intervals come from resampling tasks, since answers to one task share its reference. \"Partial\" is \
             the partial correlation given the number of words of the answer: what is left where length, which may drive \
             the score and F1 both, cannot speak. Rho is Spearman's, tau Kendall's tau-b. \"Mean of tasks\" is the paper's average; Fisher's z averages on a scale where \
             correlations add; \"all\" takes the answers of both task types together.",
        ));
        blocks.push(Block::Table(table));
    }
    if let Some(table) = table(report, JUDGE) {
        let judge = report.judge.as_ref().map_or("the judge", |judge| judge.judge.as_str());
        blocks.push(Block::paragraph(format!("The same against the grades of the LLM judge `{judge}`:")));
        blocks.push(Block::Table(table));
    }
    blocks.extend(missing(report, Section::Correlations));
    blocks.extend(audit(report));
    blocks.extend(agreement(report));
    blocks
}

fn table(report: &Report, reference: &str) -> Option<Table> {
    let headings = ["Evaluator", "Task", "Pearson", "95 % interval", "Partial", "rho", "tau", "n"];
    let mut table = Table::new(2, headings);
    report.correlations.iter().filter(|row| row.reference == reference).for_each(|row| add(&mut table, row));
    (!table.rows.is_empty()).then_some(table)
}

fn add(table: &mut Table, row: &EvaluatorCorrelation) {
    let of_part = |part: &TaskCorrelation| {
        [
            row.evaluator.clone(),
            part.task_type.clone(),
            fixed(part.pearson.value, 2),
            interval(&part.pearson, 2),
            fixed(part.at_equal_length.value, 2),
            fixed(part.spearman, 2),
            fixed(part.kendall, 2),
            count(part.pearson.n as u64),
        ]
    };
    row.by_task.iter().for_each(|part| table.row(of_part(part)));
    if row.by_task.len() > 1 {
        let n = count(row.mean_over_tasks.n as u64);
        let mean = |name: &str, value, interval, at_equal_length| {
            [row.evaluator.clone(), name.into(), value, interval, at_equal_length, NONE.into(), NONE.into(), n.clone()]
        };
        let at_equal_length = fixed(row.mean_at_equal_length.value, 2);
        let value = fixed(row.mean_over_tasks.value, 2);
        table.row(mean("mean of tasks", value, interval(&row.mean_over_tasks, 2), at_equal_length));
        table.row(mean("Fisher's z", fixed(row.fisher_z_mean, 2), NONE.into(), NONE.into()));
    }
    row.pooled.iter().for_each(|part| table.row(of_part(part)));
}

/// What the evaluators' scores are worth.
fn audit(report: &Report) -> Vec<Block> {
    if report.evaluator_audit.is_empty() {
        return Vec::new();
    }
    let mut table =
        Table::new(1, ["Evaluator", "Paid", "Scored", "Cut off", "Distinct scores", "r with F1", "Partial", "Sign"]);
    for row in &report.evaluator_audit {
        table.row([
            row.evaluator.clone(),
            if row.paid { "yes" } else { "no" }.into(),
            format!("{} of {}", count(row.scored as u64), count(row.answers as u64)),
            percent(row.truncated_share),
            percent(row.distinct_share),
            fixed(row.f1.value, 2),
            fixed(row.f1_at_equal_length.value, 2),
            row.sign.map_or(NONE, sign).into(),
        ]);
    }
    vec![
        Block::heading("Can the evaluators be trusted?"),
        Block::paragraph(
            "\"Cut off\" is the share of pairs longer than the evaluator reads, \"distinct scores\" how many different scores it \
             has per answer. The sign is that of its correlation with F1: \"flips\" where the interval is above 0 on one task \
             type and below on another, \"unclear\" where an interval holds 0 or there is none (fewer than ten tasks).",
        ),
        Block::Table(table),
    ]
}

fn sign(sign: Sign) -> &'static str {
    match sign {
        Sign::Positive => "positive",
        Sign::Negative => "negative",
        Sign::Flips => "flips",
        Sign::Unclear => "unclear",
    }
}

/// How far the evaluators agree with each other.
fn agreement(report: &Report) -> Vec<Block> {
    let agreement = &report.evaluator_agreement;
    if agreement.pairs.is_empty() {
        return Vec::new();
    }
    let types: Vec<&str> = report.counts.tasks_by_type.iter().map(|part| part.task_type.as_str()).collect();
    let mut headings = vec!["Evaluator".to_owned(), "Other".to_owned()];
    headings.extend(types.iter().map(|kind| format!("r {kind}")));
    headings.extend(["Mean", "95 % interval", "n"].map(Into::into));
    let mut table = Table::new(2, headings);
    for pair in &agreement.pairs {
        let mut cells = vec![pair.evaluator.clone(), pair.reference.clone()];
        cells.extend(pair.by_task.iter().map(|part| fixed(part.pearson.value, 2)));
        cells.push(fixed(pair.mean_over_tasks.value, 2));
        cells.extend([interval(&pair.mean_over_tasks, 2), count(pair.mean_over_tasks.n as u64)]);
        table.row(cells);
    }
    let mut blocks = vec![
        Block::heading("Do the evaluators agree with each other?"),
        Block::paragraph(
            "Pearson's r between the scores of two evaluators, per task type and averaged; n counts answers.",
        ),
        Block::Table(table),
    ];
    let alpha = |task: &crate::report::correlations::TaskAlpha| {
        let range = interval(&task.alpha, 2);
        let range = if range == NONE { String::new() } else { format!(" ({range})") };
        format!("{} on {}{range}, n = {}", fixed(task.alpha.value, 2), task.task_type, count(task.alpha.n as u64))
    };
    if agreement.alpha.iter().any(|task| task.alpha.value.is_some()) {
        let alphas: Vec<String> = agreement.alpha.iter().map(alpha).collect();
        blocks.push(Block::paragraph(format!(
            "Krippendorff's alpha of all paid evaluators' normalised scores, for interval scales: {}. 1 is agreement, 0 what \
             shuffled scores give; the mechanism pays evaluators for agreeing.",
            alphas.join("; ")
        )));
    }
    blocks
}
