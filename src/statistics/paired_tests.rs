//! Differences computed by hand for `paired.rs`: equal rows, rounding, groups and constants included.

use super::*;

fn ids(records: usize) -> Vec<String> {
    (0..records).map(|i| format!("r{i}")).collect()
}

/// Rows that differ by `shift` and a wobble of period seven around it.
fn pairs(ids: &[String], shift: f64) -> Vec<Pair<'_>> {
    let other = |i: usize| i as f64 + shift + (i % 7) as f64 - 3.0;
    ids.iter().enumerate().map(|(i, record)| Pair { record, baseline: i as f64, other: other(i) }).collect()
}

#[test]
fn pairing_takes_the_difficulty_of_records_out() {
    let ids = ids(70);
    let found = mean_differences(&[("qa", pairs(&ids, 2.0))]).groups[0];
    assert_eq!((found.rows, found.records, found.likeness), (70, 70, Likeness::Different));
    assert!((found.value.expect("a value") - 2.0).abs() < 1e-12);
    let spread = found.spread.expect("seventy records are enough");
    // The wobble has a standard deviation of two, the values one of twenty: 2 / sqrt(70), not 20 / sqrt(35).
    assert!((spread.standard_error - 2.0 / 70.0_f64.sqrt()).abs() < 0.02, "{spread:?}");
    assert!(spread.low > 1.4 && spread.high < 2.6, "{spread:?}");
    assert!(found.p.expect("p") < 1e-9);
}

#[test]
fn a_difference_of_zero_stays_within() {
    let ids = ids(70);
    let found = mean_differences(&[("qa", pairs(&ids, 0.0))]).groups[0];
    let spread = found.spread.expect("an interval");
    assert!(spread.low < 0.0 && spread.high > 0.0 && found.p.expect("p") > 0.9, "{found:?}");
}

#[test]
fn rows_of_a_record_count_once() {
    let ids = ids(70);
    let once = mean_differences(&[("qa", pairs(&ids, 2.0))]).groups[0];
    let rows = pairs(&ids, 2.0);
    let four = mean_differences(&[("qa", rows.iter().flat_map(|row| [*row; 4]).collect())]).groups[0];
    let width = |found: Difference| found.spread.map(|spread| spread.high - spread.low).expect("an interval");
    assert_eq!((four.rows, four.records), (280, 70));
    assert!((width(once) - width(four)).abs() < 1e-9);
}

#[test]
fn groups_weigh_the_same() {
    let (many, few) = (ids(60), ids(20));
    let found = mean_differences(&[("qa", pairs(&many, 0.0)), ("summarization", pairs(&few, 4.0))]);
    let parts: Vec<f64> = found.groups.iter().map(|group| group.value.expect("a value")).collect();
    let mean = found.mean.value.expect("a value");
    assert!((mean - f64::midpoint(parts[0], parts[1])).abs() < 1e-12, "{mean} {parts:?}");
    assert_eq!(found.mean.records, 80);
    let empty = mean_differences(&[("qa", pairs(&many, 0.0)), ("summarization", Vec::new())]);
    assert_eq!((empty.mean.value, empty.mean.spread, empty.mean.p), (None, None, None));
    assert!(empty.groups[0].spread.is_some());
}

#[test]
fn equal_rows_and_few_records_have_no_interval() {
    let many = ids(40);
    let same: Vec<Pair> = many.iter().map(|record| Pair { record, baseline: 0.1, other: 0.1 }).collect();
    let found = mean_differences(&[("qa", same)]).mean;
    assert_eq!((found.likeness, found.value, found.spread), (Likeness::Identical, Some(0.0), None));
    let rounded = |by| Pair { record: "r", baseline: 0.1, other: 0.1 + by };
    let likeness = |by| mean_differences(&[("qa", vec![rounded(0.0), rounded(by)])]).mean.likeness;
    assert_eq!((likeness(1e-7), likeness(1e-4)), (Likeness::Rounding, Likeness::Different));
    let few = ids(9);
    let found = mean_differences(&[("qa", pairs(&few, 5.0))]).mean;
    assert!(found.value.is_some() && found.spread.is_none() && found.p.is_none());
}

#[test]
fn a_constant_difference_is_no_chance() {
    let many = ids(40);
    let rows: Vec<Pair> = many.iter().map(|record| Pair { record, baseline: 1.0, other: 2.0 }).collect();
    let found = mean_differences(&[("qa", rows)]).mean;
    assert_eq!((found.value, found.p), (Some(1.0), Some(0.0)));
    assert_eq!(found.spread.map(|spread| (spread.low, spread.high)), Some((1.0, 1.0)));
}

#[test]
fn correlations_are_compared_on_the_same_resamples() {
    let many = ids(80);
    let point = |i: usize, noise: f64| (i as f64, i as f64 + noise * ((i * 37 % 11) as f64 - 5.0));
    let rows = |noise: f64| -> Vec<Points> {
        many.iter()
            .enumerate()
            .map(|(i, record)| Points { record, baseline: point(i, 1.0), other: point(i, noise) })
            .collect()
    };
    let worse = pearson_differences(&[("qa", rows(10.0))]).groups[0];
    let (baseline, other) = worse.baseline.zip(worse.other).expect("both are defined");
    assert!(baseline > other && worse.value == Some(other - baseline));
    assert!(worse.spread.expect("an interval").high < 0.0 && worse.p.expect("p") < 0.01, "{worse:?}");
    let same = pearson_differences(&[("qa", rows(1.0))]).mean;
    assert!(same.likeness == Likeness::Identical && same.value == Some(0.0) && same.spread.is_none());
}

#[test]
fn another_scale_is_no_movement_of_a_correlation() {
    let many = ids(40);
    let rows = many.iter().enumerate().map(|(i, record)| {
        let (x, y) = (0.1 * i as f64, ((i * 37) % 11) as f64 / 3.0);
        Points { record, baseline: (x, y), other: (0.7 * x + 1.1, y) }
    });
    let found = pearson_differences(&[("qa", rows.collect())]);
    for found in [found.mean, found.groups[0]] {
        assert_eq!((found.likeness, found.spread, found.p), (Likeness::Rounding, None, None));
    }
}

#[test]
fn a_constant_column_has_no_correlation_to_compare() {
    let many = ids(40);
    let rows = many.iter().enumerate().map(|(i, record)| Points {
        record,
        baseline: (i as f64, i as f64),
        other: (0.5, i as f64),
    });
    let found = pearson_differences(&[("qa", rows.collect())]).mean;
    assert_eq!((found.other, found.value, found.spread), (None, None, None));
}
