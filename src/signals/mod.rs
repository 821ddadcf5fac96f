//! Quality signals beyond the scores: the dimensions of arXiv 2603.04028 and their composite, an audit of each against the
//! reference quality with the calibration that follows from it, and the cascade of arXiv 2606.11196 over the evaluators.
//! Rows in, rows out; no file is read and no model is loaded. Called by the command `signals`.
//!
//! `answers` (the join) -> `dimensions` (`structure` among them) -> `calibrate` -> `composite` -> `audit`, beside `cascade`.

pub mod answers;
pub mod audit;
pub mod calibrate;
pub mod cascade;
pub mod composite;
pub mod dimensions;
mod notes;
mod rows;
pub mod structure;

pub use composite::Composite;
pub use dimensions::Dimension;
pub use rows::SignalTable;

use crate::profile::EVALUATOR;
use crate::settings::Signals;
use crate::simulate::Watch;
use crate::statistics::median;
use crate::store::rows::{CascadeRow, GenerationRow, ProfileRow, ScoreRow, SignalAuditRow, TaskRow};
use answers::Answers;
use anyhow::{Context, Result, bail};
use audit::{Audited, Kind, ReferenceColumn};
use calibrate::{Calibration, calibrate, halves};
use cascade::Step;
use composite::{PerDimension, compose, describe};
use dimensions::{DIMENSIONS, Signal, consensus, dimensions, source, unit};

/// What has to be known of an evaluator to place its scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluator {
    /// Node key.
    pub key: String,
    /// Whether it compares vectors of two texts, rather than reading both at once.
    pub bi_encoder: bool,
    /// Whether it reads the input instead of the reference.
    pub reads_input: bool,
    /// Whether it is an M node, which takes part in the mechanism.
    pub paid: bool,
}

/// The tables of a run and what goes with them.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// `tasks`.
    pub tasks: &'a [TaskRow],
    /// `generations`.
    pub generations: &'a [GenerationRow],
    /// `scores`.
    pub scores: &'a [ScoreRow],
    /// `profile`.
    pub profile: &'a [ProfileRow],
    /// Everybody who scores, in the order of the settings.
    pub evaluators: &'a [Evaluator],
    /// The section `[signals]`.
    pub settings: &'a Signals,
}

/// The tables that follow.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<'a> {
    /// By task, model and signal.
    pub signals: SignalTable<'a>,
    /// By task type, signal and split.
    pub audit: Vec<SignalAuditRow>,
    /// By threshold and task type; empty where there is no second evaluator to turn to.
    pub cascade: Vec<CascadeRow>,
    /// What a reader of the tables should know.
    pub warnings: Vec<String>,
    /// What they say, in a few lines.
    pub notes: Vec<String>,
}

/// Computes every table. The order of the rows of the tables changes nothing. Fails on tables that contradict each other
/// and on a cascade that names an evaluator without scores or latency; with [`crate::simulate::Stopped`] once somebody
/// asks it to stop.
pub fn build<'a>(inputs: &Inputs<'a>, watch: Watch) -> Result<Outcome<'a>> {
    let Inputs { evaluators, settings, .. } = *inputs;
    let answers = Answers::join(inputs.tasks, inputs.generations, inputs.scores)?;
    let name = settings.reference.name();
    let values = answers
        .scorer(name)
        .with_context(|| format!("nothing has been scored by `{name}`, which `signals.reference` names"))?;
    let reference = ReferenceColumn { name, values };
    let weights = settings.weights.array();
    let halves = halves(&answers, settings.seed);

    let dimensions = dimensions(&answers, evaluators, inputs.profile, &halves);
    let calibrations = calibrate(&answers, &dimensions, values, &halves, &weights, settings.theta);
    let composites =
        [composite(&answers, &dimensions, &weights), calibrated(&answers, &dimensions, &calibrations, name)];
    let audited = audited(&answers, evaluators, &dimensions, &composites);
    let audit = audit::audit(&answers, &halves, reference, &audited, &weights, &calibrations, watch)?;

    let steps = steps(&answers, inputs)?;
    let cascade = cascade::sweep(&answers, &steps, &settings.cascade, reference, watch)?;
    Ok(Outcome {
        warnings: notes::warnings(&answers, &audit, &calibrations, &dimensions, steps.len(), settings),
        notes: notes::notes(&audit, &cascade),
        signals: SignalTable::new(answers, dimensions, composites),
        audit,
        cascade,
    })
}

/// `q = sum_k w_k q_k` with the weights of the settings.
fn composite(answers: &Answers, dimensions: &[Signal; DIMENSIONS], weights: &PerDimension<f64>) -> Signal {
    Signal::of(answers, describe(weights), |row, _, _| {
        compose(weights, &at(dimensions, row)).ok_or_else(|| "no dimension that has a weight has a value".to_owned())
    })
}

/// The same with the weights that calibration left to the task type of each answer. Where it left none there is no value:
/// no dimension is known to follow the reference, and none is taken for want of a better one.
fn calibrated(
    answers: &Answers,
    dimensions: &[Signal; DIMENSIONS],
    calibrations: &[Calibration],
    reference: &str,
) -> Signal {
    Signal::of(answers, "calibrated per task type".to_owned(), |row, answer, _| {
        let task_type = answer.task_type();
        let weights = calibrations
            .iter()
            .find(|calibration| calibration.task_type == task_type)
            .and_then(|calibration| calibration.weights)
            .ok_or_else(|| format!("no dimension with a weight follows `{reference}` on `{task_type}`"))?;
        compose(&weights, &at(dimensions, row)).ok_or_else(|| "no dimension that was kept has a value".to_owned())
    })
}

/// The dimensions of one answer.
fn at(dimensions: &[Signal; DIMENSIONS], row: usize) -> PerDimension<Option<f64>> {
    std::array::from_fn(|k| dimensions[k].values[row].as_ref().ok().copied())
}

/// Everything the audit looks at: dimensions and composites, and what a composite is to beat.
fn audited<'a>(
    answers: &Answers,
    evaluators: &'a [Evaluator],
    dimensions: &[Signal; DIMENSIONS],
    composites: &[Signal; 2],
) -> Vec<Audited<'a>> {
    let signal =
        |name, kind, signal: &Signal| Audited { name, kind, source: signal.source.clone(), values: signal.present() };
    let mut found = Vec::new();
    for (place, (dimension, values)) in Dimension::ALL.into_iter().zip(dimensions).enumerate() {
        found.push(signal(dimension.name(), Kind::Dimension(place), values));
    }
    for (composite, values) in Composite::ALL.into_iter().zip(composites) {
        found.push(signal(composite.name(), Kind::Composite(composite), values));
    }
    let paid: Vec<&str> = evaluators.iter().filter(|e| e.paid).map(|e| e.key.as_str()).collect();
    let of_rows = |rule: &dyn Fn(usize) -> Option<f64>| (0..answers.rows.len()).map(rule).collect();
    for (name, values) in [
        ("consensus_mean", of_rows(&|row| consensus(answers, &paid, row))),
        ("consensus_median", of_rows(&|row| median(&answers.scores(&paid, row)).map(unit))),
    ] {
        found.push(Audited { name, kind: Kind::Consensus, source: source(&paid), values });
    }
    for evaluator in evaluators {
        if let Some(scores) = answers.scorer(&evaluator.key) {
            let values = scores.iter().map(|score| score.map(unit)).collect();
            found.push(Audited { name: &evaluator.key, kind: Kind::Evaluator, source: evaluator.key.clone(), values });
        }
    }
    found
}

/// The evaluators of the cascade in the order in which they run, with their latencies: those that the settings name, else
/// the M nodes whose latency is known, fastest first.
fn steps(answers: &Answers, inputs: &Inputs) -> Result<Vec<Step>> {
    let latency = |key: &str| {
        let own = |row: &&ProfileRow| row.node_type == EVALUATOR && row.node == key;
        inputs.profile.iter().find(own).and_then(|row| row.latency_ms_mean)
    };
    let named = &inputs.settings.cascade.evaluators;
    if named.is_empty() {
        let mut steps: Vec<Step> = inputs
            .evaluators
            .iter()
            .filter(|evaluator| evaluator.paid && answers.scorer(&evaluator.key).is_some())
            .filter_map(|evaluator| Some(Step { key: evaluator.key.clone(), latency_ms: latency(&evaluator.key)? }))
            .collect();
        steps.sort_by(|a, b| a.latency_ms.total_cmp(&b.latency_ms).then_with(|| a.key.cmp(&b.key)));
        return Ok(steps);
    }
    let step = |key: &String| {
        let known: Vec<&str> = inputs.evaluators.iter().map(|evaluator| evaluator.key.as_str()).collect();
        if !known.contains(&key.as_str()) || answers.scorer(key).is_none() {
            bail!(
                "`signals.cascade.evaluators` names `{key}`, which has scored nothing in this run; its evaluators are: {}",
                known.join(", ")
            );
        }
        let latency_ms = latency(key).with_context(|| {
            format!(
                "`signals.cascade.evaluators` names `{key}`, whose latency is not in the profile\n\
                 hint: only evaluators in `scoring.evaluators` are profiled; name others, or add it there"
            )
        })?;
        Ok(Step { key: key.clone(), latency_ms })
    };
    named.iter().map(step).collect()
}

#[cfg(test)]
fn evaluator(key: &str, bi_encoder: bool, reads_input: bool) -> Evaluator {
    Evaluator { key: key.to_owned(), bi_encoder, reads_input, paid: true }
}

#[cfg(test)]
mod tests;
