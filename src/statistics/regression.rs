//! Ordinary least squares with an intercept and errors that are robust to clusters: the answers to one prompt share its
//! difficulty, so rows are not independent. Called where a score is explained by a nuisance such as an answer's length,
//! alone or beside the answer's quality.
//!
//! A slope is found from what is left of its regressor once the intercept and the other regressors are taken out (the
//! theorem of Frisch, Waugh and Lovell); the robust variance of the slope follows from the same remainder.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The 97.5 % point of the normal distribution, which statsmodels takes for clusters unless told to take Student's t.
/// With few clusters, say below thirty, the interval is too narrow.
const NORMAL_975: f64 = 1.959_963_984_540_054;
/// Multiples of the machine's rounding below which a spread counts as none.
const ROUNDINGS: f64 = 16.0;

/// One regressor's slope; units are those of the response per unit of the regressor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// Change of the response per unit of the regressor with the others held fixed; any finite number.
    pub value: f64,
    /// Cluster-robust standard error in the unit of `value`, 0 or more; null for fewer than two clusters.
    pub stderr: Option<f64>,
    /// Lower end of the 95 % interval in the unit of `value`, by the normal distribution; null where `stderr` is.
    pub ci_low: Option<f64>,
    /// Upper end of the 95 % interval in the unit of `value`, by the normal distribution; null where `stderr` is.
    pub ci_high: Option<f64>,
}

/// Slopes of `y` on an intercept and the columns of `x`, in their order and without the intercept; `clusters` names the
/// cluster of each row. The standard errors are CR1: those of the sandwich times G / (G - 1) * (n - 1) / (n - k) for G
/// clusters, n rows and k coefficients with the intercept, under the root. Null for too few rows (regressors + 1 or
/// fewer), columns of unequal length, a number that is not finite, and a constant or collinear regressor.
#[must_use]
pub fn least_squares(y: &[f64], x: &[&[f64]], clusters: &[&str]) -> Option<Vec<Slope>> {
    let rows = y.len();
    let finite = |column: &[f64]| column.iter().all(|value| value.is_finite());
    let usable = clusters.len() == rows && finite(y) && x.iter().all(|column| column.len() == rows && finite(column));
    if !usable || rows <= x.len() + 1 {
        return None;
    }
    let response = Column::centred(y);
    let columns: Vec<Column> = x.iter().map(|column| Column::centred(column)).collect();
    let remainders: Vec<Column> = (0..columns.len()).map(|own| remainder(&columns, own)).collect::<Option<_>>()?;
    let slopes: Vec<f64> = remainders.iter().map(|own| dot(own, &response) / dot(own, own)).collect();
    let mut residuals = response.clone();
    columns.iter().zip(&slopes).for_each(|(column, slope)| residuals.subtract(*slope, column));

    let (cluster_of_row, groups) = numbered(clusters);
    let factor = groups as f64 / (groups as f64 - 1.0) * (rows as f64 - 1.0) / (rows - x.len() - 1) as f64;
    remainders
        .iter()
        .zip(slopes)
        .map(|(own, slope)| {
            let unit = response.scale / own.scale;
            let value = slope * unit;
            let mut scores = vec![0.0; groups];
            for ((cluster, own), residual) in cluster_of_row.iter().zip(&own.values).zip(&residuals.values) {
                scores[*cluster] += own * residual;
            }
            let squares = scores.iter().map(|score| score * score).sum::<f64>();
            let stderr = (groups >= 2).then(|| (factor * squares).sqrt() / dot(own, own) * unit);
            let half = stderr.map(|stderr| NORMAL_975 * stderr);
            let (ci_low, ci_high) = (half.map(|half| value - half), half.map(|half| value + half));
            let found = [Some(value), stderr, ci_low, ci_high].into_iter().flatten().all(f64::is_finite);
            found.then_some(Slope { value, stderr, ci_low, ci_high })
        })
        .collect()
}

/// A column without its mean, in units of its largest deviation; zeros where that is no more than rounding.
#[derive(Clone)]
struct Column {
    values: Vec<f64>,
    /// The unit, as a number of the caller's.
    scale: f64,
    /// The length that rounding alone can give `values`.
    noise: f64,
}

impl Column {
    fn centred(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let without_mean = |values: &[f64]| -> Vec<f64> {
            let mean = values.iter().map(|value| value / count).sum::<f64>();
            values.iter().map(|value| value - mean).collect()
        };
        let largest = |values: &[f64]| values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        // The second pass takes out the rounding of the first mean, which is large beside a small spread.
        let centred = without_mean(&without_mean(values));
        let scale = largest(&centred);
        let rounding = ROUNDINGS * f64::EPSILON * largest(values);
        if scale <= rounding {
            return Self { values: vec![0.0; values.len()], scale: 1.0, noise: 0.0 };
        }
        let values = centred.into_iter().map(|value| value / scale).collect();
        Self { values, scale, noise: rounding / scale * count.sqrt() }
    }

    fn subtract(&mut self, factor: f64, other: &Self) {
        self.values.iter_mut().zip(&other.values).for_each(|(value, other)| *value -= factor * other);
        self.noise += factor.abs() * other.noise;
    }
}

/// What is left of the column numbered `own` at right angles to all others; null if that is no more than rounding, or
/// if the others depend on each other.
fn remainder(columns: &[Column], own: usize) -> Option<Column> {
    let others = columns.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, column)| column);
    let mut basis: Vec<Column> = Vec::new();
    for column in others.chain([&columns[own]]) {
        let mut left = column.clone();
        // The second pass takes out what the rounding of the first left behind.
        for _ in 0..2 {
            for direction in &basis {
                left.subtract(dot(&left, direction) / dot(direction, direction), direction);
            }
        }
        if dot(&left, &left).sqrt() <= left.noise {
            return None;
        }
        basis.push(left);
    }
    basis.pop()
}

fn dot(a: &Column, b: &Column) -> f64 {
    a.values.iter().zip(&b.values).map(|(a, b)| a * b).sum()
}

/// The names as numbers from 0 in order of first appearance, and how many there are.
fn numbered(names: &[&str]) -> (Vec<usize>, usize) {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut number_of = |name| {
        let next = numbers.len();
        *numbers.entry(name).or_insert(next)
    };
    let rows = names.iter().map(|name| number_of(*name)).collect();
    (rows, numbers.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const Y: [f64; 12] = [4.0, 5.0, 5.0, 7.0, 6.0, 8.0, 9.0, 7.0, 10.0, 8.0, 3.0, 6.0];
    const X: [f64; 12] = [1.0, 1.0, 2.0, 3.0, 3.0, 4.0, 5.0, 5.0, 6.0, 6.0, 0.5, 2.5];
    const Q: [f64; 12] = [2.0, 4.0, 3.0, 5.0, 2.0, 6.0, 7.0, 1.0, 8.0, 3.0, 1.0, 4.0];
    /// Of four, three, three, one and one row.
    const CLUSTERS: [&str; 12] = ["a", "a", "a", "a", "b", "b", "b", "c", "c", "c", "d", "e"];

    fn near(actual: f64, expected: f64) {
        assert!((actual - expected).abs() <= 1e-9 * expected.abs(), "{actual} is not {expected}");
    }

    /// Value, standard error, lower and upper end of every slope.
    fn matches(found: Option<Vec<Slope>>, expected: &[[f64; 4]]) {
        let found = found.expect("the design is regular");
        assert_eq!(found.len(), expected.len());
        for (slope, [value, stderr, low, high]) in found.iter().zip(expected) {
            near(slope.value, *value);
            near(slope.stderr.expect("there are clusters"), *stderr);
            near(slope.ci_low.expect("there are clusters"), *low);
            near(slope.ci_high.expect("there are clusters"), *high);
        }
    }

    // Expected numbers here and below: statsmodels 0.15.0,
    // OLS(y, add_constant(x)).fit(cov_type="cluster", cov_kwds={"groups": clusters}).
    const BOTH: [[f64; 4]; 2] = [
        [0.766_731_880_431_320_6, 0.028_794_833_208_147_44, 0.710_295_044_402_513_7, 0.823_168_716_460_127_5],
        [0.374_539_332_999_681_73, 0.030_323_124_972_819_398, 0.315_107_100_154_248_6, 0.433_971_565_845_114_87],
    ];

    #[test]
    fn slopes_match_the_reference_in_clusters_of_unequal_size() {
        let one = [0.982_035_928_143_712_4, 0.125_517_488_664_153_71, 0.736_026_170_932_056_7, 1.228_045_685_355_368_3];
        matches(least_squares(&Y, &[&X], &CLUSTERS), &[one]);
        matches(least_squares(&Y, &[&X, &Q], &CLUSTERS), &BOTH);
        matches(least_squares(&Y, &[&Q, &X], &CLUSTERS), &[BOTH[1], BOTH[0]]);
    }

    #[test]
    fn slopes_match_the_reference_with_two_clusters_and_with_one_per_row() {
        let two = ["a", "a", "a", "a", "a", "a", "a", "b", "b", "b", "b", "b"];
        let halves =
            [0.982_035_928_143_712_4, 0.061_035_417_568_939_48, 0.862_408_707_927_227_8, 1.101_663_148_360_197];
        matches(least_squares(&Y, &[&X], &two), &[halves]);
        let rows = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];
        let expected = [
            [0.766_731_880_431_320_6, 0.049_183_129_506_278_5, 0.670_334_717_952_045_5, 0.863_129_042_910_595_7],
            [0.374_539_332_999_681_73, 0.039_092_140_009_488_09, 0.297_920_146_502_487_77, 0.451_158_519_476_875_7],
        ];
        matches(least_squares(&Y, &[&X, &Q], &rows), &expected);
    }

    // 400 rows in 20 clusters of 1, 3, 5, ... 39 rows; the second regressor is far from zero.
    #[test]
    fn slopes_match_the_reference_on_a_larger_table() {
        let number = |row: usize, step: usize, period: usize| (row * step % period) as f64;
        let x: Vec<f64> = (0..400).map(|row| number(row, 37, 101) / 10.0).collect();
        let z: Vec<f64> = (0..400).map(|row| 1000.0 + number(row, 53, 89).powi(2) / 7.0).collect();
        let y: Vec<f64> = (0..400_usize)
            .map(|row| {
                let shared = (row.isqrt() % 5) as f64;
                2.0 - 0.3 * number(row, 37, 101) / 10.0
                    + 0.01 * number(row, 53, 89)
                    + number(row, row, 13) / 3.0
                    + shared
            })
            .collect();
        let clusters: Vec<String> = (0..400_usize).map(|row| row.isqrt().to_string()).collect();
        let clusters: Vec<&str> = clusters.iter().map(String::as_str).collect();
        let expected = [
            [-0.289_432_584_521_091_55, 0.028_806_570_516_290_986, -0.345_892_425_251_135_3, -0.232_972_743_791_047_83],
            [
                0.000_670_519_707_721_666_8,
                0.000_230_423_167_410_618_08,
                0.000_218_898_598_393_211_86,
                0.001_122_140_817_050_121_8,
            ],
        ];
        matches(least_squares(&y, &[&x, &z], &clusters), &expected);
    }

    // A plain solve of the normal equations loses six digits here.
    #[test]
    fn offsets_and_units_do_not_cost_precision() {
        let far = |values: [f64; 12], scale: f64| values.map(|value| 1e6 + scale * value);
        matches(
            least_squares(&far(Y, 1.0), &[&far(X, 1.0), &far(Q, 8.0)], &CLUSTERS),
            &[BOTH[0], BOTH[1].map(|number| number / 8.0)],
        );
        let tiny = Q.map(|value| 1e-200 * value);
        matches(least_squares(&Y, &[&X, &tiny], &CLUSTERS), &[BOTH[0], BOTH[1].map(|number| number * 1e200)]);
    }

    #[test]
    fn one_cluster_has_slopes_but_no_interval() {
        let found = least_squares(&Y, &[&X], &["a"; 12]).expect("the design is regular");
        near(found[0].value, 0.982_035_928_143_712_4);
        assert_eq!((found[0].stderr, found[0].ci_low, found[0].ci_high), (None, None, None));
    }

    #[test]
    fn a_constant_response_has_no_slope() {
        let found = least_squares(&[0.1; 12], &[&X, &Q], &CLUSTERS).expect("the design is regular");
        for slope in found {
            assert_eq!(slope, Slope { value: 0.0, stderr: Some(0.0), ci_low: Some(0.0), ci_high: Some(0.0) });
        }
    }

    #[test]
    fn singular_designs_have_no_slopes() {
        assert_eq!(least_squares(&Y, &[&[0.1; 12]], &CLUSTERS), None);
        assert_eq!(least_squares(&Y, &[&X, &[0.0; 12]], &CLUSTERS), None);
        assert_eq!(least_squares(&Y, &[&X, &X], &CLUSTERS), None);
        // Collinear up to rounding, which the large offset makes coarse.
        let line = X.map(|value| 1e9 - 0.3 * value);
        assert_eq!(least_squares(&Y, &[&X, &line], &CLUSTERS), None);
        assert_eq!(least_squares(&Y, &[&line, &X], &CLUSTERS), None);
    }

    #[test]
    fn too_few_rows_and_numbers_that_are_not_finite_have_no_slopes() {
        assert_eq!(least_squares(&[], &[&[]], &[]), None);
        assert_eq!(least_squares(&Y[..2], &[&[1.0, 2.0]], &CLUSTERS[..2]), None);
        assert_eq!(least_squares(&Y[1..4], &[&X[1..4], &Q[1..4]], &CLUSTERS[1..4]), None);
        assert!(least_squares(&Y[1..4], &[&X[1..4]], &CLUSTERS[1..4]).is_some());
        for bad in [f64::NAN, f64::INFINITY] {
            let mut broken = Y;
            broken[5] = bad;
            assert_eq!(least_squares(&broken, &[&X], &CLUSTERS), None);
            assert_eq!(least_squares(&Y, &[&X, &broken], &CLUSTERS), None);
        }
        assert_eq!(least_squares(&Y, &[&X[1..]], &CLUSTERS), None);
    }

    proptest! {
        #[test]
        fn a_perfect_plane_is_found(
            rows in prop::collection::vec((-50.0..50.0, -50.0..50.0, "[a-d]"), 6..40),
            intercept in -1e4..1e4,
            (first, second) in (-9.0..9.0_f64, -9.0..9.0_f64),
        ) {
            // Three rows that keep the design far from singular.
            let corners = [(50.0, 0.0, "a".to_owned()), (0.0, 50.0, "b".to_owned()), (-50.0, -50.0, "c".to_owned())];
            let rows: Vec<(f64, f64, String)> = rows.into_iter().chain(corners).collect();
            let x: Vec<f64> = rows.iter().map(|row| row.0).collect();
            let z: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let y: Vec<f64> = rows.iter().map(|row| intercept + first * row.0 + second * row.1).collect();
            let clusters: Vec<&str> = rows.iter().map(|row| row.2.as_str()).collect();
            let found = least_squares(&y, &[&x, &z], &clusters).expect("the design is regular");
            for (slope, expected) in found.iter().zip([first, second]) {
                prop_assert!((slope.value - expected).abs() < 1e-9, "{:?} is not {}", slope, expected);
                prop_assert!(slope.stderr.is_some_and(|stderr| stderr < 1e-9), "{:?}", slope);
            }
        }

        #[test]
        fn the_order_of_rows_does_not_matter(
            (rows, shuffled) in prop::collection::vec((-5.0..5.0, -50.0..50.0, 0.0..10.0, "[a-d]"), 8..40)
                .prop_flat_map(|rows: Vec<(f64, f64, f64, String)>| (Just(rows.clone()), Just(rows).prop_shuffle())),
        ) {
            let fit = |rows: &[(f64, f64, f64, String)]| {
                let x: Vec<f64> = rows.iter().map(|row| row.0).collect();
                let z: Vec<f64> = rows.iter().map(|row| row.1).collect();
                let y: Vec<f64> = rows.iter().map(|row| row.2).collect();
                let clusters: Vec<&str> = rows.iter().map(|row| row.3.as_str()).collect();
                least_squares(&y, &[&x, &z], &clusters).expect("random columns are not collinear")
            };
            for (one, other) in fit(&rows).iter().zip(fit(&shuffled)) {
                let (error, size) = (one.stderr.unwrap_or(1.0), one.value.abs().max(1.0));
                prop_assert!((one.value - other.value).abs() < 1e-9 * size, "{:?} {:?}", one, other);
                prop_assert!((error - other.stderr.unwrap_or(1.0)).abs() < 1e-9 * size, "{:?} {:?}", one, other);
            }
        }
    }
}
