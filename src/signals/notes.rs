//! What the audit and the cascade say, in sentences: warnings that a reader needs before quoting a number, and notes.

use super::calibrate::Calibration;
use super::composite::renormalise;
use super::dimensions::{DIMENSIONS, Dimension, Signal};
use crate::settings::Signals;
use crate::store::rows::{CascadeRow, SignalAuditRow};

/// What a reader of the tables should know.
pub(super) fn warnings(
    audit: &[SignalAuditRow],
    calibrations: &[Calibration],
    dimensions: &[Signal; DIMENSIONS],
    steps: usize,
    settings: &Signals,
) -> Vec<String> {
    let reference = settings.reference.name();
    let mut found = Vec::new();
    let weights = renormalise(&settings.weights.array(), &[true; DIMENSIONS]).unwrap_or_default();
    for (place, dimension) in Dimension::ALL.into_iter().enumerate() {
        let values = &dimensions[place].values;
        if weights[place] > 0.0 && !values.is_empty() && values.iter().all(Result::is_err) {
            let reason = values.iter().find_map(|value| value.as_ref().err()).map_or("", String::as_str);
            found.push(format!("`{}` has no value for any answer: {reason}", dimension.name()));
        }
    }
    for row in audit {
        let clear = row.split == "all" && row.sign.as_deref() == Some("negative");
        if let (true, Some(weight), Some(r)) = (clear, row.default_weight.filter(|weight| *weight > 0.0), row.pearson) {
            found.push(format!(
                "`{}` falls where {reference} rises on `{}` (r = {r:.2}), and has a weight of {weight:.2} in `composite`",
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

/// The composites beside what they are to beat, on the records that calibration has not seen, and what the cascade spans.
pub(super) fn notes(audit: &[SignalAuditRow], cascade: &[CascadeRow]) -> Vec<String> {
    let mut found = Vec::new();
    let held_out: Vec<&SignalAuditRow> = audit.iter().filter(|row| row.split == "held_out").collect();
    let mut types: Vec<&str> = held_out.iter().map(|row| row.task_type.as_str()).collect();
    types.dedup();
    for task_type in types {
        let of_type = || held_out.iter().filter(|row| row.task_type == task_type);
        let r = |signal: &str, kind: &str| {
            let row = of_type().find(|row| row.signal == signal && row.kind == kind);
            row.and_then(|row| row.pearson).map_or_else(|| "none".to_owned(), |r| format!("{r:.2}"))
        };
        let evaluators = of_type().filter(|row| row.kind == "evaluator");
        let best = evaluators
            .filter_map(|row| Some((row.pearson?, row.signal.as_str())))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or_else(|| "none".to_owned(), |(r, key)| format!("{r:.2} ({key})"));
        let reference = of_type().next().map_or("", |row| row.reference.as_str());
        found.push(format!(
            "{task_type}, r with {reference} on the held-out half: composite {}, calibrated {}, consensus {}, best evaluator {best}",
            r("composite", "composite"),
            r("composite_calibrated", "composite"),
            r("consensus_mean", "consensus")
        ));
    }
    let costs: Vec<f64> = cascade.iter().filter_map(|row| row.cost_ms).collect();
    if let Some(row) = cascade.iter().find(|row| row.n > 0) {
        let low = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        found.push(format!(
            "cascade {}: {low:.3} to {high:.3} ms per answer over the thresholds; all of them cost {:.3} ms",
            row.evaluators.join(" → "),
            row.cost_full_ms
        ));
    }
    found
}
