//! Figure 4 for this run, as a table. Called by `layout::blocks`; the numbers
//! are those of `correlations.rs`.

use super::missing;
use crate::join::F1;
use crate::report::correlations::{EvaluatorCorrelation, JUDGE};
use crate::report::document::{Block, Table};
use crate::report::format::{NONE, count, fixed, interval};
use crate::report::missing::Section;
use crate::report::sections::Report;

/// Evaluators against F1, and everything against the judge, per task type and averaged.
pub(super) fn correlations(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::section("Evaluators against F1 (Figure 4 for this run)")];
    if let Some(table) = table(report, F1) {
        blocks.push(Block::paragraph(
            "Pearson's r between an evaluator's scores and F1 over the answers of all LLMs; n counts answers. The \
             95 % intervals come from resampling tasks, since answers to one task share its reference. \"Mean of \
             tasks\" is the paper's average; Fisher's z averages on a scale where correlations add.",
        ));
        blocks.push(Block::Table(table));
    }
    if let Some(table) = table(report, JUDGE) {
        let judge = report.judge.as_ref().map_or("the judge", |judge| judge.judge.as_str());
        blocks.push(Block::paragraph(format!("The same against the grades of the LLM judge `{judge}`:")));
        blocks.push(Block::Table(table));
    }
    blocks.extend(missing(report, Section::Correlations));
    blocks
}

fn table(report: &Report, reference: &str) -> Option<Table> {
    let mut table = Table::new(2, ["Evaluator", "Task", "Pearson's r", "95 % interval", "Spearman", "n"]);
    report.correlations.iter().filter(|row| row.reference == reference).for_each(|row| add(&mut table, row));
    (!table.rows.is_empty()).then_some(table)
}

fn add(table: &mut Table, row: &EvaluatorCorrelation) {
    for task in &row.by_task {
        table.row([
            row.evaluator.clone(),
            task.task_type.clone(),
            fixed(task.pearson.value, 2),
            interval(&task.pearson, 2),
            fixed(task.spearman, 2),
            count(task.pearson.n as u64),
        ]);
    }
    if row.by_task.len() > 1 {
        let n = count(row.mean_over_tasks.n as u64);
        table.row([
            row.evaluator.clone(),
            "mean of tasks".into(),
            fixed(row.mean_over_tasks.value, 2),
            interval(&row.mean_over_tasks, 2),
            NONE.into(),
            n.clone(),
        ]);
        let z = fixed(row.fisher_z_mean, 2);
        table.row([row.evaluator.clone(), "mean by Fisher's z".into(), z, NONE.into(), NONE.into(), n]);
    }
}
