//! [`Metric`]: one number of two runs, how far it moved, and how sure that is.

use crate::statistics::bootstrap::FEWEST_TASKS;
use crate::statistics::paired::{Difference, Likeness};
use crate::statistics::significance::holm;
use serde::Serialize;

/// Level below which a p, corrected for the number of metrics, still counts as a movement.
pub const LEVEL: f64 = 0.05;

/// What is measured, of whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// `f1`, `exact_match_share`, `evaluator_score`, `judge_score`, `output_tokens`, `length_stop_share`, `prompt_truncated_share`,
    /// `failed_share`, `score_failed_share`, `score_truncated_share`, `judge_failed_share`, `pearson`, `latency_ms`, `cost_norm` or
    /// `avg_reward`.
    pub metric: String,
    /// Node key of the inference node; null where it is not about one.
    pub model: Option<String>,
    /// Node key of the evaluator, or `f1` where its correlation with the judge is meant; null where it is not about one.
    pub evaluator: Option<String>,
    /// What a correlation is with, `f1` or `judge`; null for other metrics.
    pub reference: Option<String>,
    /// Type of the tasks; null for all of them.
    pub task_type: Option<String>,
}

impl Subject {
    /// A metric of an LLM.
    pub(super) fn of_model(metric: &str, model: &str) -> Self {
        Self { metric: metric.into(), model: Some(model.into()), ..Self::default() }
    }

    /// A metric of an evaluator.
    pub(super) fn of_evaluator(metric: &str, evaluator: &str) -> Self {
        Self { metric: metric.into(), evaluator: Some(evaluator.into()), ..Self::default() }
    }
}

/// Where an interval comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The same rows in both runs, resampled by record.
    Paired,
    /// Two means with standard errors of their own (Welch).
    TwoSample,
    /// Nowhere: there is no interval.
    None,
}

/// What is to be said of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The 95 % interval of the difference leaves zero out.
    Moved,
    /// The interval holds zero.
    Within,
    /// The same to the last bit, in every row that is compared.
    Identical,
    /// Every row differs by no more than the rounding of single precision, a hundred-thousandth; or, of a correlation, the rows
    /// are the same on another scale.
    Rounding,
    /// It differs, and nobody can say how sure that is.
    Untested,
}

/// A metric of two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// What is measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// Unit of the values, the difference and its interval.
    pub unit: &'static str,
    /// Value of the baseline, over the rows that are compared.
    pub baseline: f64,
    /// Value of the other run, over the same rows where `method` is `paired`.
    pub other: f64,
    /// Other minus baseline.
    pub difference: f64,
    /// Lower end of the difference's 95 % interval; null without an interval.
    pub ci_low: Option<f64>,
    /// Upper end.
    pub ci_high: Option<f64>,
    /// Standard error of the difference; null where `ci_low` is.
    pub standard_error: Option<f64>,
    /// Probability of a difference this large if there were none; null where `ci_low` is.
    pub p: Option<f64>,
    /// The same, corrected for the number of metrics of this comparison by Holm's method; null where `p` is.
    pub p_holm: Option<f64>,
    /// Where the interval comes from.
    pub method: Method,
    /// Rows compared; null unless `method` is `paired`.
    pub rows: Option<usize>,
    /// Records that they are about; null where `rows` is.
    pub records: Option<usize>,
    /// Common rows that are left out because one run alone has a value; null where `rows` is.
    pub left_out: Option<usize>,
    /// What is to be said.
    pub verdict: Verdict,
    /// Why there is no interval; null where there is one, and where nothing differs.
    pub reason: Option<String>,
}

impl Metric {
    /// From a paired comparison; none where a run has no value.
    pub(super) fn paired(subject: Subject, unit: &'static str, found: &Difference, left_out: usize) -> Option<Self> {
        let (baseline, other, difference) = (found.baseline?, found.other?, found.value?);
        let spread = found.spread;
        let verdict = match spread {
            _ if found.likeness == Likeness::Identical => Verdict::Identical,
            _ if found.likeness == Likeness::Rounding => Verdict::Rounding,
            Some(spread) if spread.low > 0.0 || spread.high < 0.0 => Verdict::Moved,
            Some(_) => Verdict::Within,
            None => Verdict::Untested,
        };
        let reason = format!(
            "fewer than {FEWEST_TASKS} records of a task type, or not defined in one resample of twenty or more"
        );
        Some(Self {
            subject,
            unit,
            baseline,
            other,
            difference,
            ci_low: spread.map(|spread| spread.low),
            ci_high: spread.map(|spread| spread.high),
            standard_error: spread.map(|spread| spread.standard_error),
            p: found.p,
            p_holm: None,
            method: Method::Paired,
            rows: Some(found.rows),
            records: Some(found.records),
            left_out: Some(left_out),
            verdict,
            reason: (verdict == Verdict::Untested).then_some(reason),
        })
    }

    /// Of two numbers without rows in common; `tested` holds the difference with its interval, or why there is none.
    pub(super) fn unpaired(
        subject: Subject,
        unit: &'static str,
        (baseline, other): (f64, f64),
        tested: Result<crate::statistics::significance::TwoSample, String>,
    ) -> Self {
        let identical = baseline.to_bits() == other.to_bits();
        let (tested, reason) = match tested {
            _ if identical => (None, None),
            Ok(tested) => (Some(tested), None),
            Err(reason) => (None, Some(reason)),
        };
        let verdict = match &tested {
            _ if identical => Verdict::Identical,
            Some(found) if found.difference.ci_low > Some(0.0) || found.difference.ci_high < Some(0.0) => {
                Verdict::Moved
            }
            Some(_) => Verdict::Within,
            None => Verdict::Untested,
        };
        Self {
            subject,
            unit,
            baseline,
            other,
            difference: other - baseline,
            ci_low: tested.and_then(|found| found.difference.ci_low),
            ci_high: tested.and_then(|found| found.difference.ci_high),
            standard_error: tested.map(|found| found.standard_error),
            p: tested.map(|found| found.p),
            p_holm: None,
            method: if tested.is_some() { Method::TwoSample } else { Method::None },
            rows: None,
            records: None,
            left_out: None,
            verdict,
            reason,
        }
    }

    /// Whether it still counts as moved among all the metrics of its comparison.
    #[must_use]
    pub fn moved_after_holm(&self) -> bool {
        self.verdict == Verdict::Moved && self.p_holm.is_some_and(|p| p < LEVEL)
    }

    /// The difference in standard errors.
    fn size(&self) -> f64 {
        self.standard_error.map_or(0.0, |error| (self.difference / error).abs())
    }
}

/// Corrects the p of all metrics for their number, and puts what moved first: what is compared row by row before what has only
/// chance of its own, the surest before the others.
pub(super) fn correct_and_sort(metrics: &mut [Metric]) {
    // Metrics whose rows are all the same are true nulls for certain; they count in the family all the same.
    let same = |metric: &Metric| matches!(metric.verdict, Verdict::Identical | Verdict::Rounding);
    let in_family = |metric: &Metric| metric.p.or(same(metric).then_some(1.0));
    let family: Vec<(usize, f64)> =
        metrics.iter().enumerate().filter_map(|(place, metric)| Some((place, in_family(metric)?))).collect();
    let corrected = holm(&family.iter().map(|(_, p)| *p).collect::<Vec<_>>());
    for ((place, _), p) in family.into_iter().zip(corrected) {
        metrics[place].p_holm = metrics[place].p.map(|_| p);
    }
    let rank = |verdict| match verdict {
        Verdict::Moved => 0,
        Verdict::Within => 1,
        Verdict::Untested => 2,
        Verdict::Rounding => 3,
        Verdict::Identical => 4,
    };
    let key = |metric: &Metric| (rank(metric.verdict), metric.method != Method::Paired);
    metrics.sort_by(|a, b| key(a).cmp(&key(b)).then(b.size().total_cmp(&a.size())));
}
