//! The room that both generation and scoring work in: tokenise → plan batches → infer → write.
//!
//! It knows neither tasks nor metrics. One thread tokenises (its rows in parallel), one plans, one per backend infers, the
//! caller's thread writes; bounded channels join them, so a slow writer holds everything back instead of filling memory,
//! and the next window is tokenised while the workers are still busy with this one. Rows come out in order of completion
//! with the caller's index: whoever needs them in order restores it (scoring looks results up by key).

pub mod backend;
pub mod batch;
pub mod job;
pub mod limits;
pub mod meter;
pub mod quit;
pub mod totals;

pub use backend::{Backend, Tokenise};
pub use job::{Done, Job, Ready, milliseconds};
pub use limits::Limits;
pub use meter::{Percentiles, StageTimes};
pub use quit::{Interrupted, Quit};
pub use totals::Totals;

use anyhow::{Result, anyhow};
use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Batches waiting per worker: one is prefetched while one is computed; more would only age.
const BATCHES_AHEAD: usize = 1;

/// Finished batches waiting for the writer per worker: enough to ride out one flush to disk, which takes tens of
/// milliseconds, without a worker waiting for it.
const RESULTS_AHEAD: usize = 64;

/// Tokenised windows waiting for the planner: the workers never wait for the tokenizer at the end of a window.
const WINDOWS_AHEAD: usize = 1;

/// Rows that are tokenised, sorted by length and planned together. Large enough for full batches of equal length, small
/// enough that memory does not grow with the table.
const WINDOW_ROWS: usize = 2048;

/// The first window: small, so that the workers begin at once. Each window after it is eight times as large, up to
/// [`WINDOW_ROWS`].
const FIRST_WINDOW_ROWS: usize = 256;

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
    let (window_sender, window_receiver) = bounded::<Vec<Ready>>(WINDOWS_AHEAD);
    let (batch_sender, batch_receiver) = bounded::<Vec<Ready>>(workers * BATCHES_AHEAD);
    let (result_sender, result_receiver) = bounded::<Finished<B::Output>>(workers * RESULTS_AHEAD);
    let mut totals = Totals { workers, ..Totals::default() };
    let outcome = std::thread::scope(|scope| {
        let failures = result_sender.clone();
        scope.spawn(move || tokenise(jobs, tokeniser, quit, &window_sender, &failures));
        scope.spawn(move || plan(&window_receiver, limits, quit, &batch_sender));
        for backend in backends {
            let (batches, results) = (batch_receiver.clone(), result_sender.clone());
            scope.spawn(move || infer(backend, limits, &batches, &results));
        }
        drop((batch_receiver, result_sender));
        // The iteration ends when every sender is gone, and an early return drops the receiver, which stops the senders.
        let results = result_receiver;
        for finished in &results {
            totals.rows += finished.rows.len();
            totals.failed += finished.rows.iter().filter(|row| row.result.is_err()).count();
            totals.truncated += finished.rows.iter().filter(|row| row.truncated).count();
            totals.tokens += finished.rows.iter().map(|row| row.tokens).sum::<usize>();
            totals.padded_tokens += finished.padded_tokens;
            totals.batches += usize::from(finished.padded_tokens > 0);
            for row in &finished.rows {
                totals.meter.record(row);
            }
            totals.busy += finished.busy;
            write(finished.rows)?;
        }
        Ok(())
    });
    totals.elapsed = started.elapsed();
    totals.interrupted = quit.requested();
    outcome.map(|()| totals)
}

/// Tokenises window after window. Rows that do not tokenise go straight to the results.
fn tokenise<T: Tokenise, O: Send>(
    jobs: impl Iterator<Item = Job>,
    tokeniser: &T,
    quit: &Quit,
    windows: &Sender<Vec<Ready>>,
    results: &Sender<Finished<O>>,
) {
    let mut jobs = jobs.peekable();
    let mut window_rows = FIRST_WINDOW_ROWS;
    while !quit.requested() && jobs.peek().is_some() {
        let window: Vec<Job> = jobs.by_ref().take(window_rows).collect();
        window_rows = (window_rows * 8).min(WINDOW_ROWS);
        let encoded: Vec<Result<Ready, Done<O>>> =
            window.into_par_iter().map(|job| tokenise_job(job, tokeniser)).collect();
        let (mut ready, mut failed) = (Vec::new(), Vec::new());
        for row in encoded {
            match row {
                Ok(row) => ready.push(row),
                Err(row) => failed.push(row),
            }
        }
        let failed = Finished { rows: failed, padded_tokens: 0, busy: Duration::ZERO };
        if !failed.rows.is_empty() && results.send(failed).is_err() {
            return;
        }
        if windows.send(ready).is_err() {
            return;
        }
    }
}

fn tokenise_job<T: Tokenise, O>(job: Job, tokeniser: &T) -> Result<Ready, Done<O>> {
    let Job { index, text } = job;
    let started = Instant::now();
    let encoding = tokeniser.tokenise(&text);
    let tokenise = started.elapsed();
    match encoding {
        Ok(encoding) => Ok(Ready { index, encoding, tokenise, since: Instant::now() }),
        Err(error) => Err(Done::failed(index, tokenise, format!("{error:#}"))),
    }
}

/// Plans each window and sends its batches.
fn plan(windows: &Receiver<Vec<Ready>>, limits: Limits, quit: &Quit, batches: &Sender<Vec<Ready>>) {
    for window in windows {
        for batch in batch::plan(window, limits) {
            if quit.requested() || batches.send(batch).is_err() {
                return;
            }
        }
    }
}

fn infer<B: Backend>(
    backend: &mut B,
    limits: Limits,
    batches: &Receiver<Vec<Ready>>,
    results: &Sender<Finished<B::Output>>,
) {
    for batch in batches {
        let longest = batch.iter().map(|row| row.encoding.ids.len()).max().unwrap_or(0);
        let padded_tokens = batch.len() * limits.width(longest);
        let started = Instant::now();
        let outputs = infer_batch(backend, &batch);
        let busy = started.elapsed();
        let share = busy / u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
        let rows = batch
            .into_iter()
            .zip(outputs)
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

/// One batch; when it fails as a whole its halves are tried, and theirs, so that a bad row fails alone and a batch that memory
/// has no room for is computed in parts.
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
        Err(_) => {
            let (first, second) = batch.split_at(batch.len() / 2);
            let mut outputs = infer_batch(backend, first);
            outputs.extend(infer_batch(backend, second));
            outputs
        }
    }
}

#[cfg(test)]
mod tests;
