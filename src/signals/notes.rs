//! What the audit and the cascade say, in sentences: warnings that a reader needs before quoting a number, and notes.

use super::answers::Answers;
use super::audit::Split;
use super::calibrate::Calibration;
use super::dimensions::{DIMENSIONS, Dimension, Signal};
use crate::settings::Signals;
use crate::store::rows::{CascadeRow, SignalAuditRow};

/// The records that chose what is kept.
const FIT: &str = Split::Fit.name();

/// Those that did not.
const HELD_OUT: &str = Split::HeldOut.name();

/// What a reader of the tables should know.
pub(super) fn warnings(
    answers: &Answers,
    audit: &[SignalAuditRow],
    calibrations: &[Calibration],
    dimensions: &[Signal; DIMENSIONS],
    steps: usize,
    settings: &Signals,
) -> Vec<String> {
    let reference = settings.reference.name();
    let mut found = without_values(answers, dimensions, settings);
    for row in audit {
        let clear = row.split == HELD_OUT && row.sign.as_deref() == Some("negative");
        if let (true, Some(weight), Some(r)) = (clear, row.default_weight.filter(|weight| *weight > 0.0), row.pearson) {
            found.push(format!(
                "`{}` falls where {reference} rises on `{}` (r = {r:.2} on the held-out half), and has a weight of \
                 {weight:.2} in `composite`",
                row.signal, row.task_type
            ));
        }
    }
    for calibration in calibrations.iter().filter(|calibration| calibration.weights.is_none()) {
        found.push(format!(
            "no dimension with a weight follows {reference} on `{}` (r > {}): `composite_calibrated` is null there",
            calibration.task_type, settings.theta
        ));
    }
    if steps < 2 {
        found.push(format!("there is no cascade: it takes two evaluators with a known latency, and there are {steps}"));
    }
    found
}

/// The dimensions with a weight that no answer has, with the reason that answers with an output give.
fn without_values(answers: &Answers, dimensions: &[Signal; DIMENSIONS], settings: &Signals) -> Vec<String> {
    let Some(first) = answers.rows.iter().position(|answer| answer.output().is_ok()) else {
        let nobody = (!answers.rows.is_empty()).then(|| "no answer has an output, so there is no signal".to_owned());
        return nobody.into_iter().collect();
    };
    let weights = settings.weights.array();
    let absent = |(place, dimension): (usize, Dimension)| {
        let values = &dimensions[place].values;
        let reason =
            values[first].as_ref().err().filter(|_| weights[place] > 0.0 && values.iter().all(Result::is_err))?;
        Some(format!("`{}` has no value for any answer: {reason}", dimension.name()))
    };
    Dimension::ALL.into_iter().enumerate().filter_map(absent).collect()
}

/// The composites beside what they are to beat, on the records that calibration has not seen, and what the cascade spans.
pub(super) fn notes(audit: &[SignalAuditRow], cascade: &[CascadeRow]) -> Vec<String> {
    let mut found = Vec::new();
    let held_out: Vec<&SignalAuditRow> = audit.iter().filter(|row| row.split == HELD_OUT).collect();
    let mut types: Vec<&str> = held_out.iter().map(|row| row.task_type.as_str()).collect();
    types.dedup();
    for task_type in types {
        let of_type = || held_out.iter().filter(|row| row.task_type == task_type);
        let r = |signal: &str, kind: &str| {
            let row = of_type().find(|row| row.signal == signal && row.kind == kind);
            row.and_then(|row| row.pearson).map_or_else(|| "none".to_owned(), |r| format!("{r:.2}"))
        };
        let best = best_of_fit(audit, task_type)
            .map_or_else(|| "none".to_owned(), |key| format!("{} ({key})", r(key, "evaluator")));
        let reference = of_type().next().map_or("", |row| row.reference.as_str());
        found.push(format!(
            "{task_type}, r with {reference} on the held-out half: composite {}, calibrated {}, consensus {}, best evaluator of \
             the other half {best}",
            r("composite", "composite"),
            r("composite_calibrated", "composite"),
            r("consensus_mean", "consensus")
        ));
    }
    found.extend(span(cascade));
    found
}

/// The evaluator that follows the reference best on the half of the fit: chosen where it is held out, it would be flattered.
fn best_of_fit<'a>(audit: &'a [SignalAuditRow], task_type: &str) -> Option<&'a str> {
    let wanted = |row: &&SignalAuditRow| row.task_type == task_type && row.split == FIT && row.kind == "evaluator";
    let evaluators = audit.iter().filter(wanted).filter_map(|row| Some((row.pearson?, row.signal.as_str())));
    evaluators.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
}

/// What the cascade costs at its thresholds.
fn span(cascade: &[CascadeRow]) -> Option<String> {
    let costs: Vec<f64> = cascade.iter().filter_map(|row| row.cost_ms).collect();
    let row = cascade.iter().find(|row| row.n > 0)?;
    let low = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(format!(
        "cascade {}: {low:.3} to {high:.3} ms per answer over the thresholds; all of them cost {:.3} ms",
        row.evaluators.join(" → "),
        row.cost_full_ms
    ))
}
