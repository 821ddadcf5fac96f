//! How an evaluator is run on this machine: what the settings say, else what a calibration found, else a default for the
//! cores there are.

use super::bench_cell::run_cell;
use super::context::Context;
use crate::bench::batches::batches;
use crate::bench::calibration::Calibration;
use crate::bench::{CellRequest, Grid, grid};
use crate::executor::Interrupted;
use crate::model::provider::{Precision, Provider};
use crate::model::registry::Model;
use crate::profile::machine;
use crate::score::Execution;
use crate::settings::Scoring;
use crate::statistics::median;
use anyhow::{Context as _, Result};

/// Sessions of one evaluator at most: its weights are in memory once per session.
pub const MOST_SESSIONS: usize = 4;

/// Where an execution's numbers come from, for the line that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Every number stands in the settings.
    Settings,
    /// From the cores of the machine, as far as the settings leave it open.
    Machine,
    /// From a calibration on this machine, as far as the settings leave it open.
    Calibration,
}

/// Resolves what the settings leave open. With `measure` it is measured first, unless that was done before.
pub fn resolve(context: &Context, model: &Model, scoring: &Scoring, measure: bool) -> Result<(Execution, Origin)> {
    let (execution, origin) = defaults(context, scoring);
    if origin == Origin::Settings {
        return Ok((execution, origin));
    }
    let Scoring { provider, precision, .. } = *scoring;
    let remembered = calibration(context).find(model.files_key(), provider, precision).map(|entry| entry.execution);
    let found = match remembered {
        None if measure => Some(calibrate(context, model, provider, precision)?),
        found => found,
    };
    let Some(found) = found else { return Ok((execution, origin)) };
    let open = scoring.workers.is_none() && scoring.worker_threads.is_none();
    let execution = Execution {
        workers: if open { found.workers } else { execution.workers },
        threads: if open { found.threads } else { execution.threads },
        batch_size: scoring.batch_size.unwrap_or(found.batch_size),
        batch_tokens: scoring.batch_tokens.unwrap_or(found.batch_tokens),
        ..execution
    };
    let taken = open || scoring.batch_size.is_none() || scoring.batch_tokens.is_none();
    Ok((execution, if taken { Origin::Calibration } else { origin }))
}

/// The settings that are fastest for one model at one provider and precision, found in seconds and remembered.
fn calibrate(context: &Context, model: &Model, provider: Provider, precision: Precision) -> Result<Execution> {
    let grid = Grid {
        providers: vec![provider],
        precisions: vec![precision],
        parallelism: grid::parallelism(context.threads, MOST_SESSIONS),
        batch_sizes: Vec::new(),
        batch_tokens: Vec::new(),
    };
    let cells = grid.cells();
    // Enough for a full batch.
    let pairs = batches(provider).default.0.max(48);
    let mut progress = context.printer.progress(&format!("calibrate {}", model.key), cells.len());
    let mut best: Option<(Execution, f64)> = None;
    let mut first_error = None;
    for execution in cells {
        context.check_quit()?;
        let request = CellRequest { model: model.files_key().to_owned(), execution, pairs, seed: 42, repeats: 2 };
        match run_cell(context, &request) {
            Ok(result) => {
                let speed = median(&result.seconds).map_or(0.0, |seconds| result.tokens as f64 / seconds);
                if best.is_none_or(|(_, fastest)| speed > fastest) {
                    best = Some((execution, speed));
                }
            }
            Err(error) if error.is::<Interrupted>() => return Err(error),
            // The largest batch may take more memory than there is; that says nothing of the others.
            Err(error) => drop(first_error.get_or_insert(error)),
        }
        progress.advance(1);
    }
    progress.finish();
    let Some((execution, speed)) = best else {
        let error = first_error.context("no settings to calibrate; this is a bug")?;
        return Err(error.context("no settings could be measured"));
    };
    if let Err(error) = calibration(context).remember(model.files_key(), execution, speed) {
        context.printer.warning(&format!("the calibration is not remembered: {error:#}"));
    }
    Ok(execution)
}

/// What is remembered for this machine and the threads that may be used.
#[must_use]
pub fn calibration(context: &Context) -> Calibration {
    Calibration::open(&context.models, &machine::describe(), context.threads)
}

/// Small graphs gain more from several sessions than from several threads in one (no thread waits for another at the end of
/// each operator), so there are as many sessions as cores, up to a bound.
fn defaults(context: &Context, scoring: &Scoring) -> (Execution, Origin) {
    let workers = scoring.workers.unwrap_or_else(|| match scoring.worker_threads {
        Some(threads) => (context.threads / threads).clamp(1, MOST_SESSIONS),
        None => context.threads.min(MOST_SESSIONS),
    });
    let (batch_size, batch_tokens) = batches(scoring.provider).default;
    let execution = Execution {
        provider: scoring.provider,
        precision: scoring.precision,
        workers,
        threads: scoring.worker_threads.unwrap_or((context.threads / workers).max(1)),
        batch_size: scoring.batch_size.unwrap_or(batch_size),
        batch_tokens: scoring.batch_tokens.unwrap_or(batch_tokens),
    };
    let given = [scoring.workers, scoring.worker_threads, scoring.batch_size, scoring.batch_tokens];
    let origin = if given.iter().all(Option::is_some) { Origin::Settings } else { Origin::Machine };
    (execution, origin)
}

/// The line that tells a user how an evaluator is run.
#[must_use]
pub fn describe(model: &Model, execution: Execution, origin: Origin) -> String {
    let Execution { provider, precision, workers, threads, batch_size, batch_tokens } = execution;
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let origin = match origin {
        Origin::Settings => "settings",
        Origin::Machine => "defaults of this machine",
        Origin::Calibration => "calibrated on this machine",
    };
    format!(
        "{}: {} {}, {} of {}, batches of {batch_size} rows or {batch_tokens} tokens ({origin})",
        model.key,
        provider.name(),
        precision.name(),
        count(workers, "worker"),
        count(threads, "thread"),
    )
}
