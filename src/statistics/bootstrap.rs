//! Intervals by resampling tasks, not rows: the answers of all models to one prompt share its reference, so rows are not
//! independent and the usual interval (Fisher's, of a correlation) is too narrow. Called by the report and the quality signals for
//! correlations, and by [`super::paired`] for differences between two runs.

use super::{quantile, standard_deviation};
use crate::digest::sha256_fields;
use rand_core::Rng;
use rand_pcg::Pcg64;
use std::collections::BTreeMap;

/// Resamples per interval: the ends move by about a hundredth of the interval's width between seeds.
const RESAMPLES: usize = 2000;
/// Fixed, so that the report of a run is the same every time.
const SEED: u128 = 42;
/// Fewer tasks than this are too few to resample.
pub const FEWEST_TASKS: usize = 10;
/// Share of resamples in which r must be defined for the interval to be given.
const DEFINED: f64 = 0.95;

/// What one task adds to a statistic: sums, which add up to those of any resample.
pub trait Additive: Copy + Default {
    /// Adds what another task adds.
    fn add(&mut self, other: &Self);
}

/// Sums of one task's pairs, for Pearson's r.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Additive for Sums {
    fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.x += other.x;
        self.y += other.y;
        self.xx += other.xx;
        self.yy += other.yy;
        self.xy += other.xy;
    }
}

impl Sums {
    /// Pearson's r of all pairs; null for a constant column.
    #[must_use]
    pub fn pearson(&self) -> Option<f64> {
        let x = self.xx - self.x * self.x / self.n;
        let y = self.yy - self.y * self.y / self.n;
        let xy = self.xy - self.x * self.y / self.n;
        // Below this a spread is the rounding error of a constant column.
        let constant = x <= 1e-12 * self.xx || y <= 1e-12 * self.yy;
        (!constant).then(|| (xy / (x * y).sqrt()).clamp(-1.0, 1.0)).filter(|r| r.is_finite())
    }
}

/// Sums per task of the complete pairs of `x` and `y`, sorted by task; `tasks` names the task of each row. The order of the
/// rows changes no digit, so that a correlation has one interval whoever asks for it.
#[must_use]
pub fn sums_by_task(tasks: &[&str], x: &[Option<f64>], y: &[Option<f64>]) -> Vec<Sums> {
    let mut rows: Vec<(&str, f64, f64)> = tasks
        .iter()
        .zip(x.iter().zip(y))
        .filter_map(|(task, (x, y))| Some((*task, super::finite(*x)?, super::finite(*y)?)))
        .collect();
    rows.sort_unstable_by(|a, b| a.0.cmp(b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)));
    // Centred first, so that the squares do not drown the spread.
    let count = rows.len() as f64;
    let centre_x = rows.iter().map(|row| row.1).sum::<f64>() / count;
    let centre_y = rows.iter().map(|row| row.2).sum::<f64>() / count;
    let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
    for (task, x, y) in rows {
        let (x, y) = (x - centre_x, y - centre_y);
        sums.entry(task).or_default().add(&Sums { n: 1.0, x, y, xx: x * x, yy: y * y, xy: x * y });
    }
    sums.into_values().collect()
}

/// The tasks of one type.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a, S = Sums> {
    /// Name of the type; every name has random numbers of its own.
    pub name: &'a str,
    /// Sums of each task.
    pub tasks: Vec<S>,
}

/// How far a statistic spreads over the resamples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
    /// Standard deviation: the standard error of the statistic.
    pub standard_error: f64,
}

/// Spreads of a statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct Spreads {
    /// One per group, in order; null for fewer than ten tasks, and where the statistic is not defined in 95 % of the resamples.
    pub groups: Vec<Option<Spread>>,
    /// Of the unweighted mean over the groups; null where a group has fewer than ten tasks, and where the statistic is not
    /// defined in all groups at once in 95 % of the resamples.
    pub mean: Option<Spread>,
}

/// 95 % percentile intervals of Pearson's r.
#[derive(Debug, Clone, PartialEq)]
pub struct Intervals {
    /// One per group, in order; null for fewer than ten tasks, and where r is not defined in 95 % of the resamples.
    pub groups: Vec<Option<(f64, f64)>>,
    /// Of the unweighted mean over the groups; null where a group has fewer than ten tasks, and where r is not defined in
    /// all groups at once in 95 % of the resamples.
    pub mean: Option<(f64, f64)>,
}

/// Intervals of Pearson's r: the ends of its [`spreads`].
#[must_use]
pub fn pearson_intervals(groups: &[Group]) -> Intervals {
    let ends = |spread: Option<Spread>| spread.map(|spread| (spread.low, spread.high));
    let Spreads { groups, mean } = spreads(groups, Sums::pearson);
    Intervals { groups: groups.into_iter().map(ends).collect(), mean: ends(mean) }
}

/// Resamples the tasks of every group with replacement. What is drawn depends on the group's name and number of tasks alone,
/// not on the company it is in. `statistic` says what the sums of a resample amount to; null where it is not defined.
#[must_use]
pub fn spreads<S: Additive>(groups: &[Group<S>], statistic: impl Fn(&S) -> Option<f64>) -> Spreads {
    let drawn: Vec<Option<Vec<Option<f64>>>> =
        groups.iter().map(|group| resample(&group.tasks, stream(group.name), &statistic)).collect();
    let means = drawn.iter().cloned().collect::<Option<Vec<_>>>().filter(|groups| !groups.is_empty()).map(|groups| {
        let mean_of = |i: usize| groups.iter().map(|r| r[i]).sum::<Option<f64>>().map(|sum| sum / groups.len() as f64);
        (0..RESAMPLES).map(mean_of).collect()
    });
    Spreads { groups: drawn.into_iter().map(|r| r.and_then(spread)).collect(), mean: means.and_then(spread) }
}

/// The random stream of a group.
fn stream(name: &str) -> u128 {
    let hash = sha256_fields([name.as_bytes()]);
    u128::from_le_bytes(std::array::from_fn(|place| hash[place]))
}

fn resample<S: Additive>(
    tasks: &[S],
    stream: u128,
    statistic: &impl Fn(&S) -> Option<f64>,
) -> Option<Vec<Option<f64>>> {
    if tasks.len() < FEWEST_TASKS {
        return None;
    }
    let mut random = Pcg64::new(SEED, stream);
    let mut draw = || {
        let mut total = S::default();
        for _ in 0..tasks.len() {
            let index = (u128::from(random.next_u64()) * tasks.len() as u128) >> 64;
            total.add(&tasks[index as usize]);
        }
        statistic(&total)
    };
    Some((0..RESAMPLES).map(|_| draw()).collect())
}

fn spread(values: Vec<Option<f64>>) -> Option<Spread> {
    let drawn = values.len() as f64;
    let mut defined: Vec<f64> = values.into_iter().flatten().collect();
    if (defined.len() as f64) < DEFINED * drawn {
        return None;
    }
    defined.sort_by(f64::total_cmp);
    Some(Spread {
        low: quantile(&defined, 0.025)?,
        high: quantile(&defined, 0.975)?,
        standard_error: standard_deviation(&defined)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(tasks: usize, rows_per_task: usize) -> Group<'static> {
        let names: Vec<String> = (0..tasks * rows_per_task).map(|row| format!("t{}", row / rows_per_task)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // A repeated task adds rows but no information: y follows x with a wobble of period seven.
        let value = |row: usize| (row / rows_per_task) as f64;
        let x: Vec<_> = (0..names.len()).map(|row| Some(value(row))).collect();
        let y: Vec<_> = (0..names.len()).map(|row| Some(value(row) + 9.0 * (value(row) % 7.0))).collect();
        Group { name: "qa", tasks: sums_by_task(&names, &x, &y) }
    }

    #[test]
    fn the_interval_holds_the_estimate_and_repeats() {
        let groups = [group(60, 1)];
        let mut whole = Sums::default();
        groups[0].tasks.iter().for_each(|sums| whole.add(sums));
        let r = whole.pearson().expect("the columns vary");
        let found = pearson_intervals(&groups);
        let (low, high) = found.groups[0].expect("sixty tasks are enough");
        assert!(low < r && r < high && low > 0.0 && high < 1.0, "{low} {r} {high}");
        assert_eq!(found.mean, found.groups[0]);
        assert_eq!(found, pearson_intervals(&groups));
    }

    #[test]
    fn copies_of_a_row_do_not_narrow_the_interval() {
        let width = |rows| {
            let (low, high) = pearson_intervals(&[group(60, rows)]).groups[0].expect("sixty tasks are enough");
            high - low
        };
        assert!((width(1) - width(5)).abs() < 1e-9);
    }

    #[test]
    fn neither_the_order_of_rows_nor_other_groups_move_an_interval() {
        let ids: Vec<String> = (0..40).map(|i| format!("t{}", i / 2)).collect();
        let row = |i: usize| (ids[i].as_str(), Some(0.1 * i as f64), Some((i * 7 % 11) as f64 / 3.0));
        let group = |name: &'static str, order: &mut dyn Iterator<Item = usize>| {
            let rows: Vec<_> = order.map(row).collect();
            let tasks: Vec<&str> = rows.iter().map(|row| row.0).collect();
            let (x, y): (Vec<_>, Vec<_>) = rows.iter().map(|row| (row.1, row.2)).unzip();
            Group { name, tasks: sums_by_task(&tasks, &x, &y) }
        };
        let straight = group("qa", &mut (0..40));
        let shuffled = group("qa", &mut (0..40).map(|i| i * 23 % 40));
        assert_eq!(straight, shuffled);
        let other = group("summarization", &mut (0..40));
        let alone = pearson_intervals(std::slice::from_ref(&straight)).groups[0];
        assert!(alone.is_some());
        assert_eq!(pearson_intervals(&[other.clone(), shuffled]).groups[1], alone);
        assert_ne!(pearson_intervals(&[other]).groups[0], alone, "groups are drawn independently of each other");
    }

    #[test]
    fn few_tasks_and_constants_have_no_interval() {
        assert_eq!(pearson_intervals(&[group(9, 5)]).groups, [None]);
        let constant = sums_by_task(&["a"; 40], &[Some(0.1); 40], &[Some(1.0); 40]);
        assert_eq!(constant.len(), 1);
        let constant = Group { name: "summarization", tasks: vec![constant[0]; 20] };
        assert_eq!(pearson_intervals(&[constant, group(60, 1)]).mean, None);
        assert_eq!(pearson_intervals(&[]), Intervals { groups: vec![], mean: None });
    }
}
