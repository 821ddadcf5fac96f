//! Calibration: which dimensions follow the reference on half of the records, and the weights that remain. The other half
//! says what that is worth, for weights are not to be judged on the rows that chose them.

use super::answers::Answers;
use super::composite::{PerDimension, renormalise};
use super::dimensions::{DIMENSIONS, Signal};
use crate::dataset::sample;
use crate::statistics::agreement;
use std::collections::{BTreeSet, HashSet};

/// A half of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Half {
    /// Chooses what is kept.
    Fit,
    /// Says what it is worth.
    HeldOut,
}

impl Half {
    /// The other half.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Fit => Self::HeldOut,
            Self::HeldOut => Self::Fit,
        }
    }
}

/// The half that each answer's record is in: records of a task type are halved by a hash of seed and task id, so that all
/// answers to a record are in the same half and no record's half depends on the order of the rows. With an odd number
/// the fit has one more.
#[must_use]
pub fn halves(answers: &Answers, seed: u64) -> Vec<Half> {
    let mut fit: HashSet<&str> = HashSet::new();
    for task_type in answers.task_types() {
        let of_type = answers.rows.iter().filter(|row| row.task_type() == task_type);
        let records: BTreeSet<&str> = of_type.map(|row| row.task.task_id.as_str()).collect();
        let half = records.len().div_ceil(2);
        fit.extend(sample::choose(records.into_iter().collect(), half, seed, |id| (*id).to_owned()));
    }
    let half = |id: &str| if fit.contains(id) { Half::Fit } else { Half::HeldOut };
    answers.rows.iter().map(|row| half(&row.task.task_id)).collect()
}

/// What calibration found for one task type.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration<'a> {
    /// `qa` or `summarization`.
    pub task_type: &'a str,
    /// A: whose Pearson's r with the reference on the half of the fit lies above theta. What has no r is not in it.
    pub kept: PerDimension<bool>,
    /// `w'_k = w_k 1[k in A] / sum of w over A`; null where nothing in A has a weight.
    pub weights: Option<PerDimension<f64>>,
}

/// Calibrates every task type on its own (whether the paper does was not found), sorted by name.
#[must_use]
pub fn calibrate<'a>(
    answers: &Answers<'a>,
    signals: &[Signal; DIMENSIONS],
    reference: &[Option<f64>],
    halves: &[Half],
    weights: &PerDimension<f64>,
    theta: f64,
) -> Vec<Calibration<'a>> {
    let of_type = |task_type: &'a str| {
        let mut rows = answers.of_type(task_type);
        rows.retain(|&row| halves[row] == Half::Fit);
        let y: Vec<_> = rows.iter().map(|&row| reference[row]).collect();
        let correlations = std::array::from_fn(|k| {
            let x: Vec<_> = rows.iter().map(|&row| signals[k].values[row].as_ref().ok().copied()).collect();
            agreement(&x, &y).pearson
        });
        let (kept, weights) = keep(weights, &correlations, theta);
        Calibration { task_type, kept, weights }
    };
    answers.task_types().into_iter().map(of_type).collect()
}

/// A and its weights, from the correlations.
#[must_use]
pub fn keep(
    weights: &PerDimension<f64>,
    correlations: &PerDimension<Option<f64>>,
    theta: f64,
) -> (PerDimension<bool>, Option<PerDimension<f64>>) {
    let kept = correlations.map(|r| r.is_some_and(|r| r > theta));
    (kept, renormalise(weights, &kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Weights;
    use crate::store::rows::{GenerationRow, TaskRow};
    use crate::store::samples;
    use proptest::prelude::*;

    fn run(records: usize, models: usize) -> (Vec<TaskRow>, Vec<GenerationRow>) {
        let kinds = ["qa", "summarization"];
        let id = |kind: &str, i: usize| format!("{kind}-{i}");
        let all = || kinds.iter().flat_map(move |kind| (0..records).map(move |i| (*kind, i)));
        let tasks = all().map(|(kind, i)| TaskRow { task_type: kind.into(), ..samples::task(&id(kind, i)) }).collect();
        let answers =
            all().flat_map(|(kind, i)| (0..models).map(move |m| samples::answer(&id(kind, i), &format!("m{m}"))));
        (tasks, answers.collect())
    }

    #[test]
    fn a_record_is_in_one_half_whoever_answers_it() {
        let (tasks, generations) = run(9, 3);
        let answers = Answers::join(&tasks, &generations, &[]).expect("joins");
        let halves = halves(&answers, 42);
        for group in halves.chunks(3) {
            assert!(group.iter().all(|half| *half == group[0]), "{group:?}");
        }
        for task_type in ["qa", "summarization"] {
            let fit = answers.of_type(task_type).iter().filter(|row| halves[**row] == Half::Fit).count();
            assert_eq!(fit, 5 * 3, "five of nine records of `{task_type}`");
        }
        assert_ne!(halves, super::halves(&answers, 43));
    }

    #[test]
    fn only_what_lies_above_theta_is_kept() {
        let weights = Weights::default().array();
        let correlations = [Some(0.3), None, Some(0.0), Some(0.5), Some(-0.4), Some(0.1)];
        let (kept, found) = keep(&weights, &correlations, 0.0);
        assert_eq!(kept, [true, false, false, true, false, true]);
        let found = found.expect("three are kept");
        assert!((found[0] - 0.15 / 0.55).abs() < 1e-12 && (found[3] - 0.25 / 0.55).abs() < 1e-12);
        let (kept, _) = keep(&weights, &correlations, 0.3);
        assert_eq!(kept, [false, false, false, true, false, false], "theta itself is not above theta");
    }

    #[test]
    fn where_nothing_follows_the_reference_there_are_no_weights() {
        let weights = Weights::default().array();
        assert_eq!(keep(&weights, &[Some(-0.1); DIMENSIONS], 0.0), ([false; DIMENSIONS], None));
        let only_structure = Weights { structure: 0.0, ..Weights::default() }.array();
        let structure_alone = [None, None, Some(0.9), None, None, None];
        assert_eq!(keep(&only_structure, &structure_alone, 0.0).1, None, "what is kept has no weight");
    }

    proptest! {
        #[test]
        fn a_higher_theta_keeps_no_more(
            correlations in prop::array::uniform6(prop::option::of(-1.0..=1.0f64)),
            low in -1.0..1.0f64,
            more in 0.0..1.0f64,
        ) {
            let weights = Weights::default().array();
            let (at_low, _) = keep(&weights, &correlations, low);
            let (at_high, found) = keep(&weights, &correlations, low + more);
            prop_assert!(at_high.iter().zip(at_low).all(|(high, low)| low || !high));
            prop_assert_eq!(found.is_some(), at_high.contains(&true));
        }
    }
}
