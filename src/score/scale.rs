//! Raw scores to 0..10 within a group: one scorer's scores over one task type, or over the run, pooled over models.
//!
//! A group is fitted first and applied afterwards, row by row, so that the table itself need not be in memory.

use crate::statistics::quantile;
use serde::{Deserialize, Serialize};

/// The top of the scale of `normalized`.
pub const SCALE: f64 = 10.0;

/// Share of the scores that `clipped` cuts at each end.
const CLIPPED_SHARE: f64 = 0.01;

/// How raw scores are placed on the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Smallest to 0, largest to 10 (Section 4.2). Two rows decide where all the others lie.
    #[default]
    MinMax,
    /// Rank among the group, ties at their mean rank: only the order counts.
    Rank,
    /// Min-max between the 1st and 99th percentile; what lies outside is clipped.
    Clipped,
}

/// Takes in a group's scores. `min_max` needs a few numbers whatever the size of the group, the other methods eight bytes
/// per score.
#[derive(Debug, Clone)]
pub struct Fit {
    method: Method,
    count: usize,
    min: f64,
    max: f64,
    values: Vec<f64>,
}

/// A fitted group.
#[derive(Debug, Clone)]
pub struct Scale {
    method: Method,
    count: usize,
    low: f64,
    high: f64,
    /// Sorted scores, for ranks alone.
    values: Vec<f64>,
}

impl Fit {
    /// An empty group.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self { method, count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, values: Vec::new() }
    }

    /// Counts a score.
    ///
    /// # Panics
    ///
    /// If the score is not finite: a scorer must turn such a score into a failed row.
    pub fn see(&mut self, raw: f64) {
        assert!(raw.is_finite(), "a raw score is not finite; this is a bug");
        self.count += 1;
        self.min = self.min.min(raw);
        self.max = self.max.max(raw);
        if self.method != Method::MinMax {
            self.values.push(raw);
        }
    }

    /// Smallest and largest score; none when there is none.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        (self.count > 0).then_some((self.min, self.max))
    }

    /// Scores counted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The scale of the group.
    #[must_use]
    pub fn finish(self) -> Scale {
        let Self { method, count, min, max, mut values } = self;
        values.sort_unstable_by(f64::total_cmp);
        let (low, high) = match method {
            Method::Clipped => {
                let end = |share| quantile(&values, share).unwrap_or(0.0);
                (end(CLIPPED_SHARE), end(1.0 - CLIPPED_SHARE))
            }
            Method::MinMax | Method::Rank => (min, max),
        };
        if method != Method::Rank {
            values = Vec::new();
        }
        Scale { method, count, low, high, values }
    }
}

impl Scale {
    /// Whether the scale says nothing, because all its scores are equal: every score is then 5.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.count > 0 && self.low >= self.high
    }

    /// Raw scores that become 0 and 10.
    #[must_use]
    pub fn ends(&self) -> Option<(f64, f64)> {
        (self.count > 0).then_some((self.low, self.high))
    }

    /// The score on the scale.
    #[must_use]
    pub fn place(&self, raw: f64) -> f64 {
        if self.is_constant() {
            return SCALE / 2.0;
        }
        match self.method {
            Method::MinMax => SCALE * share(raw, self.low, self.high),
            Method::Clipped => SCALE * share(raw.clamp(self.low, self.high), self.low, self.high),
            Method::Rank => {
                let below = self.values.partition_point(|&value| value < raw);
                let not_above = self.values.partition_point(|&value| value <= raw);
                // Mean of the zero-based ranks of all equal scores.
                let rank = (below + not_above - 1) as f64 / 2.0;
                SCALE * rank / (self.count - 1) as f64
            }
        }
    }
}

fn share(score: f64, low: f64, high: f64) -> f64 {
    let span = high - low;
    // Halves keep the span of the widest finite numbers finite.
    if span.is_finite() { (score - low) / span } else { (score / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fit(method: Method, raw: &[f64]) -> Scale {
        let mut fit = Fit::new(method);
        for &score in raw {
            fit.see(score);
        }
        fit.finish()
    }

    fn placed(method: Method, raw: &[f64]) -> Vec<f64> {
        let scale = fit(method, raw);
        raw.iter().map(|&score| scale.place(score)).collect()
    }

    #[test]
    fn the_ends_of_the_group_become_the_ends_of_the_scale() {
        assert_eq!(placed(Method::MinMax, &[-1.0, 3.0, 0.0]), [0.0, 10.0, 2.5]);
    }

    #[test]
    fn ranks_share_ties_and_ignore_distances() {
        assert_eq!(placed(Method::Rank, &[5.0, -100.0, 7.0, 5.0, 1e9]), [3.75, 0.0, 7.5, 3.75, 10.0]);
    }

    #[test]
    fn clipping_cuts_one_percent_at_each_end() {
        // 0..=100: the percentiles are 1 and 99 exactly.
        let raw: Vec<f64> = (0..=100).map(f64::from).collect();
        let placed = placed(Method::Clipped, &raw);
        assert_eq!((placed[0], placed[1], placed[99], placed[100]), (0.0, 0.0, 10.0, 10.0));
        assert!((placed[50] - 5.0).abs() < 1e-12);
        assert_eq!(fit(Method::Clipped, &raw).ends(), Some((1.0, 99.0)));
    }

    #[test]
    fn a_constant_group_is_flagged_and_lands_in_the_middle() {
        for method in [Method::MinMax, Method::Rank, Method::Clipped] {
            assert_eq!(placed(method, &[0.3, 0.3]), [5.0, 5.0]);
            assert!(fit(method, &[0.3, 0.3]).is_constant() && fit(method, &[0.0, -0.0]).is_constant());
            assert_eq!(placed(method, &[7.0]), [5.0]);
            assert!(!fit(method, &[]).is_constant() && fit(method, &[]).ends().is_none());
        }
    }

    #[test]
    #[should_panic(expected = "not finite; this is a bug")]
    fn a_score_that_is_not_finite_is_a_bug() {
        Fit::new(Method::MinMax).see(f64::NAN);
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL
    }

    proptest! {
        #[test]
        fn every_method_keeps_order_and_range(raw in prop::collection::vec(finite(), 1..20)) {
            for method in [Method::MinMax, Method::Rank, Method::Clipped] {
                let placed = placed(method, &raw);
                prop_assert!(placed.iter().all(|p| (0.0..=10.0).contains(p)), "{method:?} {placed:?}");
                for (a, place_a) in raw.iter().zip(&placed) {
                    for (b, place_b) in raw.iter().zip(&placed) {
                        if a < b { prop_assert!(place_a <= place_b, "{method:?}"); }
                    }
                }
            }
            let scale = fit(Method::MinMax, &raw);
            if let (false, Some((low, high))) = (scale.is_constant(), scale.ends()) {
                prop_assert_eq!((scale.place(low), scale.place(high)), (0.0, 10.0));
            }
        }
    }
}
