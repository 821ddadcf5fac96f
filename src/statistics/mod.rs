//! Means, quantiles, correlations and averages of correlations (Section 5.1), with the intervals that the paper omits:
//! [`bootstrap`] resamples tasks, [`sums`] are what is computed on a resample. [`kappa`] is the agreement of two raters, [`kendall`] that
//! of two orders, [`regression`] the line through a score, [`paired`] the difference between two runs on the same tasks,
//! [`significance`] what chance alone would do. Called by
//! whoever reports numbers: scoring, simulation, quality signals, benchmarks and the report. Means, covariances, ranks and
//! Student's t are those of `statrs`.
//!
//! A pair with a missing or non-finite side is left out and `n` says how many remained.

pub mod bootstrap;
pub mod kappa;
pub mod kendall;
pub mod paired;
pub mod regression;
pub mod significance;
pub mod sums;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::statistics::{Data, OrderStatistics, RankTieBreaker, Statistics};
use std::borrow::Borrow;

/// Fewest pairs for which a correlation says anything: two points always lie on a line.
pub const FEWEST_PAIRS: usize = 3;

/// Degrees of freedom from which on Student's t is expanded around the normal quantile (Abramowitz and Stegun 26.7.5), to
/// twelve digits; `statrs` loses digits there, and with very many degrees does not come back.
const MANY_DEGREES: f64 = 10_000.0;

/// The 97.5 % quantile of the normal distribution.
const NORMAL_975: f64 = 1.959_963_984_540_054;

/// A number with its 95 % interval; every field but `n` is null where it is not defined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number itself, in the unit of the field that holds it.
    pub value: Option<f64>,
    /// Lower end of the 95 % interval.
    pub ci_low: Option<f64>,
    /// Upper end of the 95 % interval.
    pub ci_high: Option<f64>,
    /// Observations behind it.
    pub n: usize,
}

impl Estimate {
    /// Mean with Student's t interval; no interval for fewer than two values.
    #[must_use]
    pub fn of_mean(values: &[f64]) -> Self {
        let n = values.len();
        let value = mean(values);
        let half = standard_deviation(values)
            .and_then(|sd| Some(student_t_975(n.checked_sub(1)?)? * sd / (n as f64).sqrt()))
            .filter(|half| half.is_finite());
        Self { value, ci_low: value.zip(half).map(|(v, h)| v - h), ci_high: value.zip(half).map(|(v, h)| v + h), n }
    }

    /// Half the width of the interval: what stands behind `±`.
    #[must_use]
    pub fn half_width(&self) -> Option<f64> {
        Some((self.ci_high? - self.ci_low?) / 2.0)
    }

    /// Unweighted mean of independent estimates, as Section 5.1 averages over tasks: the half-widths add in squares.
    /// Null unless every part has a value, for a mean over fewer tasks would not compare with the others.
    #[must_use]
    pub fn average(parts: &[Self]) -> Self {
        let n = parts.iter().map(|part| part.n).sum();
        let values: Option<Vec<f64>> = parts.iter().map(|part| part.value).collect();
        let value = values.and_then(|values| mean(&values));
        let halves: Option<Vec<f64>> = parts.iter().map(Self::half_width).collect();
        let half = halves.map(|halves| halves.iter().map(|h| h * h).sum::<f64>().sqrt() / parts.len() as f64);
        Self { value, ci_low: value.zip(half).map(|(v, h)| v - h), ci_high: value.zip(half).map(|(v, h)| v + h), n }
    }
}

/// How two columns agree.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Agreement {
    /// Pearson's r; null for fewer than [`FEWEST_PAIRS`] pairs or a constant column.
    pub pearson: Option<f64>,
    /// Spearman's rho, ties by mean rank; null where `pearson` is.
    pub spearman: Option<f64>,
    /// Kendall's tau-b; null where `pearson` is.
    pub kendall: Option<f64>,
    /// Complete pairs.
    pub n: usize,
}

/// Correlation of two columns of equal length over their complete pairs.
#[must_use]
pub fn agreement(x: &[Option<f64>], y: &[Option<f64>]) -> Agreement {
    let (first, second) = complete_pairs(x, y);
    let ranks = |values: &[f64]| Data::new(values.to_vec()).ranks(RankTieBreaker::Average);
    let pearson = pearson(&first, &second);
    let spearman = pearson.and_then(|_| self::pearson(&ranks(&first), &ranks(&second)));
    let kendall = pearson.and_then(|_| kendall::tau_b(x, y));
    Agreement { pearson, spearman, kendall, n: first.len() }
}

/// The pairs of which both sides are finite numbers.
fn complete_pairs(x: &[Option<f64>], y: &[Option<f64>]) -> (Vec<f64>, Vec<f64>) {
    x.iter().zip(y).filter_map(|(x, y)| Some((finite(*x)?, finite(*y)?))).unzip()
}

/// Pearson's r of paired finite values; null for fewer than [`FEWEST_PAIRS`] pairs, a constant column or columns of
/// unequal length.
#[must_use]
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() < FEWEST_PAIRS || x.len() != y.len() || is_constant(x) || is_constant(y) {
        return None;
    }
    let r = x.covariance(y) / (x.std_dev() * y.std_dev());
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Mean of correlations through Fisher's z: tanh of the mean of atanh r, each task weighing the same. A perfect
/// correlation outweighs all others; null for no correlation at all, and where +1 and -1 meet.
#[must_use]
pub fn fisher_z_mean(correlations: &[f64]) -> Option<f64> {
    let z: Vec<f64> = correlations.iter().map(|r| r.atanh()).collect();
    let mean = z.iter().sum::<f64>() / z.len() as f64;
    (!mean.is_nan()).then(|| mean.tanh())
}

/// Arithmetic mean; null for no values.
#[must_use]
pub fn mean(values: impl IntoIterator<Item = impl Borrow<f64>>) -> Option<f64> {
    let mut values = values.into_iter().peekable();
    values.peek()?;
    Some(values.mean())
}

/// The median, with the mean of the two in the middle for an even number; null for no values.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let above = sorted.len() / 2;
    let below = sorted.len().checked_sub(1)? / 2;
    Some(f64::midpoint(sorted[below], sorted[above]))
}

/// Quantile of sorted values, linear between neighbours (as numpy's default); null for no values.
#[must_use]
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64))
}

/// Standard deviation with n - 1; null for fewer than two values.
#[must_use]
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    (values.len() >= 2).then(|| values.std_dev())
}

/// Whether all values are the same number; true for none.
#[must_use]
pub fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits())
}

/// The value if it is a finite number.
#[must_use]
pub fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite())
}

/// The t that Student's distribution stays within, in absolute value, with probability 0.95: half-width of a 95 %
/// interval in standard errors. Null for no degrees of freedom.
#[must_use]
pub fn student_t_975(degrees: usize) -> Option<f64> {
    student_t_975_of(degrees as f64)
}

/// The same for degrees that need not be whole, as Welch's are not.
fn student_t_975_of(n: f64) -> Option<f64> {
    if n < MANY_DEGREES {
        return StudentsT::new(0.0, 1.0, n).ok().map(|t| t.inverse_cdf(0.975));
    }
    let z = NORMAL_975;
    Some(z + (z.powi(3) + z) / (4.0 * n) + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * n * n))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod reference_tests;
