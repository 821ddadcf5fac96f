//! A comparison in a paragraph, and what to know before quoting it.

use super::Counts;
use super::equality::{Outputs, TableEquality};
use super::identity::{Fact, Status};
use super::metric::{Metric, Verdict};
use super::missing::MissingMetric;
use super::pairing::Pairing;
use super::words::{difference, title};
use crate::report::format::{count, plural};

/// How many movements are named.
const NAMED: usize = 5;

pub(super) fn summary(
    pairing: &Pairing,
    metrics: &[Metric],
    counts: Counts,
    missing: &[MissingMetric],
    outputs: &[Outputs],
    tables: &[TableEquality],
) -> String {
    let mut sentences = vec![moved(metrics, counts)];
    let others = [
        (counts.identical, "identical in every row compared"),
        (counts.rounding, "the same but for rounding"),
        (counts.untested, "different without an interval to judge it by"),
    ];
    let others: Vec<String> = others
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {} {what}", if number == 1 { "is" } else { "are" }))
        .collect();
    if !others.is_empty() {
        sentences.push(format!("{}.", others.join(", ")));
    }
    if !missing.is_empty() {
        sentences.push(format!("{} not compared; the reasons are below.", are(missing.len(), "item")));
    }
    let (answered, same) =
        outputs.iter().fold((0, 0), |(answered, same), row| (answered + row.answered, same + row.identical));
    if answered > 0 {
        sentences.push(format!(
            "{} of {} in common are the same text.",
            count(same as u64),
            plural(answered, "answer")
        ));
    }
    if !tables.is_empty() && tables.iter().all(|table| table.identical) {
        sentences.push("All tables are identical row by row.".into());
    }
    if pairing.common.is_empty() {
        sentences.push("The runs have no task in common, so nothing is compared row by row.".into());
    }
    sentences.join(" ")
}

fn are(number: usize, noun: &str) -> String {
    format!("{} {}", plural(number, noun), if number == 1 { "is" } else { "are" })
}

fn moved(metrics: &[Metric], counts: Counts) -> String {
    let of = plural(counts.compared, "metric");
    if counts.compared == 0 {
        return "No metric could be compared.".into();
    }
    if counts.moved == 0 {
        return format!("None of {of} moved: no interval of a difference leaves out zero.");
    }
    let moved = metrics.iter().filter(|metric| metric.verdict == Verdict::Moved);
    let named = moved.take(NAMED).map(|metric| format!("{} ({})", title(&metric.subject), difference(metric)));
    let mut named: Vec<String> = named.collect();
    if counts.moved > NAMED {
        named.push(format!("and {} more", counts.moved - NAMED));
    }
    format!(
        "{} of {of} moved (the 95 % interval of the difference leaves out zero): {}. {} still do after Holm's correction for looking at all of them.",
        counts.moved,
        named.join(", "),
        if counts.moved_after_holm == 0 { "None".to_owned() } else { counts.moved_after_holm.to_string() },
    )
}

/// What a reader of the numbers should know.
pub(super) fn warnings(pairing: &Pairing, identity: &[Fact]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for run in pairing.runs() {
        for warning in &run.warnings {
            if !found.contains(warning) {
                found.push(warning.clone());
            }
        }
    }
    let changed = pairing.data.changed.count;
    if changed > 0 {
        found.push(format!(
            "{} the same id and another question or other references; what is said of them is not compared.",
            if changed == 1 { "1 task has".to_owned() } else { format!("{changed} tasks have") }
        ));
    }
    let differ = |kind: &str, what: &str| {
        identity.iter().any(|fact| fact.kind == kind && fact.what == what && fact.status == Status::Differs)
    };
    let measured = pairing.runs().map(|run| run.tables.profile.iter().any(|row| row.source == "measured"));
    if measured == [true, true] && (differ("machine", "processor") || differ("runtime", "provider")) {
        found.push(
            "Latencies were measured on different processors or providers; costs and rewards follow from them.".into(),
        );
    }
    if differ("judge", "judge") {
        found.push("The judges are not the same, so a movement of grades need not be one of the answers.".into());
    }
    found
}
