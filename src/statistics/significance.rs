//! How surprising a difference would be if there were none: probabilities of Student's t, the difference of two independent means
//! by Welch, and Holm's correction for many differences looked at together.

use super::{Estimate, MANY_DEGREES, student_t_975_of};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Probability that Student's t is at least this far from zero on either side; null for no degrees of freedom and a `t` that
/// is no number.
#[must_use]
pub fn two_sided_p(t: f64, degrees: f64) -> Option<f64> {
    if t.is_nan() {
        return None;
    }
    let below = -t.abs();
    let tail = if degrees < MANY_DEGREES {
        StudentsT::new(0.0, 1.0, degrees).ok()?.cdf(below)
    } else {
        Normal::standard().cdf(below)
    };
    Some((2.0 * tail).min(1.0))
}

/// A mean with its standard error, from a sample of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The mean.
    pub mean: f64,
    /// Its standard error, in the unit of the mean.
    pub standard_error: f64,
    /// Independent observations behind both.
    pub n: f64,
}

/// The difference of two independent means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoSample {
    /// Second minus first, with its 95 % interval; `n` counts the observations of both.
    pub difference: Estimate,
    /// Standard error of the difference.
    pub standard_error: f64,
    /// Probability of a difference this large if there were none.
    pub p: f64,
}

/// Welch's test: variances need not be equal. Null for fewer than two observations on a side, and where neither side has a
/// spread.
#[must_use]
pub fn welch(first: Sample, second: Sample) -> Option<TwoSample> {
    let variance = |sample: Sample| sample.standard_error.powi(2);
    let (a, b) = (variance(first), variance(second));
    let degrees = (a + b).powi(2) / (a * a / (first.n - 1.0) + b * b / (second.n - 1.0));
    let usable = first.n >= 2.0 && second.n >= 2.0 && degrees.is_finite();
    let standard_error = (a + b).sqrt();
    let value = second.mean - first.mean;
    let half = student_t_975_of(degrees).filter(|_| usable)? * standard_error;
    let p = two_sided_p(value / standard_error, degrees)?;
    let n = (first.n + second.n) as usize;
    let difference = Estimate { value: Some(value), ci_low: Some(value - half), ci_high: Some(value + half), n };
    Some(TwoSample { difference, standard_error, p })
}

/// Holm's step-down correction: each p as it counts when all are looked at together. Whatever the dependence between them, the
/// chance that any true null falls below a level is at most that level.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut so_far = 0.0_f64;
    for (place, index) in order.into_iter().enumerate() {
        so_far = so_far.max(p[index] * (p.len() - place) as f64).min(1.0);
        corrected[index] = so_far;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64) {
        assert!((actual / expected - 1.0).abs() < 1e-9, "{actual} is not {expected}");
    }

    #[test]
    fn tails_are_those_of_scipy() {
        // 2 * scipy.stats.t.sf(t, df), SciPy 1.17.1.
        close(two_sided_p(2.5, 7.0).expect("p"), 0.040_992_218_585_752_89);
        close(two_sided_p(-12.0, 30.0).expect("p"), 5.580_185_415_199_261e-13);
        // Many degrees are the normal distribution: 0.001936 becomes 0.001935.
        close(two_sided_p(3.1, 50_000.0).expect("p"), 0.001_935_206_426_436_712_6);
        assert_eq!(two_sided_p(0.0, 3.0), Some(1.0));
        assert_eq!((two_sided_p(1.0, 0.0), two_sided_p(f64::NAN, 3.0)), (None, None));
    }

    #[test]
    fn welch_is_that_of_scipy() {
        // scipy.stats.ttest_ind_from_stats(10, 3, 12, 11.5, 1, 40, equal_var=False).
        let sample = |mean, deviation: f64, n: f64| Sample { mean, standard_error: deviation / n.sqrt(), n };
        let found = welch(sample(10.0, 3.0, 12.0), sample(11.5, 1.0, 40.0)).expect("both have a spread");
        close(found.p, 0.114_695_642_576_245_87);
        close(1.5 / found.standard_error, 1.703_885_502_741_194_3);
        let (low, high) = found.difference.ci_low.zip(found.difference.ci_high).expect("an interval");
        assert!(low < 0.0 && high > 3.0 && (low + high - 3.0).abs() < 1e-12, "{low} {high}");
        assert_eq!(welch(sample(1.0, 1.0, 1.0), sample(1.0, 1.0, 9.0)), None);
        assert_eq!(welch(sample(1.0, 0.0, 9.0), sample(2.0, 0.0, 9.0)), None);
        // One side may be exact.
        assert!(welch(sample(1.0, 0.0, 9.0), sample(2.0, 1.0, 9.0)).is_some());
    }

    #[test]
    fn holm_steps_down() {
        // The smallest counts four times, the next three times, and none counts less than one before it.
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in found.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(found, expected);
        }
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }
}
