//! How an evaluator is run on this machine: what the settings say, else what a calibration found, else a default for the
//! cores there are.

use super::context::Context;
use crate::model::registry::Model;
use crate::score::Execution;
use crate::settings::Scoring;

/// Sessions of one evaluator at most: its weights are in memory once per session.
const MOST_SESSIONS: usize = 4;

/// Rows per batch: small batches stay in the processor's caches, and 8 beat 32 and 64 on every encoder measured.
const BATCH_SIZE: usize = 8;

/// Padded tokens per batch: bounds what a batch of long rows takes.
const BATCH_TOKENS: usize = 2048;

/// Where an execution's numbers come from, for the line that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Every number stands in the settings.
    Settings,
    /// From the cores of the machine, as far as the settings leave it open.
    Machine,
}

/// Resolves what the settings leave open. Small graphs gain more from several sessions than from several threads in one
/// (no thread waits for another at the end of each operator), so there are as many sessions as cores, up to a bound.
pub fn resolve(context: &Context, scoring: &Scoring) -> (Execution, Origin) {
    let workers = scoring.workers.unwrap_or_else(|| match scoring.worker_threads {
        Some(threads) => (context.threads / threads).clamp(1, MOST_SESSIONS),
        None => context.threads.min(MOST_SESSIONS),
    });
    let execution = Execution {
        provider: scoring.provider,
        precision: scoring.precision,
        workers,
        threads: scoring.worker_threads.unwrap_or((context.threads / workers).max(1)),
        batch_size: scoring.batch_size.unwrap_or(BATCH_SIZE),
        batch_tokens: scoring.batch_tokens.unwrap_or(BATCH_TOKENS),
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
