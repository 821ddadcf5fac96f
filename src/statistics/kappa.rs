//! Cohen's kappa with quadratic weights (Cohen 1968): how far two raters agree beyond chance on the whole scale from 0
//! to 10. A miss by two points counts four times a miss by one. Called where a judge's scores are held against a second
//! reading of the same answers.

use std::ops::RangeInclusive;

/// The scores that the raters may give, rounded.
const SCALE: RangeInclusive<f64> = 0.0..=10.0;

/// Quadratically weighted kappa of two columns of equal length, without unit, from -1 to 1: 1 is agreement on every
/// pair, 0 what chance alone gives. Scores are rounded to the nearest integer, halves away from zero. A pair is left
/// out where a side is missing, not finite or rounds to a number outside the scale. Null for fewer than two pairs, and
/// where both raters always give one and the same score; 0 where each is constant and they differ.
#[must_use]
pub fn weighted_kappa(a: &[Option<f64>], b: &[Option<f64>]) -> Option<f64> {
    let pairs: Vec<(i64, i64)> = a.iter().zip(b).filter_map(|(a, b)| Some((score(*a)?, score(*b)?))).collect();
    let count = pairs.len() as i64;
    let sum = |of: fn(&(i64, i64)) -> i64| pairs.iter().map(of).sum::<i64>();
    // Both are count squared times the mean squared difference: of the pairs, and of every a against every b. The sums
    // stand for the table of weights, and as integers they are exact.
    let observed = count * sum(|(a, b)| (a - b) * (a - b));
    let expected = count * sum(|(a, b)| a * a + b * b) - 2 * sum(|(a, _)| *a) * sum(|(_, b)| *b);
    (count >= 2 && expected > 0).then(|| (expected - observed) as f64 / expected as f64)
}

fn score(value: Option<f64>) -> Option<i64> {
    let rounded = value?.round();
    SCALE.contains(&rounded).then_some(rounded as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    fn close(actual: Option<f64>, expected: f64) {
        let actual = actual.expect("there is a value");
        assert!((actual - expected).abs() < 1e-12, "{actual} is not {expected}");
    }

    // Expected numbers: scikit-learn 1.9.1, cohen_kappa_score(a, b, weights="quadratic", labels=range(11)), of the
    // rounded complete pairs.
    #[test]
    fn kappa_matches_the_reference() {
        let a = some(&[0.0, 0.0, 3.0, 5.0, 5.0, 7.0, 10.0, 10.0, 8.0, 8.0, 2.0, 6.0]);
        let b = some(&[1.0, 0.0, 3.0, 4.0, 6.0, 7.0, 9.0, 10.0, 8.0, 5.0, 2.0, 8.0]);
        close(weighted_kappa(&a, &b), 0.932_806_324_110_671_9);
        close(weighted_kappa(&some(&[3.0, 9.0]), &some(&[4.0, 6.0])), 0.545_454_545_454_545_4);
        // Order alone is not agreement: every score is five points off.
        let shifted = weighted_kappa(&some(&[1.0, 2.0, 3.0, 4.0, 5.0]), &some(&[6.0, 7.0, 8.0, 9.0, 10.0]));
        close(shifted, 0.137_931_034_482_758_67);
        let reversed = weighted_kappa(&some(&[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]), &some(&[10.0, 8.0, 6.0, 4.0, 2.0, 0.0]));
        close(reversed, -1.0);
    }

    // Expected number: as above; 4.5 counts as 5 and 4.49 as 4.
    #[test]
    fn incomplete_pairs_are_left_out_and_scores_rounded() {
        let a = [Some(7.0), None, Some(3.0), Some(9.0), None, Some(0.0), Some(4.5), Some(6.2), Some(f64::NAN)];
        let b = [Some(8.0), Some(2.0), None, Some(9.0), None, Some(1.0), Some(5.0), Some(4.49), Some(1.0)];
        close(weighted_kappa(&a, &b), 0.930_555_555_555_555_5);
    }

    // Expected number: as above; labels outside the range are left out there too.
    #[test]
    fn scores_off_the_scale_are_left_out() {
        close(weighted_kappa(&some(&[-1.0, 3.0, 7.0, 11.0, 5.0]), &some(&[2.0, 4.0, 6.0, 10.0, 5.0])), 0.8);
        // -0.4 and 10.4 round onto the scale.
        close(weighted_kappa(&some(&[-0.4, 10.4, 10.5]), &some(&[0.0, 10.0, 0.0])), 1.0);
    }

    // Expected numbers: as above, where not null.
    #[test]
    fn constant_raters_and_too_few_pairs() {
        close(weighted_kappa(&some(&[5.0; 4]), &some(&[1.0, 4.0, 6.0, 9.0])), 0.0);
        close(weighted_kappa(&some(&[5.0; 4]), &some(&[8.0; 4])), 0.0);
        assert_eq!(weighted_kappa(&some(&[5.0; 4]), &some(&[5.0; 4])), None);
        assert_eq!(weighted_kappa(&[], &[]), None);
        assert_eq!(weighted_kappa(&some(&[3.0]), &some(&[4.0])), None);
        assert_eq!(weighted_kappa(&[Some(3.0), Some(1.0)], &[Some(4.0), None]), None);
    }

    fn rating() -> impl Strategy<Value = Option<f64>> {
        prop_oneof![1 => Just(None), 9 => (0.0..=10.0).prop_map(Some)]
    }

    proptest! {
        #[test]
        fn kappa_is_symmetric_bounded_and_one_for_a_copy(
            pairs in prop::collection::vec((rating(), rating()), 0..40),
        ) {
            let (a, b): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let kappa = weighted_kappa(&a, &b);
            prop_assert_eq!(kappa, weighted_kappa(&b, &a));
            prop_assert!(kappa.is_none_or(|kappa| (-1.0..=1.0).contains(&kappa)), "{:?}", kappa);
            let mut scores: Vec<i64> = a.iter().filter_map(|a| score(*a)).collect();
            scores.dedup();
            prop_assert_eq!(weighted_kappa(&a, &a), (scores.len() > 1).then_some(1.0));
            let reversed: (Vec<_>, Vec<_>) = pairs.iter().rev().copied().unzip();
            prop_assert_eq!(kappa, weighted_kappa(&reversed.0, &reversed.1));
        }

        // The table of counts and weights, cell by cell.
        #[test]
        fn kappa_is_that_of_the_table(pairs in prop::collection::vec((0_usize..11, 0_usize..11), 2..40)) {
            let mut table = [[0.0_f64; 11]; 11];
            for (a, b) in &pairs {
                table[*a][*b] += 1.0;
            }
            let of_a = |a: usize| table[a].iter().sum::<f64>();
            let of_b = |b: usize| table.iter().map(|row| row[b]).sum::<f64>();
            let cells = || (0..11).flat_map(|a| (0..11).map(move |b| (a, b, (a as f64 - b as f64).powi(2))));
            let observed: f64 = cells().map(|(a, b, weight)| weight * table[a][b]).sum();
            let expected: f64 = cells().map(|(a, b, weight)| weight * of_a(a) * of_b(b)).sum();
            let column = |side: fn(&(usize, usize)) -> usize| -> Vec<_> {
                pairs.iter().map(|pair| Some(side(pair) as f64)).collect()
            };
            let found = weighted_kappa(&column(|pair| pair.0), &column(|pair| pair.1));
            prop_assert_eq!(found.is_some(), expected > 0.0);
            if let Some(found) = found {
                let kappa = 1.0 - observed * pairs.len() as f64 / expected;
                prop_assert!((found - kappa).abs() < 1e-12, "{} is not {}", found, kappa);
            }
        }
    }
}
