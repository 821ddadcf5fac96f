//! Writes a [`Comparison`] down as blocks. No number is computed here.

use super::identity::{Fact, SettingDifference, Status};
use super::metric::{Method, Metric, Verdict};
use super::pairing::Ids;
use super::words::{difference, interval, probability, title, value};
use super::{Comparison, Pair};
use crate::report::document::{Align, Block, Table};
use crate::report::format::{NONE, count, percent, plural};
use crate::statistics::bootstrap::RESAMPLES;
use serde_json::Value;

/// Characters of a setting's value that a table shows; all of them are in the JSON form.
const SHOWN: usize = 60;
/// Characters of what two long values share that are shown before they part.
const BEFORE: usize = 15;
/// Characters of a hash that tell files apart.
const HASH: usize = 12;

/// How the numbers came about, once at the end.
const METHOD: &str = "Rows with the same task (same id, question and references) and LLM are compared in pairs, and the \
     difference is resampled record by record ({RESAMPLES} times, 95 % percentile interval): a metric has moved when its interval \
     leaves zero out. Latencies and rewards have no rows in common: theirs are differences of two independent means by Welch, \
     latencies over timed calls and rewards over replicates. The interval of a reward so holds the chance of the simulation \
     alone, not that of the answers, and is wider than needed where both simulations drew from the same seed; \
     so is that of a latency where both profiled the same prompts, and it does not hold how a machine varies from day to day. p (Holm) is the \
     probability of a difference this large if there were none, corrected for all metrics of this comparison by Holm's \
     method: of metrics that are truly the same about one in twenty is shown as moved, nearer one in ten with only ten records, \
     and hardly any keeps a p (Holm) below 0.05. Means without a task type are unweighted means over task types for F1, evaluators, grades and correlations, and \
     means over rows otherwise. Evaluators are compared on their own scale, for the normalised one is set by each run's \
     answers. A row that failed has no value, never a zero.";

/// The whole document.
pub(super) fn blocks(comparison: &Comparison) -> Vec<Block> {
    let baseline = &comparison.baseline.label;
    let mut blocks: Vec<Block> = comparison.comparisons.iter().flat_map(|pair| of_pair(baseline, pair)).collect();
    blocks.push(Block::section("How to read this"));
    blocks.push(Block::paragraph(METHOD.replace("{RESAMPLES}", &count(RESAMPLES))));
    blocks
}

fn of_pair(baseline: &str, pair: &Pair) -> Vec<Block> {
    let other = &pair.other.label;
    let mut blocks = vec![Block::Heading(1, format!("`{other}` against `{baseline}`"))];
    blocks.push(Block::paragraph(pair.summary.clone()));
    if !pair.warnings.is_empty() {
        blocks.push(Block::List(pair.warnings.clone()));
    }
    metrics(baseline, pair, &mut blocks);
    missing(pair, &mut blocks);
    equality(baseline, pair, &mut blocks);
    settings(baseline, pair, &mut blocks);
    data(baseline, pair, &mut blocks);
    identity(baseline, pair, &mut blocks);
    blocks
}

fn metrics(baseline: &str, pair: &Pair, blocks: &mut Vec<Block>) {
    let of = |verdict| pair.metrics.iter().filter(move |metric| metric.verdict == verdict).collect::<Vec<_>>();
    for (verdict, heading) in [(Verdict::Moved, "What moved"), (Verdict::Within, "What did not clearly move")] {
        let found = of(verdict);
        if found.is_empty() {
            continue;
        }
        blocks.push(Block::section(heading));
        blocks.push(Block::Table(tested(baseline, &pair.other.label, &found)));
    }
    let left_out = pair.metrics.iter().filter(|metric| metric.left_out > Some(0)).count();
    if left_out > 0 {
        blocks.push(Block::paragraph(format!(
            "{} of all, those below included, leave out rows for which one run alone has a value; the JSON form says how many.",
            plural(left_out, "metric")
        )));
    }
    let found = of(Verdict::Untested);
    if !found.is_empty() {
        blocks.push(Block::section("What differs without an interval"));
        let mut table =
            Table::new(1, ["Metric", baseline, &pair.other.label, "Difference", "Why there is no interval"]);
        last_in_words(&mut table);
        for metric in found {
            let [from, to] = [metric.baseline, metric.other].map(|number| value(metric, Some(number)));
            let reason = metric.reason.clone().unwrap_or_default();
            table.row([title(&metric.subject), from, to, difference(metric), reason]);
        }
        blocks.push(Block::Table(table));
    }
    for (verdict, heading) in
        [(Verdict::Rounding, "What is the same but for rounding"), (Verdict::Identical, "What is identical")]
    {
        let names: Vec<String> = of(verdict).iter().map(|metric| title(&metric.subject)).collect();
        if names.is_empty() {
            continue;
        }
        blocks.push(Block::section(heading));
        let all = names.len() == pair.metrics.len();
        let text = if all { "Every metric.".to_owned() } else { format!("{}.", names.join("; ")) };
        blocks.push(Block::paragraph(text));
    }
}

/// The last column holds words, though it stands behind numbers.
fn last_in_words(table: &mut Table) {
    if let Some((_, align)) = table.columns.last_mut() {
        *align = Align::Left;
    }
}

fn tested(baseline: &str, other: &str, metrics: &[&Metric]) -> Table {
    let headings = ["Metric", baseline, other, "Difference", "95 % interval", "p (Holm)", "Rows", "Records"];
    let mut table = Table::new(1, headings);
    for metric in metrics {
        let [from, to] = [metric.baseline, metric.other].map(|number| value(metric, Some(number)));
        let rows = |number: Option<usize>| match metric.method {
            Method::TwoSample => "two samples".to_owned(),
            _ => number.map_or_else(|| NONE.into(), count),
        };
        table.row([
            title(&metric.subject),
            from,
            to,
            difference(metric),
            interval(metric),
            probability(metric.p_holm),
            rows(metric.rows),
            metric.records.map_or_else(|| NONE.into(), count),
        ]);
    }
    table
}

fn missing(pair: &Pair, blocks: &mut Vec<Block>) {
    if pair.missing.is_empty() {
        return;
    }
    blocks.push(Block::section("What is not compared"));
    let point = |missing: &super::MissingMetric| {
        let runs = missing.runs.iter().map(|run| format!("`{run}`")).collect::<Vec<_>>().join(" and ");
        let command = missing.command.as_ref().map_or_else(String::new, |command| format!(" To get it: `{command}`."));
        format!("{}: missing in {runs}, for {}.{command}", missing.what, missing.reason)
    };
    blocks.push(Block::List(pair.missing.iter().map(point).collect()));
}

fn equality(baseline: &str, pair: &Pair, blocks: &mut Vec<Block>) {
    blocks.push(Block::section("Rows and answers"));
    let mut table = Table::new(
        1,
        ["Table", &format!("Rows of {baseline}"), &format!("Rows of {}", pair.other.label), "In common", "Equal", ""],
    );
    last_in_words(&mut table);
    for row in &pair.tables {
        let numbers = [row.baseline_rows, row.other_rows, row.common, row.equal].map(count);
        let verdict = if row.identical { "identical" } else { "" };
        table.row(std::iter::once(row.table.clone()).chain(numbers).chain([verdict.to_owned()]));
    }
    blocks.push(Block::Table(table));
    blocks.push(Block::paragraph(
        "Rows of common tasks are equal that say the same: question and references of a task; text, tokens, stop at the limit and failure \
         of an answer; raw and normalised score and cut; grade; mean latency and cost; reward.",
    ));
    if !pair.outputs.is_empty() {
        let mut table = Table::new(1, ["LLM", "Answers in common", "The same text", "Share"]);
        for row in &pair.outputs {
            table.row([row.model.clone(), count(row.answered), count(row.identical), percent(row.share)]);
        }
        blocks.push(Block::Table(table));
    }
}

fn settings(baseline: &str, pair: &Pair, blocks: &mut Vec<Block>) {
    blocks.push(Block::section("Settings that differ"));
    if pair.settings.is_empty() {
        blocks.push(Block::paragraph("None."));
        return;
    }
    let mut table = Table::new(4, ["Setting", baseline, &pair.other.label, "Can change results"]);
    for difference in &pair.settings {
        let [from, to] = setting_values(difference);
        let can = if difference.can_change_results { "yes" } else { "no, or by rounding alone" };
        table.row([format!("`{}`", difference.setting), from, to, can.to_owned()]);
    }
    blocks.push(Block::Table(table));
}

/// Both values; of long ones the part where they differ.
fn setting_values(difference: &SettingDifference) -> [String; 2] {
    let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "absent".to_owned(), ToString::to_string);
    let both = [text(&difference.baseline), text(&difference.other)];
    let shared = both[0].chars().zip(both[1].chars()).take_while(|(a, b)| a == b).count();
    both.map(|text| {
        if text.chars().count() <= SHOWN {
            return text;
        }
        let start = shared.saturating_sub(BEFORE);
        let part: String = text.chars().skip(start).take(SHOWN).collect();
        let before = if start > 0 { "…" } else { "" };
        let after = if text.chars().count() > start + SHOWN { "…" } else { "" };
        format!("{before}{part}{after}")
    })
}

fn data(baseline: &str, pair: &Pair, blocks: &mut Vec<Block>) {
    let data = &pair.data;
    let other = &pair.other.label;
    blocks.push(Block::section("Tasks"));
    let mut text = vec![format!(
        "{} in common, with the same id, question and references, of {} in `{baseline}` and {} in `{other}`.",
        plural(data.common, "task"),
        count(data.baseline_tasks),
        count(data.other_tasks)
    )];
    let mut add = |ids: &Ids, what: &str| {
        if ids.count > 0 {
            let more = if ids.count > ids.examples.len() { ", …" } else { "" };
            let examples = ids.examples.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
            text.push(format!("{} {what}: {examples}{more}.", count(ids.count)));
        }
    };
    add(&data.changed, "with another content");
    add(&data.only_baseline, &format!("in `{baseline}` alone"));
    add(&data.only_other, &format!("in `{other}` alone"));
    blocks.push(Block::paragraph(text.join(" ")));
}

fn identity(baseline: &str, pair: &Pair, blocks: &mut Vec<Block>) {
    blocks.push(Block::section("What made the runs"));
    let (same, differ): (Vec<&Fact>, Vec<&Fact>) = pair.identity.iter().partition(|fact| fact.status == Status::Same);
    if !differ.is_empty() {
        let mut table = Table::new(3, ["", baseline, &pair.other.label]);
        for fact in differ {
            let shown =
                |value: &Option<String>| value.as_ref().map_or_else(|| "none".to_owned(), |value| short(fact, value));
            table.row([name(fact), shown(&fact.baseline), shown(&fact.other)]);
        }
        blocks.push(Block::Table(table));
    }
    if !same.is_empty() {
        let names: Vec<String> = same.into_iter().map(name).collect();
        blocks.push(Block::paragraph(format!("The same in both: {}.", names.join(", "))));
    }
}

fn name(fact: &Fact) -> String {
    match fact.kind {
        kind @ ("model" | "data set") => format!("{kind} `{}`", fact.what),
        _ => fact.what.clone(),
    }
}

fn short(fact: &Fact, value: &str) -> String {
    match fact.kind {
        "model" | "data set" => format!("sha256 {}", value.chars().take(HASH).collect::<String>()),
        _ => value.to_owned(),
    }
}
