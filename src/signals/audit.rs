//! The audit: every signal against the reference quality, per task type and half of the records, with intervals. A signal
//! that is negative or unclear on a task type is no evidence of quality there, whatever its weight.

use super::answers::Answers;
use super::calibrate::{Calibration, Half};
use super::composite::{Composite, PerDimension, renormalise};
use super::dimensions::{DIMENSIONS, Dimension};
use crate::simulate::{Stopped, Watch};
use crate::statistics::bootstrap::{Group, intervals};
use crate::statistics::sums::Pearson;
use crate::statistics::{agreement, finite, mean};
use crate::store::rows::SignalAuditRow;
use rayon::prelude::*;

/// A signal to audit.
#[derive(Debug, Clone)]
pub struct Audited<'a> {
    /// Name of the signal, or node key of an evaluator.
    pub name: &'a str,
    /// What sort of signal it is.
    pub kind: Kind,
    /// What it was computed from.
    pub source: String,
    /// One value per answer, in any unit: correlations do not mind.
    pub values: Vec<Option<f64>>,
}

/// What sort of signal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The dimension of this place.
    Dimension(usize),
    /// A composite of dimensions.
    Composite(Composite),
    /// Mean or median of the M nodes' scores: what a composite is to beat.
    Consensus,
    /// One evaluator alone: the same.
    Evaluator,
}

impl Kind {
    /// The name that tables use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dimension(_) => "dimension",
            Self::Composite(_) => "composite",
            Self::Consensus => "consensus",
            Self::Evaluator => "evaluator",
        }
    }
}

/// Which records are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Both halves.
    All,
    /// The half that chose what is kept.
    Fit,
    /// The half that did not.
    HeldOut,
}

impl Split {
    const EVERY: [Self; 3] = [Self::All, Self::Fit, Self::HeldOut];

    /// The name that tables use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Fit => "fit",
            Self::HeldOut => "held_out",
        }
    }

    fn holds(self, half: Half) -> bool {
        match self {
            Self::All => true,
            Self::Fit => half == Half::Fit,
            Self::HeldOut => half == Half::HeldOut,
        }
    }
}

/// What signals are held against.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceColumn<'a> {
    /// `f1` or `exact_match`.
    pub name: &'a str,
    /// One value per answer.
    pub values: &'a [Option<f64>],
}

/// One row per task type, signal and split, in that order. Stops early, with nothing, once somebody asks it to.
pub fn audit(
    answers: &Answers,
    halves: &[Half],
    reference: ReferenceColumn,
    signals: &[Audited],
    weights: &PerDimension<f64>,
    calibrations: &[Calibration],
    watch: Watch,
) -> Result<Vec<SignalAuditRow>, Stopped> {
    let default_weights = renormalise(weights, &[true; DIMENSIONS]);
    let mut cells = Vec::new();
    for calibration in calibrations {
        for signal in signals {
            cells.extend(Split::EVERY.map(|split| (calibration, signal, split)));
        }
    }
    // Intervals take nearly all of the time; each draws its resamples anew from the same seed, so threads change nothing.
    let row = |(calibration, signal, split): (&Calibration, &Audited, Split)| {
        watch.go_on()?;
        let mut rows = answers.of_type(calibration.task_type);
        rows.retain(|&row| split.holds(halves[row]));
        let place = match signal.kind {
            Kind::Dimension(place) => Some(place),
            Kind::Composite(_) | Kind::Consensus | Kind::Evaluator => None,
        };
        let pick = |values: &[Option<f64>]| rows.iter().map(|&row| values[row]).collect::<Vec<_>>();
        let (mut x, mut y) = (pick(&signal.values), pick(reference.values));
        if split == Split::All && has_prior(signal.kind, default_weights.as_ref(), calibration) {
            centre(&rows.iter().map(|&row| halves[row]).collect::<Vec<_>>(), &mut x, &mut y);
        }
        let tasks: Vec<&str> = rows.iter().map(|&row| answers.rows[row].task.task_id.as_str()).collect();
        let found = correlate(calibration.task_type, &tasks, &x, &y);
        Ok(SignalAuditRow {
            task_type: calibration.task_type.to_owned(),
            signal: signal.name.to_owned(),
            kind: signal.kind.name().to_owned(),
            source: signal.source.clone(),
            reference: reference.name.to_owned(),
            split: split.name().to_owned(),
            n: found.n as i64,
            records: found.records as i64,
            pearson: found.pearson,
            ci_low: found.interval.map(|(low, _)| low),
            ci_high: found.interval.map(|(_, high)| high),
            spearman: found.spearman,
            sign: found.pearson.map(|_| sign(found.interval).to_owned()),
            default_weight: place.and_then(|place| Some(default_weights?[place])),
            kept: place.map(|place| calibration.kept[place]),
            calibrated_weight: place.and_then(|place| Some(calibration.weights?[place])),
        })
    };
    cells.into_par_iter().map(row).collect()
}

struct Correlation {
    n: usize,
    records: usize,
    pearson: Option<f64>,
    spearman: Option<f64>,
    interval: Option<(f64, f64)>,
}

/// Whether the model prior is in a signal, by itself or with a weight.
fn has_prior(kind: Kind, default_weights: Option<&PerDimension<f64>>, calibration: &Calibration) -> bool {
    const PRIOR: usize = Dimension::ModelPrior as usize;
    let weighs = |weights: Option<&PerDimension<f64>>| weights.is_some_and(|weights| weights[PRIOR] > 0.0);
    match kind {
        Kind::Dimension(place) => place == PRIOR,
        Kind::Composite(Composite::Default) => weighs(default_weights),
        Kind::Composite(Composite::Calibrated) => weighs(calibration.weights.as_ref()),
        Kind::Consensus | Kind::Evaluator => false,
    }
}

/// Takes from each complete pair the means of its half. Each half's model prior is the mean of the other half: where one
/// half has the better answers the other has the higher prior, and over both that alone would pull r down.
fn centre(halves: &[Half], x: &mut [Option<f64>], y: &mut [Option<f64>]) {
    let complete = |row: usize, x: &[Option<f64>], y: &[Option<f64>]| Some((finite(x[row])?, finite(y[row])?));
    for half in [Half::Fit, Half::HeldOut] {
        let rows: Vec<usize> = (0..halves.len()).filter(|&row| halves[row] == half).collect();
        let pairs: Vec<(f64, f64)> = rows.iter().filter_map(|&row| complete(row, x, y)).collect();
        let (Some(mean_x), Some(mean_y)) =
            (mean(pairs.iter().map(|pair| pair.0)), mean(pairs.iter().map(|pair| pair.1)))
        else {
            continue;
        };
        for row in rows {
            x[row] = x[row].map(|x| x - mean_x);
            y[row] = y[row].map(|y| y - mean_y);
        }
    }
}

fn correlate(task_type: &str, tasks: &[&str], x: &[Option<f64>], y: &[Option<f64>]) -> Correlation {
    let found = agreement(x, y);
    let sums = Pearson::by_task(tasks, x, y);
    let records = sums.len();
    let interval = found.pearson.and_then(|_| intervals(&[Group { name: task_type, tasks: sums }]).groups[0]);
    Correlation { n: found.n, records, pearson: found.pearson, spearman: found.spearman, interval }
}

/// Which side of zero the interval lies on.
fn sign(interval: Option<(f64, f64)>) -> &'static str {
    match interval {
        Some((low, _)) if low > 0.0 => "positive",
        Some((_, high)) if high < 0.0 => "negative",
        _ => "unclear",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centred_pairs_have_no_mean_in_either_half() {
        let halves = [Half::Fit, Half::HeldOut, Half::Fit, Half::HeldOut, Half::Fit];
        let mut x = [Some(1.0), Some(10.0), Some(3.0), Some(14.0), Some(100.0)];
        let mut y = [Some(5.0), Some(0.0), Some(6.0), Some(2.0), None];
        centre(&halves, &mut x, &mut y);
        assert_eq!(x, [Some(-1.0), Some(-2.0), Some(1.0), Some(2.0), Some(98.0)], "what has no pair has no say");
        assert_eq!(y, [Some(-0.5), Some(-1.0), Some(0.5), Some(1.0), None]);
    }

    #[test]
    fn a_sign_is_clear_where_the_whole_interval_has_it() {
        assert_eq!(sign(Some((0.1, 0.5))), "positive");
        assert_eq!(sign(Some((-0.5, -0.1))), "negative");
        assert_eq!(sign(Some((-0.1, 0.5))), "unclear");
        assert_eq!(sign(None), "unclear");
    }
}
