//! Metrics and their numbers in words: for the summary, the tables and what is missing.

use super::metric::{Metric, Subject};
use crate::report::format::{NONE, fixed, percent};

/// `F1 of good (qa)`, with names between backticks.
pub(super) fn title(subject: &Subject) -> String {
    let Subject { metric, model, evaluator, reference, task_type } = subject;
    let name = |name: &Option<String>| name.as_ref().map_or_else(String::new, |name| format!("`{name}`"));
    let node = if model.is_some() { name(model) } else { name(evaluator) };
    let what = match metric.as_str() {
        "f1" => format!("F1 of {node}"),
        "exact_match_share" => format!("Exact match of {node}"),
        "evaluator_score" => format!("Score of {node} by {}", name(evaluator)),
        "judge_score" => format!("Judge's grade of {node}"),
        "judge_failed_share" => format!("Answers of {node} without a grade"),
        "output_tokens" => format!("New tokens of {node}"),
        "length_stop_share" => format!("Answers of {node} at the limit on new tokens"),
        "prompt_truncated_share" => format!("Prompts of {node} cut"),
        "failed_share" => format!("Failed answers of {node}"),
        "score_failed_share" => format!("Failed scores of {node}"),
        "score_truncated_share" => format!("Texts cut by {node}"),
        "pearson" => format!(
            "Pearson's r of {node} with {}",
            if reference.as_deref() == Some("f1") { "F1" } else { "the judge" }
        ),
        "latency_ms" => format!("Latency of {node}"),
        "cost_norm" => format!("Cost C of {node}"),
        "avg_reward" => format!("Reward of {node}"),
        other => format!("{other} of {node}"),
    };
    match task_type {
        Some(task_type) => format!("{what}, {task_type}"),
        None => what,
    }
}

/// A value of a metric.
pub(super) fn value(metric: &Metric, value: Option<f64>) -> String {
    match metric.unit {
        "share" => small(value, 1, 100.0).unwrap_or_else(|| percent(value)),
        "ms" => small(value, 2, 1.0).unwrap_or_else(|| format!("{} ms", fixed(value, 2))),
        "tokens" => small(value, 1, 1.0).unwrap_or_else(|| fixed(value, 1)),
        _ => small(value, 3, 1.0).unwrap_or_else(|| fixed(value, 3)),
    }
}

/// The difference, with its sign.
pub(super) fn difference(metric: &Metric) -> String {
    signed(metric, Some(metric.difference))
}

/// `+0.10 to +0.42`.
pub(super) fn interval(metric: &Metric) -> String {
    match (metric.ci_low, metric.ci_high) {
        (Some(low), Some(high)) => format!("{} to {}", signed(metric, Some(low)), signed(metric, Some(high))),
        _ => NONE.into(),
    }
}

/// A probability; a very small one as a bound.
pub(super) fn probability(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.0001 => "< 0.0001".into(),
        other => fixed(other, 4),
    }
}

/// Differences of shares are in percentage points: "+2.0 %" would be read as a relative change.
fn signed(metric: &Metric, number: Option<f64>) -> String {
    let text = match metric.unit {
        "share" => value(metric, number).replace(" %", " pp"),
        _ => value(metric, number),
    };
    if number > Some(0.0) { format!("+{text}") } else { text }
}

/// A number that rounding would turn into zero, in powers of ten.
fn small(value: Option<f64>, decimals: i32, scale: f64) -> Option<String> {
    let value = value.filter(|value| *value != 0.0 && (value * scale).abs() < 0.5 * 10_f64.powi(-decimals))?;
    Some(format!("{value:.1e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::paired::Difference;

    fn metric(unit: &'static str) -> Metric {
        let found = Difference { baseline: Some(1.0), other: Some(1.5), value: Some(0.5), ..Difference::default() };
        Metric::paired(Subject::of_model("f1", "good"), unit, &found, 0).expect("both runs have a value")
    }

    #[test]
    fn numbers_carry_sign_and_unit() {
        assert_eq!(difference(&metric("points, 0 to 10")), "+0.500");
        assert_eq!(difference(&metric("share")), "+50.0 pp");
        assert_eq!(value(&metric("ms"), Some(12.345)), "12.35 ms");
        assert_eq!(value(&metric("points, 0 to 10"), Some(-3e-7)), "-3.0e-7", "never a zero that is none");
        assert_eq!(value(&metric("points, 0 to 10"), Some(0.0)), "0.000");
        assert_eq!([Some(0.00001), Some(0.25), None].map(probability), ["< 0.0001", "0.2500", NONE]);
    }

    #[test]
    fn titles_name_nodes_and_types() {
        let subject = Subject { task_type: Some("qa".into()), ..Subject::of_model("f1", "good") };
        assert_eq!(title(&subject), "F1 of `good`, qa");
        let subject = Subject { reference: Some("judge".into()), ..Subject::of_evaluator("pearson", "flat") };
        assert_eq!(title(&subject), "Pearson's r of `flat` with the judge");
        let subject = Subject { evaluator: Some("flat".into()), ..Subject::of_model("evaluator_score", "good") };
        assert_eq!(title(&subject), "Score of `good` by `flat`");
    }
}
