//! Differences between two runs on the same rows. What makes a record hard is the same in both, so a difference is resampled as
//! one quantity, record by record, by the routine that gives correlations their intervals ([`super::bootstrap`]).
//!
//! An interval is the percentile interval. The p beside it is Student's t of the difference over the bootstrap's standard
//! error with records minus groups degrees of freedom: the resamples alone cannot tell probabilities below one in their number,
//! which a correction for many comparisons needs.

use super::bootstrap::{Group, Spread, spreads};
use super::significance::two_sided_p;
use super::sums::{Pearson, Sums};
use super::{agreement, mean};
use std::collections::BTreeMap;

/// A pair of finite values of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair<'a> {
    /// The record that the row is about.
    pub record: &'a str,
    /// In the first run.
    pub baseline: f64,
    /// In the second.
    pub other: f64,
}

/// A pair of points of one row, each finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Points<'a> {
    /// The record that the row is about.
    pub record: &'a str,
    /// (x, y) in the first run.
    pub baseline: (f64, f64),
    /// (x, y) in the second.
    pub other: (f64, f64),
}

/// A statistic in two runs. Every number is in the unit of the statistic but `p` and the counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Difference {
    /// In the first run; null where it is not defined.
    pub baseline: Option<f64>,
    /// In the second.
    pub other: Option<f64>,
    /// Second minus first; null where either is.
    pub value: Option<f64>,
    /// 95 % interval and standard error of `value`; null for fewer than ten records, and where the statistic is not defined in 95 %
    /// of the resamples.
    pub spread: Option<Spread>,
    /// Probability of a difference this large if there were none; null where `spread` is.
    pub p: Option<f64>,
    /// Rows compared.
    pub rows: usize,
    /// Records that they are about.
    pub records: usize,
    /// How alike the rows are.
    pub likeness: Likeness,
}

/// How alike two runs are in every row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// The same bits.
    #[default]
    Identical,
    /// The same but for the rounding of single precision: batches of another shape add up in another order.
    Rounding,
    /// Not the same.
    Different,
}

/// Difference, relative to a value or to one, that the rounding of single precision may make.
const ROUNDING: f64 = 1e-5;

impl Likeness {
    fn of(baseline: f64, other: f64) -> Self {
        if baseline.to_bits() == other.to_bits() {
            Self::Identical
        } else if (baseline - other).abs() <= ROUNDING * baseline.abs().max(1.0) {
            Self::Rounding
        } else {
            Self::Different
        }
    }
}

/// Differences per group, and of the unweighted mean over groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Differences {
    /// One per group, in order.
    pub groups: Vec<Difference>,
    /// Of the mean over groups; null values unless every group has them.
    pub mean: Difference,
}

/// One record's share of a mean difference.
#[derive(Debug, Clone, Copy, Default)]
struct Shift {
    n: f64,
    sum: f64,
}

impl Sums for Shift {
    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
    }

    fn value(&self) -> Option<f64> {
        (self.n > 0.0).then(|| self.sum / self.n)
    }
}

/// One record's share of two correlations.
#[derive(Debug, Clone, Copy, Default)]
struct TwoSums {
    baseline: Pearson,
    other: Pearson,
}

impl Sums for TwoSums {
    fn add(&mut self, other: &Self) {
        self.baseline.add(&other.baseline);
        self.other.add(&other.other);
    }

    fn value(&self) -> Option<f64> {
        Some(self.other.value()? - self.baseline.value()?)
    }
}

/// Differences of means over rows. A group is its name and its rows.
#[must_use]
pub fn mean_differences(groups: &[(&str, Vec<Pair>)]) -> Differences {
    let found = groups.iter().map(|(_, rows)| Difference {
        baseline: mean(rows.iter().map(|row| row.baseline)),
        other: mean(rows.iter().map(|row| row.other)),
        rows: rows.len(),
        likeness: rows.iter().map(|row| Likeness::of(row.baseline, row.other)).max().unwrap_or_default(),
        ..Difference::default()
    });
    let sums: Vec<_> = groups.iter().map(|(name, rows)| Group { name, tasks: shifts(rows) }).collect();
    finish(found.collect(), &sums, false)
}

fn shifts(rows: &[Pair]) -> Vec<Shift> {
    let mut by_record: BTreeMap<&str, Shift> = BTreeMap::new();
    for row in rows {
        by_record.entry(row.record).or_default().add(&Shift { n: 1.0, sum: row.other - row.baseline });
    }
    by_record.into_values().collect()
}

/// Differences of Pearson's r over rows.
#[must_use]
pub fn pearson_differences(groups: &[(&str, Vec<Points>)]) -> Differences {
    let found = groups.iter().map(|(_, rows)| {
        let column = |read: fn(&Points) -> f64| rows.iter().map(|row| Some(read(row))).collect::<Vec<_>>();
        let likeness =
            |row: &Points| Likeness::of(row.baseline.0, row.other.0).max(Likeness::of(row.baseline.1, row.other.1));
        Difference {
            baseline: agreement(&column(|row| row.baseline.0), &column(|row| row.baseline.1)).pearson,
            other: agreement(&column(|row| row.other.0), &column(|row| row.other.1)).pearson,
            rows: rows.len(),
            likeness: rows.iter().map(likeness).max().unwrap_or_default(),
            ..Difference::default()
        }
    });
    let sums: Vec<_> = groups.iter().map(|(name, rows)| Group { name, tasks: two_sums(rows) }).collect();
    finish(found.collect(), &sums, true)
}

fn two_sums(rows: &[Points]) -> Vec<TwoSums> {
    let records: Vec<&str> = rows.iter().map(|row| row.record).collect();
    let sums = |read: fn(&Points) -> (f64, f64)| {
        let (x, y): (Vec<_>, Vec<_>) = rows.iter().map(read).map(|(x, y)| (Some(x), Some(y))).unzip();
        Pearson::by_task(&records, &x, &y)
    };
    // The rows are the same, so both lists hold the same records, in the same order.
    let pairs = sums(|row| row.baseline).into_iter().zip(sums(|row| row.other));
    pairs.map(|(baseline, other)| TwoSums { baseline, other }).collect()
}

/// Fills in differences, intervals and the mean over groups. Rows that are all the same, or differ by rounding alone, need no
/// resampling: there is nothing to be unsure of.
fn finish<S: Sums>(mut groups: Vec<Difference>, sums: &[Group<S>], scale_free: bool) -> Differences {
    for (group, sums) in groups.iter_mut().zip(sums) {
        group.records = sums.tasks.len();
        group.value = group.other.zip(group.baseline).map(|(other, baseline)| other - baseline);
    }
    let average = |read: fn(&Difference) -> Option<f64>| {
        groups.iter().map(read).collect::<Option<Vec<f64>>>().and_then(|values| mean(&values))
    };
    let mut over_groups = Difference {
        baseline: average(|group| group.baseline),
        other: average(|group| group.other),
        value: average(|group| group.value),
        rows: groups.iter().map(|group| group.rows).sum(),
        records: groups.iter().map(|group| group.records).sum(),
        likeness: groups.iter().map(|group| group.likeness).max().unwrap_or_default(),
        ..Difference::default()
    };
    if over_groups.likeness == Likeness::Different {
        let found = spreads(sums);
        for (group, spread) in groups.iter_mut().zip(found.groups) {
            group.set_spread(spread, 1, scale_free);
        }
        over_groups.set_spread(found.mean, sums.len(), scale_free);
    }
    Differences { groups, mean: over_groups }
}

impl Difference {
    fn set_spread(&mut self, spread: Option<Spread>, groups: usize, scale_free: bool) {
        let (Some(value), Some(spread), Likeness::Different) = (self.value, spread, self.likeness) else { return };
        // Rows on another scale, of which a correlation knows nothing, still leave it with the rounding of its sums.
        let largest = spread.low.abs().max(spread.high.abs());
        if scale_free && largest <= ROUNDING * self.baseline.unwrap_or_default().abs().max(1.0) {
            self.likeness = Likeness::Rounding;
            return;
        }
        self.spread = Some(spread);
        let degrees = self.records.saturating_sub(groups) as f64;
        // The bootstrap's error divides by n, the t distribution's by n - 1.
        let error = spread.standard_error * (self.records as f64 / degrees).sqrt();
        // Without any spread the difference is the same in every record: no difference, or one that cannot be chance.
        self.p = if value == 0.0 { Some(1.0) } else { two_sided_p(value / error, degrees) };
    }
}

#[cfg(test)]
#[path = "paired_tests.rs"]
mod tests;
