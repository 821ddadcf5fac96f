//! The first pass over a run's pairs: whatever an evaluator has to read and has not read yet is read, once, and stored.
//!
//! Pairs are streamed, so tables larger than memory go through: what is held is the work in flight and a batch of results
//! on their way to the disk.

use super::Pair;
use super::evaluator::Evaluator;
use super::identity::{Identity, Piece};
use crate::executor::{Done, Job, Quit, Totals, milliseconds};
use crate::store::work::{Trace, Work, WorkKey, WorkReader, WorkStore};
use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Results that are written to the work store together.
const COMMIT_ROWS: usize = 2048;

/// Time after which fewer are written too, and after which a write is brought to the disk: what a kill loses.
const COMMIT_AFTER: Duration = Duration::from_secs(1);

/// Computes what is missing for the pairs and returns the executor's account, whose rows are pieces of work. `progress` is
/// told how many pairs are done, as far as can be said while later ones share their work.
pub fn compute(
    evaluator: &mut Evaluator,
    pairs: impl Iterator<Item = Result<Pair>> + Send,
    store: &WorkStore,
    quit: &Quit,
    mut progress: impl FnMut(usize),
) -> Result<Totals> {
    let identity = evaluator.identity().clone();
    let flight = Flight::default();
    let missing = Missing::new(pairs, &identity, store, &flight, quit)?;
    let mut pending =
        Pending { store, flight: &flight, finished: Vec::new(), written: Instant::now(), synced: Instant::now() };
    let totals = evaluator.compute(missing, quit, |batch| {
        pending.add(batch)?;
        progress(flight.lock().pairs_done());
        Ok(())
    })?;
    pending.write(true)?;
    let error = flight.lock().error.take();
    error.map_or(Ok(totals), Err)
}

/// What the two ends of the pipeline share: the producing one knows pairs and keys, the writing one results.
#[derive(Default)]
struct Flight(Mutex<State>);

#[derive(Default)]
struct State {
    /// Work that was sent on its way and is not stored yet.
    keys: HashSet<WorkKey>,
    /// The same by the executor's row number.
    by_index: HashMap<usize, WorkKey>,
    /// Writes to the store so far.
    writes: u64,
    /// Pairs looked at.
    pairs: usize,
    /// Pieces sent.
    sent: usize,
    /// Pieces that came back.
    came_back: usize,
    /// Why the producing end stopped.
    error: Option<anyhow::Error>,
}

impl Flight {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics; this is a bug")
    }
}

impl State {
    /// Pairs done: those looked at, in the share of the pieces that have come back.
    fn pairs_done(&self) -> usize {
        if self.sent == 0 {
            self.pairs
        } else {
            (self.pairs as f64 * self.came_back as f64 / self.sent as f64) as usize
        }
    }
}

/// The jobs that pairs need and nobody has done: an iterator for the executor's tokenising thread.
struct Missing<'a, P> {
    pairs: P,
    identity: &'a Identity,
    store: &'a WorkStore,
    flight: &'a Flight,
    reader: WorkReader,
    /// Writes that the reader sees.
    seen: u64,
    /// The second piece of a pair whose first one was just sent.
    ready: Option<Job>,
    quit: &'a Quit,
    /// Set by the end of the pairs, an error or a quit request: nothing comes after it, however often it is asked for.
    ended: bool,
}

impl<'a, P: Iterator<Item = Result<Pair>>> Missing<'a, P> {
    fn new(pairs: P, identity: &'a Identity, store: &'a WorkStore, flight: &'a Flight, quit: &'a Quit) -> Result<Self> {
        Ok(Self { pairs, identity, store, flight, reader: store.read()?, seen: 0, ready: None, quit, ended: false })
    }

    fn advance(&mut self) -> Result<Option<Job>> {
        loop {
            if let Some(job) = self.ready.take() {
                return Ok(Some(job));
            }
            if self.quit.requested() {
                return Ok(None);
            }
            let Some(pair) = self.pairs.next().transpose()? else { return Ok(None) };
            let mut first = None;
            // A pair that cannot be scored needs nothing; its row says why.
            if let Ok(pieces) = self.identity.pieces(&pair) {
                for piece in pieces.iter() {
                    let job = self.job(piece)?;
                    match (&first, job) {
                        (None, job) => first = job,
                        (Some(_), job) => self.ready = job,
                    }
                }
            }
            self.flight.lock().pairs += 1;
            if first.is_some() {
                return Ok(first);
            }
        }
    }

    /// The job for a piece, unless it is stored or on its way.
    fn job(&mut self, piece: Piece<'_>) -> Result<Option<Job>> {
        let (flying, writes) = {
            let state = self.flight.lock();
            (state.keys.contains(&piece.key), state.writes)
        };
        if flying {
            return Ok(None);
        }
        // Work leaves the flight only after it was written: a reader as new as this moment sees it.
        if self.seen < writes {
            self.reader = self.store.read()?;
            self.seen = writes;
        }
        if self.reader.contains(&piece.key)? {
            return Ok(None);
        }
        let mut state = self.flight.lock();
        let index = state.sent;
        state.sent += 1;
        state.keys.insert(piece.key);
        state.by_index.insert(index, piece.key);
        Ok(Some(piece.job(index)))
    }
}

impl<P: Iterator<Item = Result<Pair>>> Iterator for Missing<'_, P> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        if self.ended {
            return None;
        }
        let job = self.advance().unwrap_or_else(|error| {
            self.flight.lock().error = Some(error);
            None
        });
        self.ended = job.is_none();
        job
    }
}

/// Results on their way to the work store.
struct Pending<'a> {
    store: &'a WorkStore,
    flight: &'a Flight,
    finished: Vec<(WorkKey, Work)>,
    written: Instant,
    synced: Instant,
}

impl Pending<'_> {
    fn add(&mut self, batch: Vec<Done<Vec<f32>>>) -> Result<()> {
        {
            let mut state = self.flight.lock();
            state.came_back += batch.len();
            for done in batch {
                let key = state.by_index.remove(&done.index).context("a result without a job; this is a bug")?;
                self.finished.push((key, work(done)));
            }
        }
        let due = self.finished.len() >= COMMIT_ROWS || self.written.elapsed() >= COMMIT_AFTER;
        if due { self.write(self.synced.elapsed() >= COMMIT_AFTER) } else { Ok(()) }
    }

    fn write(&mut self, durable: bool) -> Result<()> {
        self.store.add(&self.finished, durable)?;
        self.written = Instant::now();
        if durable {
            self.synced = self.written;
        }
        let mut state = self.flight.lock();
        state.writes += 1;
        for (key, _) in self.finished.drain(..) {
            state.keys.remove(&key);
        }
        Ok(())
    }
}

fn work(done: Done<Vec<f32>>) -> Work {
    let trace = Trace {
        tokens: u32::try_from(done.tokens).unwrap_or(u32::MAX),
        truncated: done.truncated,
        tokenise_ms: milliseconds(done.tokenise),
        queue_ms: milliseconds(done.queue),
        infer_ms: milliseconds(done.infer),
    };
    Work { result: done.result, trace }
}

#[cfg(test)]
mod tests {
    use super::super::Execution;
    use super::*;
    use crate::model::provider::{Precision, Provider};
    use crate::model::registry::{Registry, Role};
    use crate::store::rows::ScoredTask;
    use crate::store::samples;
    use anyhow::anyhow;
    use std::path::Path;
    use std::sync::Arc;

    fn evaluator() -> Evaluator {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
        let registry = Registry::open(&fixtures).expect("registry");
        let execution = Execution {
            provider: Provider::Cpu,
            precision: Precision::F32,
            workers: 1,
            threads: 1,
            batch_size: 4,
            batch_tokens: 64,
        };
        Evaluator::fake(registry.get("tiny_nli", Role::Evaluator).expect("known"), execution).expect("stand-in")
    }

    fn pair(index: usize) -> Pair {
        let task = ScoredTask::from(&samples::task("t"));
        Pair { task: Arc::new(task), model: "m".to_owned(), output: Ok(format!("answer {index}")) }
    }

    #[test]
    fn nothing_is_read_after_an_error_and_the_first_one_is_told() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = WorkStore::open(&directory.path().join("work.redb")).expect("opens");
        let mut read = 0;
        let pairs = (0..1000).map(|index| {
            read += 1;
            if index % 300 == 299 { Err(anyhow!("row {index} is damaged")) } else { Ok(pair(index)) }
        });
        let error = compute(&mut evaluator(), pairs, &store, &Quit::default(), |_| {}).expect_err("fails");
        assert_eq!((error.to_string().as_str(), read), ("row 299 is damaged", 300));
    }

    #[test]
    fn pairs_whose_work_is_there_do_not_hold_up_a_quit_request() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = WorkStore::open(&directory.path().join("work.redb")).expect("opens");
        let quit = Quit::default();
        compute(&mut evaluator(), std::iter::once(Ok(pair(0))), &store, &quit, |_| {}).expect("computes");
        let mut read = 0;
        let pairs = (0..1000).map(|index| {
            read += 1;
            if index == 9 {
                quit.request();
            }
            Ok(pair(0))
        });
        let totals = compute(&mut evaluator(), pairs, &store, &quit, |_| {}).expect("ends");
        assert!(totals.interrupted && totals.rows == 0, "{totals:?}");
        assert_eq!(read, 10);
    }
}
