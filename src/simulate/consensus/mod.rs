//! What the evaluators of one round agree on, and how far each stands from it: Equations 1 and 3, as pure functions of
//! normalized scores e in [0, 10]. The mean includes the evaluator itself, as the formula says (the prose says "peers").

/// Mean of the scores, in [0, 10]; none when nobody scored.
#[must_use]
pub fn mean(scores: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = scores.into_iter().fold((0.0, 0_u32), |(sum, count), score| (sum + score, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// `Q = (1 / 10K) sum e` (Equation 1), in [0, 1], from the [`mean`] of the K scores.
#[must_use]
pub fn quality(mean: f64) -> f64 {
    mean / 10.0
}

/// `d = |e - mean| / 10` (Equation 3), in [0, (K - 1) / K]: with one evaluator it is 0 by construction.
#[must_use]
pub fn deviation(score: f64, mean: f64) -> f64 {
    (score - mean).abs() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn worked_example_with_three_evaluators() {
        let scores = [4.0, 7.0, 10.0];
        let mean = mean(scores).expect("three scores");
        assert_close(mean, 7.0);
        assert_close(quality(mean), 0.7);
        for (score, expected) in scores.into_iter().zip([0.3, 0.0, 0.3]) {
            assert_close(deviation(score, mean), expected);
        }
    }

    #[test]
    fn nobody_has_no_opinion() {
        assert_eq!(mean([]), None);
    }

    #[test]
    fn the_largest_deviation_is_two_thirds_among_three() {
        let mean = mean([10.0, 0.0, 0.0]).expect("three scores");
        assert_close(deviation(10.0, mean), 2.0 / 3.0);
    }

    proptest! {
        #[test]
        fn one_evaluator_agrees_with_itself(score in 0.0..=10.0f64) {
            let deviation = deviation(score, mean([score]).expect("one score"));
            prop_assert!(deviation.abs() < f64::MIN_POSITIVE, "not exactly 0: {deviation}");
        }

        #[test]
        fn quality_and_deviations_stay_in_bounds(scores in prop::collection::vec(0.0..=10.0f64, 1..8)) {
            let mean = mean(scores.iter().copied()).expect("at least one score");
            prop_assert!((0.0..=1.0).contains(&quality(mean)));
            let largest = (scores.len() - 1) as f64 / scores.len() as f64;
            for score in scores {
                prop_assert!((0.0..=largest + 1e-12).contains(&deviation(score, mean)));
            }
        }

        #[test]
        fn the_order_of_evaluators_does_not_matter(
            (scores, shuffled) in prop::collection::vec(0.0..=10.0f64, 1..8)
                .prop_flat_map(|scores| (Just(scores.clone()), Just(scores).prop_shuffle()))
        ) {
            let (a, b) = (mean(scores).expect("at least one"), mean(shuffled).expect("at least one"));
            prop_assert!((a - b).abs() < 1e-12);
        }
    }
}
