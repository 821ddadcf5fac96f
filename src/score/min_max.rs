//! Min-max scaling of raw scores to 0..10 within a group: one scorer's scores over one task type, or over the run.

/// The top of the scale of `normalized`.
pub const SCALE: f64 = 10.0;

/// A scaled group, with what it was scaled by.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    /// Scores in 0..10, in the order of the raw ones; null where the raw score is null.
    pub normalized: Vec<Option<f64>>,
    /// Smallest raw score; null when there is none.
    pub min: Option<f64>,
    /// Largest raw score; null when there is none.
    pub max: Option<f64>,
    /// Raw scores that are not null.
    pub n: usize,
    /// Whether all raw scores are equal, so that the scale says nothing and every score is 5.
    pub constant: bool,
}

/// Scales a group.
///
/// # Panics
///
/// If a raw score is not finite: a scorer must turn such a score into a failed row.
#[must_use]
pub fn scale(raw: &[Option<f64>]) -> Scaled {
    let scores = || raw.iter().flatten().copied();
    assert!(scores().all(f64::is_finite), "a raw score is not finite; this is a bug");
    let min = scores().reduce(f64::min);
    let max = scores().reduce(f64::max);
    let (low, high) = (min.unwrap_or_default(), max.unwrap_or_default());
    let constant = min.is_some() && low >= high;
    let normalized = raw.iter().map(|score| score.map(|s| if constant { SCALE / 2.0 } else { place(s, low, high) }));
    Scaled { normalized: normalized.collect(), min, max, n: scores().count(), constant }
}

fn place(score: f64, low: f64, high: f64) -> f64 {
    let span = high - low;
    // Halves keep the span of the widest finite numbers finite.
    let share =
        if span.is_finite() { (score - low) / span } else { (score / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) };
    SCALE * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_the_group_become_the_ends_of_the_scale() {
        let scaled = scale(&[Some(-1.0), None, Some(3.0), Some(0.0)]);
        let expected = Scaled {
            normalized: vec![Some(0.0), None, Some(10.0), Some(2.5)],
            min: Some(-1.0),
            max: Some(3.0),
            n: 3,
            constant: false,
        };
        assert_eq!(scaled, expected);
    }

    #[test]
    fn a_constant_group_is_flagged_and_lands_in_the_middle() {
        let scaled = scale(&[Some(0.3), None, Some(0.3)]);
        assert_eq!(scaled.normalized, [Some(5.0), None, Some(5.0)]);
        assert!(scaled.constant && scaled.n == 2 && scaled.min == scaled.max);
        assert!(scale(&[Some(0.0), Some(-0.0)]).constant);
        assert!(scale(&[Some(7.0)]).constant);
    }

    #[test]
    fn a_group_without_scores_stays_null() {
        let expected = Scaled { normalized: vec![None, None], min: None, max: None, n: 0, constant: false };
        assert_eq!(scale(&[None, None]), expected);
        assert_eq!(scale(&[]).n, 0);
    }

    #[test]
    #[should_panic(expected = "not finite; this is a bug")]
    fn a_score_that_is_not_finite_is_a_bug() {
        let _ = scale(&[Some(1.0), Some(f64::NAN)]);
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL
    }

    proptest! {
        #[test]
        fn every_group_keeps_order_and_range(
            raw in prop::collection::vec(prop::option::of(finite()), 0..20),
        ) {
            let scaled = scale(&raw);
            prop_assert_eq!(scaled.n, raw.iter().flatten().count());
            for (score, place) in raw.iter().zip(&scaled.normalized) {
                prop_assert_eq!(score.is_some(), place.is_some());
                prop_assert!(place.is_none_or(|p| (0.0..=10.0).contains(&p)));
                if !scaled.constant && *score == scaled.min && score.is_some() { prop_assert_eq!(*place, Some(0.0)); }
                if !scaled.constant && *score == scaled.max && score.is_some() { prop_assert_eq!(*place, Some(10.0)); }
            }
            for (a, place_a) in raw.iter().zip(&scaled.normalized) {
                for (b, place_b) in raw.iter().zip(&scaled.normalized) {
                    if let (Some(a), Some(b)) = (a, b) && a < b { prop_assert!(place_a <= place_b); }
                }
            }
        }
    }
}
