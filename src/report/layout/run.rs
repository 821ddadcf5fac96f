//! The opening of the report and Table 4 for this run.
//! Called by `layout::blocks`.

use super::missing;
use crate::join::F1;
use crate::report::document::{Block, Table};
use crate::report::format::{NONE, count, estimate, evaluators_per_round, fixed, milliseconds, plural, plus_minus};
use crate::report::missing::Section;
use crate::report::sections::Report;
use crate::settings::mechanism::{Consensus, Rule};
use crate::store::rows::RewardRow;

/// Title, identity, counts, the findings in short and the warnings.
pub(super) fn opening(report: &Report) -> Vec<Block> {
    let identity = &report.identity;
    let mut blocks = vec![
        Block::Heading(1, format!("poq report: {}", identity.name)),
        Block::Facts(vec![
            ("Run", format!("{}, started {}, seed {}", identity.directory, identity.started, identity.seed)),
            ("Machine", identity.machine.clone()),
            ("Runtime", format!("{}; poq {}", identity.runtime, identity.poq_version)),
            ("Tasks", tasks(report)),
            ("Answers", count(report.counts.answers as u64)),
            ("Failed rows", failures(report)),
        ]),
    ];
    blocks.extend(missing(report, Section::Corpus));
    let findings = findings(report);
    if !findings.is_empty() {
        blocks.extend([Block::section("In short"), Block::List(findings)]);
    }
    if !report.warnings.is_empty() {
        let points = report.warnings.iter().map(|warning| warning.text.clone()).collect();
        blocks.extend([Block::section("Before you quote a number"), Block::List(points)]);
    }
    blocks
}

fn tasks(report: &Report) -> String {
    let by_type = report.counts.tasks_by_type.iter();
    let parts: Vec<String> = by_type
        .map(|part| format!("{} {} ({})", count(part.tasks as u64), part.task_type, part.datasets.join(", ")))
        .collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

fn failures(report: &Report) -> String {
    let tables = report.counts.tables.iter();
    let parts: Vec<String> = tables
        .map(|table| format!("{} of {} {}", count(table.failed as u64), count(table.rows as u64), table.table))
        .collect();
    parts.join(", ")
}

fn findings(report: &Report) -> Vec<String> {
    let mut findings = Vec::new();
    for (node_type, what) in [("inference", "LLM"), ("evaluator", "evaluator")] {
        let of_type = report.rewards.iter().filter(|row| row.node_type == node_type);
        if let Some((_, row)) = highest(of_type.map(|row| (row.avg_reward, row))) {
            findings.push(format!("Best paid {what}: `{}`, {} per job.", row.node, reward(row)));
        }
    }
    if let Some((_, row)) = highest(report.quality.iter().map(|row| (row.f1.value, row))) {
        findings.push(format!("Highest F1: `{}`, {} of 10.", row.model, estimate(&row.f1, 2)));
    }
    if let Some((value, row)) = highest(report.quality.iter().map(|row| (row.f1_per_second, row))) {
        findings.push(format!("Most F1 per second of latency: `{}`, {}.", row.model, fixed(Some(value), 2)));
    }
    let with_f1 = report.correlations.iter().filter(|row| row.reference == F1);
    if let Some((r, row)) = highest(with_f1.map(|row| (row.mean_over_tasks.value, row))) {
        findings.push(format!(
            "Evaluator with the highest correlation with F1: `{}`, r = {} over {}.",
            row.evaluator,
            fixed(Some(r), 2),
            plural(row.by_task.len(), "task type")
        ));
    }
    findings
}

/// The highest value and whose it is; the first of equals.
fn highest<T>(rows: impl Iterator<Item = (Option<f64>, T)>) -> Option<(f64, T)> {
    rows.filter_map(|(value, row)| Some((value?, row))).reduce(|best, row| if row.0 > best.0 { row } else { best })
}

/// Table 4 for this run.
pub(super) fn rewards(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::section("Rewards (Table 4 for this run)")];
    blocks.extend(missing(report, Section::Rewards));
    if report.rewards.is_empty() {
        return blocks;
    }
    let settings = &report.simulation;
    blocks.push(Block::paragraph(format!(
        "{} of {}; α_F = {}, β_F = {}, α_M = {}, β_M = {}, {}, consensus by {}. The reward is the mean per job in normalised \
         units, ± its 95 % interval over replicates; \"SD\" is its standard deviation over jobs, \"expected\" its closed form \
         and z their difference in standard errors. Cost is {}. Inference and evaluator rewards are on different scales.",
        plural(settings.replicates as usize, "replicate"),
        plural(usize::try_from(settings.rounds).unwrap_or(usize::MAX), "round"),
        settings.alpha_f,
        settings.beta_f,
        settings.alpha_m,
        settings.beta_m,
        evaluators_per_round(settings.k),
        rule(&settings.consensus),
        if settings.costs.are_those_of_the_profile() {
            "the latency scaled to 0 (the fastest node of its type) to 1 (the slowest)"
        } else {
            "what `[simulation.costs]` makes of the latency"
        },
    )));
    let attacked = report.rewards.iter().any(|row| row.strategy != "honest");
    let mut headings = vec!["Type", "Node", "Avg reward", "SD", "Expected", "z", "Latency (ms)", "Cost", "Jobs"];
    if attacked {
        headings.extend(["Strategy", "If all were honest"]);
    }
    let mut table = Table::new(2, headings);
    for row in &report.rewards {
        let mut cells = vec![
            row.node_type.clone(),
            row.node.clone(),
            reward(row),
            fixed(row.std_reward, 3),
            fixed(row.expected_reward, 3),
            fixed(row.z, 1),
            milliseconds(row.avg_latency_ms),
            fixed(Some(row.cost_norm), 3),
            count(row.jobs),
        ];
        if attacked {
            cells.extend([row.strategy.clone(), fixed(row.honest_reward, 3)]);
        }
        table.row(cells);
    }
    blocks.push(Block::Table(table));
    if report.rewards.iter().any(|row| row.avg_reward.is_none()) {
        blocks.push(Block::paragraph(format!("{NONE} means there is no value: the node never had a job.")));
    }
    blocks
}

/// The rule of consensus in words.
fn rule(consensus: &Consensus) -> String {
    let name = match consensus.rule {
        Rule::Mean => "mean",
        Rule::Median => "median",
        Rule::TrimmedMean => "trimmed mean",
        Rule::Huber => "Huber's estimator",
        Rule::WeightedMedian => "weighted median",
        Rule::Yuma => "Yuma clipping",
    };
    if consensus.trust.is_some() { format!("{name} with weights that learn") } else { name.to_owned() }
}

fn reward(row: &RewardRow) -> String {
    let half_width = row.ci_low.zip(row.ci_high).map(|(low, high)| (high - low) / 2.0);
    plus_minus(row.avg_reward, half_width, 3)
}
