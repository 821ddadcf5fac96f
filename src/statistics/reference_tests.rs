//! Every statistic against `SciPy`, statsmodels, scikit-learn, pingouin and krippendorff, on random tables with ties, nulls,
//! constants, large offsets and few rows; recorded by `export/record_statistics.py`.

use super::bootstrap::{Group, intervals};
use super::kappa::weighted_kappa;
use super::regression::least_squares;
use super::sums::{Alpha, PartialPearson, Pearson, Sums, total};
use super::*;

type Column = Vec<Option<f64>>;

#[derive(Deserialize)]
struct Recording {
    tables: Vec<Table>,
    intervals: Vec<Resampled>,
}

#[derive(Deserialize)]
struct Table {
    name: String,
    columns: Vec<Column>,
    tasks: Vec<String>,
    n: usize,
    pearson: Option<f64>,
    spearman: Option<f64>,
    kendall: Option<f64>,
    partial: Option<f64>,
    alpha: Option<f64>,
    kappa: Option<f64>,
    mean: Vec<[Option<f64>; 3]>,
    spread: Vec<[Option<f64>; 5]>,
    slopes: Option<Vec<[f64; 2]>>,
}

#[derive(Deserialize)]
struct Resampled {
    table: String,
    pearson: [f64; 2],
    partial: [f64; 2],
    alpha: [f64; 2],
}

fn recording() -> Recording {
    serde_json::from_str(include_str!("../../tests/expected/statistics.json")).expect("the recording is readable")
}

impl Table {
    fn tasks(&self) -> Vec<&str> {
        self.tasks.iter().map(String::as_str).collect()
    }

    /// Of a number on the scale from -1 to 1.
    fn same(&self, what: &str, found: Option<f64>, expected: Option<f64>) {
        self.same_on(1.0, what, found, expected);
    }

    /// Equal within 1e-9 of the expected number's size or of the scale of its column, or both not defined.
    fn same_on(&self, scale: f64, what: &str, found: Option<f64>, expected: Option<f64>) {
        let near = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() <= 1e-9 * expected.abs().max(scale),
            (found, expected) => found == expected,
        };
        assert!(near, "{what} of `{}`: {found:?} is not {expected:?}", self.name);
    }
}

#[test]
fn correlations_are_those_of_the_references() {
    let tables = recording().tables;
    assert!(tables.len() >= 25 && tables.iter().filter(|table| table.partial.is_some()).count() >= 15);
    for table in tables {
        let [x, y, z] = &table.columns[..] else { panic!("there are three columns") };
        let found = agreement(x, y);
        assert_eq!(found.n, table.n, "{}", table.name);
        table.same("Pearson's r", found.pearson, table.pearson);
        table.same("Spearman's rho", found.spearman, table.spearman);
        table.same("Kendall's tau", found.kendall, table.kendall);
        let tasks = table.tasks();
        table.same("the partial r", total(&PartialPearson::by_task(&tasks, x, y, z)).value(), table.partial);
        // What is summed by task is the same number, where two rows are enough for sums.
        if table.n > 2 {
            table.same("Pearson's r by sums", total(&Pearson::by_task(&tasks, x, y)).value(), table.pearson);
        }
        table.same("alpha", total(&Alpha::by_task(&tasks, &table.columns)).value(), table.alpha);
        if table.kappa.is_some() {
            table.same("kappa", weighted_kappa(x, y), table.kappa);
        }
    }
}

#[test]
fn means_spreads_and_slopes_are_those_of_the_references() {
    for table in recording().tables {
        for (column, (mean, spread)) in table.columns.iter().zip(table.mean.iter().zip(&table.spread)) {
            let mut values: Vec<f64> = column.iter().flatten().copied().collect();
            let found = Estimate::of_mean(&values);
            // Of a constant, what its rounding may be.
            let scale = spread[0].unwrap_or_default() + 1e-6 * mean[0].unwrap_or_default().abs();
            table.same_on(scale, "the mean", found.value, mean[0]);
            table.same_on(scale, "the lower end", found.ci_low, mean[1]);
            table.same_on(scale, "the upper end", found.ci_high, mean[2]);
            table.same_on(scale, "the standard deviation", standard_deviation(&values), spread[0]);
            table.same_on(scale, "the median", median(&values), spread[1]);
            values.sort_by(f64::total_cmp);
            for (share, expected) in [0.025, 0.3, 0.975].into_iter().zip(&spread[2..]) {
                table.same_on(scale, "a quantile", quantile(&values, share), *expected);
            }
        }
        let Some(expected) = &table.slopes else { continue };
        let complete = |row: &usize| table.columns.iter().all(|column| column[*row].is_some());
        let rows: Vec<usize> = (0..table.tasks.len()).filter(complete).collect();
        let column = |at: usize| rows.iter().filter_map(|row| table.columns[at][*row]).collect::<Vec<_>>();
        let tasks: Vec<&str> = rows.iter().map(|row| table.tasks[*row].as_str()).collect();
        let found = least_squares(&column(0), &[&column(1), &column(2)], &tasks).expect("the reference has slopes");
        for (found, [value, stderr]) in found.iter().zip(expected) {
            table.same_on(1e-3, "a slope", Some(found.value), Some(*value));
            table.same_on(1e-3, "a standard error", found.stderr, Some(*stderr));
        }
    }
}

/// Two thousand resamples leave an end uncertain by about a sixtieth of the interval's width; four of that are allowed.
#[test]
fn intervals_are_those_of_the_reference_within_the_error_of_drawing() {
    let Recording { tables, intervals: expected } = recording();
    assert!(!expected.is_empty());
    for expected in expected {
        let table = tables.iter().find(|table| table.name == expected.table).expect("the table is there");
        let ([x, y, z], tasks) = (&table.columns[..], table.tasks()) else { panic!("there are three columns") };
        let name = "qa";
        let found = [
            intervals(&[Group { name, tasks: Pearson::by_task(&tasks, x, y) }]),
            intervals(&[Group { name, tasks: PartialPearson::by_task(&tasks, x, y, z) }]),
            intervals(&[Group { name, tasks: Alpha::by_task(&tasks, &table.columns) }]),
        ];
        for (found, [low, high]) in found.iter().zip([expected.pearson, expected.partial, expected.alpha]) {
            let (found_low, found_high) = found.groups[0].expect("there are many tasks");
            let allowed = 4.0 / 60.0 * (high - low);
            assert!(
                (found_low - low).abs() < allowed && (found_high - high).abs() < allowed,
                "`{}`: {found_low} to {found_high} is not {low} to {high}",
                table.name
            );
        }
    }
}
