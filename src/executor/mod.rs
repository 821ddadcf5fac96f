//! The room that both generation and scoring work in: tokenise → plan batches → infer → write.
//!
//! It knows neither tasks nor metrics. One thread tokenises (its rows in parallel) and plans, one thread per backend
//! infers, the caller's thread writes; bounded channels join them, so a slow writer holds everything back instead of
//! filling memory.

pub mod backend;
pub mod batch;
pub mod job;
pub mod quit;

pub use backend::{Backend, Tokenise};
pub use job::{Done, Job, Ready, milliseconds};
pub use quit::{Interrupted, Quit};

use anyhow::{Result, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Batches waiting per worker: one is prefetched while one is computed; more would only age.
const BATCHES_AHEAD: usize = 1;

/// Finished batches waiting for the writer per worker: enough to ride out one flush to disk.
const RESULTS_AHEAD: usize = 4;

/// Rows that are tokenised, sorted by length and planned together. Large enough for full batches of equal length, small
/// enough that memory does not grow with the table.
const WINDOW_ROWS: usize = 2048;

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows per batch.
    pub rows: usize,
    /// Padded tokens per batch: longest row × rows. A single row may exceed it.
    pub tokens: usize,
}

/// What a run of the executor amounted to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Rows that came out, failed ones included.
    pub rows: usize,
    /// Rows that failed.
    pub failed: usize,
    /// Batches inferred.
    pub batches: usize,
    /// Tokens of all rows.
    pub tokens: usize,
    /// Tokens after padding.
    pub padded_tokens: usize,
    /// Time that workers spent inferring, summed over workers.
    pub busy: Duration,
    /// Wall time.
    pub elapsed: Duration,
    /// Workers.
    pub workers: usize,
    /// Whether a quit request ended it early.
    pub interrupted: bool,
}

impl Totals {
    /// Adds a run that came after this one on the same workers.
    pub fn add(&mut self, next: &Self) {
        self.rows += next.rows;
        self.failed += next.failed;
        self.batches += next.batches;
        self.tokens += next.tokens;
        self.padded_tokens += next.padded_tokens;
        self.busy += next.busy;
        self.elapsed += next.elapsed;
        self.workers = next.workers;
        self.interrupted |= next.interrupted;
    }

    /// Share of padded tokens that were padding.
    #[must_use]
    pub fn padding_waste(&self) -> f64 {
        if self.padded_tokens == 0 { 0.0 } else { 1.0 - self.tokens as f64 / self.padded_tokens as f64 }
    }

    /// Share of the workers' time spent inferring.
    #[must_use]
    pub fn busy_share(&self) -> f64 {
        let available = self.elapsed.as_secs_f64() * self.workers as f64;
        if available > 0.0 { self.busy.as_secs_f64() / available } else { 0.0 }
    }
}

struct Finished<O> {
    rows: Vec<Done<O>>,
    padded_tokens: usize,
    busy: Duration,
}

/// Runs every job through the backends and hands finished batches to `write`, in order of completion. A row that fails
/// comes out with its error; only a failing `write` ends the run early, with that error.
pub fn run<T, B>(
    jobs: impl Iterator<Item = Job> + Send,
    tokeniser: &T,
    backends: &mut [B],
    limits: Limits,
    quit: &Quit,
    mut write: impl FnMut(Vec<Done<B::Output>>) -> Result<()>,
) -> Result<Totals>
where
    T: Tokenise,
    B: Backend,
{
    let started = Instant::now();
    let workers = backends.len();
    let (batch_sender, batch_receiver) = bounded::<Vec<Ready>>(workers * BATCHES_AHEAD);
    let (result_sender, result_receiver) = bounded::<Finished<B::Output>>(workers * RESULTS_AHEAD);
    let mut totals = Totals { workers, ..Totals::default() };
    let outcome = std::thread::scope(|scope| {
        let planner_results = result_sender.clone();
        scope.spawn(move || plan(jobs, tokeniser, limits, quit, &batch_sender, &planner_results));
        for backend in backends {
            let (batches, results) = (batch_receiver.clone(), result_sender.clone());
            scope.spawn(move || infer(backend, &batches, &results));
        }
        drop((batch_receiver, result_sender));
        // The iteration ends when every sender is gone, and an early return drops the receiver, which stops the senders.
        let results = result_receiver;
        for finished in &results {
            totals.rows += finished.rows.len();
            totals.failed += finished.rows.iter().filter(|row| row.result.is_err()).count();
            totals.tokens += finished.rows.iter().map(|row| row.tokens).sum::<usize>();
            totals.padded_tokens += finished.padded_tokens;
            totals.batches += 1;
            totals.busy += finished.busy;
            write(finished.rows)?;
        }
        Ok(())
    });
    totals.elapsed = started.elapsed();
    totals.interrupted = quit.requested();
    outcome.map(|()| totals)
}

/// Tokenises window after window and sends planned batches. Rows that do not tokenise go straight to the results.
fn plan<T: Tokenise, O: Send>(
    jobs: impl Iterator<Item = Job>,
    tokeniser: &T,
    limits: Limits,
    quit: &Quit,
    batches: &Sender<Vec<Ready>>,
    results: &Sender<Finished<O>>,
) {
    let mut jobs = jobs.peekable();
    while jobs.peek().is_some() && !quit.requested() {
        let window: Vec<Job> = jobs.by_ref().take(WINDOW_ROWS).collect();
        let encoded: Vec<Result<Ready, (Done<O>, bool)>> = window
            .into_par_iter()
            .map(|job| {
                let started = Instant::now();
                let encoding = tokeniser.tokenise(&job.text);
                let tokenise = started.elapsed();
                match encoding {
                    Ok(encoding) => {
                        Ok(Ready { index: job.index, encoding, wanted: job.wanted, tokenise, since: Instant::now() })
                    }
                    Err(error) => Err((Done::failed(job.index, tokenise, format!("{error:#}")), job.wanted)),
                }
            })
            .collect();
        let (mut ready, mut failed) = (Vec::new(), Vec::new());
        for row in encoded {
            match row {
                Ok(row) => ready.push(row),
                Err((row, true)) => failed.push(row),
                Err((_, false)) => {}
            }
        }
        let failed = Finished { rows: failed, padded_tokens: 0, busy: Duration::ZERO };
        if !failed.rows.is_empty() && results.send(failed).is_err() {
            return;
        }
        let planned = batch::plan(ready, limits);
        for batch in planned.into_iter().filter(|batch| batch.iter().any(|row| row.wanted)) {
            if quit.requested() || batches.send(batch).is_err() {
                return;
            }
        }
    }
}

fn infer<B: Backend>(backend: &mut B, batches: &Receiver<Vec<Ready>>, results: &Sender<Finished<B::Output>>) {
    for batch in batches {
        let padded_tokens = batch.len() * batch.iter().map(|row| row.encoding.ids.len()).max().unwrap_or(0);
        let started = Instant::now();
        let outputs = infer_batch(backend, &batch);
        let busy = started.elapsed();
        let share = busy / u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
        let rows = batch
            .into_iter()
            .zip(outputs)
            .filter(|(row, _)| row.wanted)
            .map(|(row, result)| Done {
                index: row.index,
                result: result.map_err(|error| format!("{error:#}")),
                tokens: row.encoding.ids.len(),
                truncated: row.encoding.truncated,
                tokenise: row.tokenise,
                queue: started.saturating_duration_since(row.since),
                infer: share,
            })
            .collect();
        if results.send(Finished { rows, padded_tokens, busy }).is_err() {
            return;
        }
    }
}

/// One batch; when it fails as a whole its rows are tried alone, so that a bad row fails alone.
fn infer_batch<B: Backend>(backend: &mut B, batch: &[Ready]) -> Vec<Result<B::Output>> {
    let run = |backend: &mut B, rows: &[Ready]| -> Result<Vec<Result<B::Output>>> {
        let outputs = backend.infer(rows)?;
        if outputs.len() == rows.len() {
            Ok(outputs)
        } else {
            Err(anyhow!("the backend returned {} outputs for {} rows; this is a bug", outputs.len(), rows.len()))
        }
    };
    match run(backend, batch) {
        Ok(outputs) => outputs,
        Err(error) if batch.len() == 1 => vec![Err(error)],
        Err(_) => batch
            .iter()
            .map(|row| run(backend, std::slice::from_ref(row)).and_then(|mut outputs| outputs.swap_remove(0)))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
