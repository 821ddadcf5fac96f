//! Hand-computed values for `mod.rs`:
//! ties, constants, gaps and too few pairs included.

use super::*;

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

fn close(actual: Option<f64>, expected: f64) {
    let actual = actual.expect("there is a value");
    assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
}

#[test]
fn pearson_matches_values_computed_by_hand() {
    // Deviations (-1.5, -.5, .5, 1.5) and (-1.5, .5, -.5, 1.5): 4 / 5.
    close(pearson(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]), 0.8);
    close(pearson(&[1.0, 2.0, 3.0], &[6.0, 4.0, 2.0]), -1.0);
    // Ties. Deviations (-1, -1, 0, 2) and (-1, 1, 0, 0): 0 / anything.
    close(pearson(&[1.0, 1.0, 2.0, 4.0], &[0.0, 2.0, 1.0, 1.0]), 0.0);
    // Ties. Deviations (-.5, -.5, .5, .5) and (-1, 0, 0, 1): 1 / sqrt(1 * 2).
    close(pearson(&[0.0, 0.0, 1.0, 1.0], &[1.0, 2.0, 2.0, 3.0]), 1.0 / 2.0_f64.sqrt());
}

#[test]
fn pearson_is_unmoved_by_a_large_offset() {
    close(pearson(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0, 1e9 + 4.0], &[1.0, 3.0, 2.0, 4.0]), 0.8);
}

#[test]
fn pearson_is_undefined_for_few_pairs_and_constants() {
    assert_eq!(pearson(&[], &[]), None);
    assert_eq!(pearson(&[1.0, 2.0], &[1.0, 2.0]), None);
    assert_eq!(pearson(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]), None);
    assert_eq!(pearson(&[1.0, 2.0, 3.0], &[0.3, 0.3, 0.3]), None);
    assert_eq!(pearson(&[1.0, 2.0, 3.0], &[1.0, 2.0]), None);
}

#[test]
fn incomplete_pairs_are_skipped_and_counted() {
    let x = [Some(1.0), None, Some(2.0), Some(3.0), Some(f64::NAN), Some(4.0)];
    let y = [Some(1.0), Some(9.0), Some(3.0), Some(2.0), Some(9.0), Some(4.0)];
    let found = agreement(&x, &y);
    assert_eq!(found.n, 4);
    close(found.pearson, 0.8);
    assert_eq!(agreement(&x[..3], &y[..3]), Agreement { pearson: None, spearman: None, kendall: None, n: 2 });
}

#[test]
fn spearman_sees_order_alone_and_averages_tied_ranks() {
    close(agreement(&some(&[1.0, 2.0, 3.0, 4.0]), &some(&[1.0, 10.0, 100.0, 1e6])).spearman, 1.0);
    // Ranks (1.5, 1.5, 3.5, 3.5) and (1, 2.5, 2.5, 4): 3 / sqrt(4 * 4.5).
    let tied = agreement(&some(&[0.0, 0.0, 7.0, 7.0]), &some(&[1.0, 2.0, 2.0, 9.0]));
    close(tied.spearman, 3.0 / 18.0_f64.sqrt());
}

#[test]
fn fisher_z_averages_on_the_z_scale() {
    // atanh .5 = .5493061, atanh -.2 = -.2027326, mean .1732868.
    close(fisher_z_mean(&[0.5, -0.2]), 0.173_286_795_139_986_34_f64.tanh());
    close(fisher_z_mean(&[0.7]), 0.7);
    assert_eq!(fisher_z_mean(&[]), None);
    assert_eq!(fisher_z_mean(&[1.0, -1.0]), None);
}

#[test]
fn a_median_of_an_even_number_is_between_two() {
    assert_eq!((median(&[]), median(&[3.0]), median(&[9.0, 1.0, 2.0])), (None, Some(3.0), Some(2.0)));
    assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
}

#[test]
fn a_quantile_lies_on_the_line_between_neighbours() {
    close(quantile(&[0.0, 10.0], 0.25), 2.5);
    close(quantile(&[1.0, 2.0, 7.0], 0.5), 2.0);
    assert_eq!((quantile(&[3.0], 0.9), quantile(&[1.0, 4.0], 1.0), quantile(&[], 0.5)), (Some(3.0), Some(4.0), None));
}

#[test]
fn t_quantiles_are_those_of_the_printed_tables() {
    let table = [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (5, 2.5706), (19, 2.0930), (20, 2.0860)];
    for (degrees, t) in table {
        let found = student_t_975(degrees).expect("has degrees of freedom");
        assert!((found - t).abs() < 5e-5, "{degrees}: {found} is not {t}");
    }
    // One and two degrees have closed forms: tan(0.475 pi) and 0.95 sqrt(2 / (1 - 0.95^2)).
    close(student_t_975(1), (0.475 * std::f64::consts::PI).tan());
    close(student_t_975(2), 0.95 * (2.0_f64 / (1.0 - 0.95 * 0.95)).sqrt());
    close(student_t_975(9_999), 1.960_201_263_619);
    close(student_t_975(10_000), 1.960_201_239_888);
    close(student_t_975(100_000), 1.959_987_707_535);
    close(student_t_975(1_000_000_000), 1.959_963_987);
    assert_eq!(student_t_975(0), None);
}

#[test]
fn a_mean_has_a_student_interval() {
    // sd 1, n 4, t(3) = 3.182446: half-width 1.591223 for (-1, -1, 1, 1) / sd 1.154701.
    let estimate = Estimate::of_mean(&[9.0, 9.0, 11.0, 11.0]);
    close(estimate.value, 10.0);
    let half = estimate.half_width().expect("four values have a spread");
    assert!((half - 3.182_446 * 1.154_700_538 / 2.0).abs() < 1e-5, "{half}");
    let twenty: Vec<f64> = (0..20).map(f64::from).collect();
    let half = Estimate::of_mean(&twenty).half_width().expect("twenty values have a spread");
    assert!((half - 2.093_024 * 35.0_f64.sqrt() / 20.0_f64.sqrt()).abs() < 1e-5, "{half}");
}

#[test]
fn a_mean_of_nothing_or_one_is_not_given_an_interval() {
    assert_eq!(Estimate::of_mean(&[]), Estimate::default());
    assert_eq!(Estimate::of_mean(&[2.0]), Estimate { value: Some(2.0), ci_low: None, ci_high: None, n: 1 });
}

#[test]
fn an_average_needs_every_part() {
    let part = |value: f64, half: f64| Estimate {
        value: Some(value),
        ci_low: Some(value - half),
        ci_high: Some(value + half),
        n: 5,
    };
    let both = Estimate::average(&[part(2.0, 0.3), part(4.0, 0.4)]);
    close(both.value, 3.0);
    close(both.half_width(), 0.25);
    assert_eq!(both.n, 10);
    assert_eq!(Estimate::average(&[part(2.0, 0.3), Estimate::default()]).value, None);
    assert_eq!(Estimate::average(&[]), Estimate::default());
}
