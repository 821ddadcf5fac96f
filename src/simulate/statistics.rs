//! From replicates to a mean, its standard error and its interval. A node's jobs vary between replicates, so its mean
//! per job is a ratio of two random totals, and the error is that of a ratio.

use crate::simulate::tally::Tally;

/// A spread of means below this is rounding of the sums, not chance.
const ROUNDING: f64 = 1e-10;

/// Mean per job over all replicates, and how certain it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Total over all replicates divided by the jobs of all replicates.
    pub mean: f64,
    /// Standard error of the mean; none unless two replicates had a job.
    pub stderr: Option<f64>,
    /// Jobs of all replicates.
    pub jobs: u64,
}

/// Mean per job r = sum X / sum N over n replicates with totals X and jobs N; none when nobody ever had a job.
///
/// The standard error is the linearised (delta method) one of a ratio, `sqrt(sum (X - r N)^2 / (n (n - 1))) / mean N`.
/// With equal jobs it is the usual standard error of the mean of n replicates; a replicate weighs by its jobs.
#[must_use]
pub fn mean_per_job(replicates: &[Tally]) -> Option<Estimate> {
    let mut total = Tally::default();
    for &replicate in replicates {
        total.add(replicate);
    }
    if total.jobs == 0 {
        return None;
    }
    let (n, jobs) = (replicates.len() as f64, total.jobs as f64);
    let mean = total.sum / jobs;
    let squares: f64 = replicates.iter().map(|replicate| (replicate.sum - mean * replicate.jobs as f64).powi(2)).sum();
    let spread = (squares / (n * (n - 1.0))).sqrt() * n / jobs;
    let known = replicates.iter().filter(|replicate| replicate.jobs > 0).count() >= 2;
    let stderr = known.then_some(if spread < ROUNDING { 0.0 } else { spread });
    Some(Estimate { mean, stderr, jobs: total.jobs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() < tolerance, "{a} is not {b}");
    }

    fn estimate(replicates: &[(f64, u64)]) -> Estimate {
        let tallies: Vec<_> = replicates.iter().map(|&(sum, jobs)| Tally { sum, jobs, ..Tally::default() }).collect();
        mean_per_job(&tallies).expect("there are jobs")
    }

    #[test]
    fn equal_jobs_give_the_usual_standard_error() {
        let estimate = estimate(&[(1.0, 10), (2.0, 10), (3.0, 10)]);
        assert_close(estimate.mean, 0.2, 1e-12);
        assert_close(estimate.stderr.expect("three replicates"), 0.1 / 3.0_f64.sqrt(), 1e-12);
        assert_eq!(estimate.jobs, 30);
    }

    #[test]
    fn unequal_jobs_alone_are_no_spread() {
        assert_eq!(estimate(&[(1.5, 5), (3.0, 10), (0.3, 1)]).stderr, Some(0.0));
    }

    #[test]
    fn fewer_than_two_replicates_with_jobs_have_no_error() {
        assert_eq!(estimate(&[(1.0, 4)]).stderr, None);
        assert_eq!(estimate(&[(1.0, 4), (0.0, 0)]).stderr, None);
        assert_eq!(mean_per_job(&[Tally::default()]), None);
    }
}
