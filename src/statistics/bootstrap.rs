//! Intervals by resampling tasks, not rows: the answers of all models to one prompt share its reference, so rows are not
//! independent and the usual interval (Fisher's, of a correlation) is too narrow. Called by the report and the quality signals for
//! correlations, and by [`super::paired`] for differences between two runs; what is computed on a resample is in
//! [`super::sums`].

use super::sums::{Pearson, Sums};
use super::{quantile, standard_deviation};
use crate::digest::sha256_fields;
use rand_core::Rng;
use rand_pcg::Pcg64;

/// Resamples per interval: an end has a standard error of about a sixtieth of the interval's width.
pub const RESAMPLES: usize = 2000;
/// Fixed, so that the report of a run is the same every time.
const SEED: u128 = 42;
/// Fewer tasks than this are too few to resample.
pub const FEWEST_TASKS: usize = 10;
/// Tasks beyond this many are put together in as many bundles, and bundles are resampled: with so many of them the interval
/// is as wide as that of single tasks but for a sixtieth of its width, and a million tasks take no longer than these.
const MOST_UNITS: usize = 2000;
/// Share of resamples in which r must be defined for the interval to be given.
const DEFINED: f64 = 0.95;

/// The tasks of one type.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a, S = Pearson> {
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

/// 95 % percentile intervals of a statistic: the ends of its spreads, null where they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Intervals {
    /// One per group, in order.
    pub groups: Vec<Option<(f64, f64)>>,
    /// Of the unweighted mean over the groups.
    pub mean: Option<(f64, f64)>,
}

/// The ends of [`spreads`].
#[must_use]
pub fn intervals<S: Sums>(groups: &[Group<S>]) -> Intervals {
    let ends = |spread: Option<Spread>| spread.map(|spread| (spread.low, spread.high));
    let Spreads { groups, mean } = spreads(groups);
    Intervals { groups: groups.into_iter().map(ends).collect(), mean: ends(mean) }
}

/// Resamples the tasks of every group with replacement. What is drawn depends on the group's name and number of tasks alone,
/// not on the company it is in.
#[must_use]
pub fn spreads<S: Sums>(groups: &[Group<S>]) -> Spreads {
    let drawn: Vec<Option<Vec<Option<f64>>>> =
        groups.iter().map(|group| resample(&group.tasks, stream(group.name))).collect();
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

fn resample<S: Sums>(tasks: &[S], stream: u128) -> Option<Vec<Option<f64>>> {
    if tasks.len() < FEWEST_TASKS {
        return None;
    }
    let mut random = Pcg64::new(SEED, stream);
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    if tasks.len() > MOST_UNITS {
        // Tasks come sorted, and neighbours are alike: dealt out in turn, every bundle would hold the same mixture.
        for last in (1..order.len()).rev() {
            order.swap(last, below(&mut random, last + 1));
        }
    }
    let mut units = vec![S::default(); tasks.len().min(MOST_UNITS)];
    let bundles = units.len();
    for (place, task) in order.into_iter().enumerate() {
        units[place % bundles].add(&tasks[task]);
    }
    let mut draw = || {
        let mut total = S::default();
        for _ in 0..units.len() {
            total.add(&units[below(&mut random, units.len())]);
        }
        total.value()
    };
    Some((0..RESAMPLES).map(|_| draw()).collect())
}

/// A random number from 0 to `n` - 1.
fn below(random: &mut Pcg64, n: usize) -> usize {
    ((u128::from(random.next_u64()) * n as u128) >> 64) as usize
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
        Group { name: "qa", tasks: Pearson::by_task(&names, &x, &y) }
    }

    #[test]
    fn the_interval_holds_the_estimate_and_repeats() {
        let groups = [group(60, 1)];
        let mut whole = Pearson::default();
        groups[0].tasks.iter().for_each(|sums| whole.add(sums));
        let r = whole.value().expect("the columns vary");
        let found = intervals(&groups);
        let (low, high) = found.groups[0].expect("sixty tasks are enough");
        assert!(low < r && r < high && low > 0.0 && high < 1.0, "{low} {r} {high}");
        assert_eq!(found.mean, found.groups[0]);
        assert_eq!(found, intervals(&groups));
    }

    #[test]
    fn copies_of_a_row_do_not_narrow_the_interval() {
        let width = |rows| {
            let (low, high) = intervals(&[group(60, rows)]).groups[0].expect("sixty tasks are enough");
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
            Group { name, tasks: Pearson::by_task(&tasks, &x, &y) }
        };
        let straight = group("qa", &mut (0..40));
        let shuffled = group("qa", &mut (0..40).map(|i| i * 23 % 40));
        assert_eq!(straight, shuffled);
        let other = group("summarization", &mut (0..40));
        let alone = intervals(std::slice::from_ref(&straight)).groups[0];
        assert!(alone.is_some());
        assert_eq!(intervals(&[other.clone(), shuffled]).groups[1], alone);
        assert_ne!(intervals(&[other]).groups[0], alone, "groups are drawn independently of each other");
    }

    #[test]
    fn bundles_of_many_tasks_are_as_wide_as_the_tasks() {
        let width = |tasks: usize| {
            let names: Vec<String> = (0..tasks).map(|task| task.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut random = Pcg64::new(7, 7);
            let mut column = || (0..tasks).map(|_| Some(random.next_u64() as f64)).collect::<Vec<_>>();
            let group = Group { name: "qa", tasks: Pearson::by_task(&names, &column(), &column()) };
            let (low, high) = intervals(&[group]).groups[0].expect("many tasks");
            high - low
        };
        // A hundred times the tasks, a tenth of the width.
        let ratio = width(2_000) / width(200_000);
        assert!((ratio - 10.0).abs() < 0.8, "{ratio}");
    }

    /// A statistic of sorted tasks that are alike next to each other: the share of those in the later half.
    #[derive(Debug, Clone, Copy, Default)]
    struct Share {
        n: f64,
        later: f64,
    }

    impl Sums for Share {
        fn add(&mut self, other: &Self) {
            self.n += other.n;
            self.later += other.later;
        }

        fn value(&self) -> Option<f64> {
            Some(self.later / self.n)
        }
    }

    #[test]
    fn bundles_do_not_take_sorted_tasks_for_equal_mixtures() {
        let tasks = 20_000;
        let of = |task: usize| Share { n: 1.0, later: f64::from(u8::from(task >= tasks / 2)) };
        let group = Group { name: "qa", tasks: (0..tasks).map(of).collect() };
        let (low, high) = intervals(&[group]).groups[0].expect("many tasks");
        // Of a share of one half, four standard errors of 0.5 / sqrt(n), less a fiftieth.
        let width = 2.0 * 1.96 * 0.5 / (tasks as f64).sqrt();
        assert!(((high - low) / width - 1.0).abs() < 0.1, "{} is not {width}", high - low);
    }

    #[test]
    fn few_tasks_and_constants_have_no_interval() {
        assert_eq!(intervals(&[group(9, 5)]).groups, [None]);
        let constant = Pearson::by_task(&["a"; 40], &[Some(0.1); 40], &[Some(1.0); 40]);
        assert_eq!(constant.len(), 1);
        let constant = Group { name: "summarization", tasks: vec![constant[0]; 20] };
        assert_eq!(intervals(&[constant, group(60, 1)]).mean, None);
        assert_eq!(intervals::<Pearson>(&[]), Intervals { groups: vec![], mean: None });
    }
}
