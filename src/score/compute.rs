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

/// What a pass did.
#[derive(Debug, Clone, Default)]
pub struct Computed {
    /// Pairs that needed work which was not there.
    pub rows: usize,
    /// The executor's account; its rows are pieces of work.
    pub totals: Totals,
}

/// Computes what is missing for the pairs. `progress` is told how many pairs are done, as far as can be said while later
/// ones share their work.
pub fn compute(
    evaluator: &mut Evaluator,
    pairs: impl Iterator<Item = Result<Pair>> + Send,
    store: &WorkStore,
    quit: &Quit,
    mut progress: impl FnMut(usize),
) -> Result<Computed> {
    let identity = evaluator.identity().clone();
    let flight = Flight::default();
    let missing = Missing::new(pairs, &identity, store, &flight)?;
    let mut pending =
        Pending { store, flight: &flight, finished: Vec::new(), written: Instant::now(), synced: Instant::now() };
    let totals = evaluator.compute(missing, quit, |batch| {
        pending.add(batch)?;
        progress(flight.lock().pairs_done());
        Ok(())
    })?;
    pending.write(true)?;
    let mut state = flight.lock();
    match state.error.take() {
        Some(error) => Err(error),
        None => Ok(Computed { rows: state.rows, totals }),
    }
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
    /// Pairs that needed work.
    rows: usize,
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
}

impl<'a, P: Iterator<Item = Result<Pair>>> Missing<'a, P> {
    fn new(pairs: P, identity: &'a Identity, store: &'a WorkStore, flight: &'a Flight) -> Result<Self> {
        Ok(Self { pairs, identity, store, flight, reader: store.read()?, seen: 0, ready: None })
    }

    fn advance(&mut self) -> Result<Option<Job>> {
        loop {
            if let Some(job) = self.ready.take() {
                return Ok(Some(job));
            }
            let Some(pair) = self.pairs.next().transpose()? else { return Ok(None) };
            let mut needed = false;
            let mut first = None;
            // A pair that cannot be scored needs nothing; its row says why.
            if let Ok(pieces) = self.identity.pieces(&pair) {
                for piece in pieces.iter() {
                    let (job, missing) = self.job(piece)?;
                    needed |= missing;
                    match (&first, job) {
                        (None, job) => first = job,
                        (Some(_), job) => self.ready = job,
                    }
                }
            }
            let mut state = self.flight.lock();
            state.pairs += 1;
            state.rows += usize::from(needed);
            drop(state);
            if first.is_some() {
                return Ok(first);
            }
        }
    }

    /// The job for a piece, unless it is stored or on its way; and whether it is not stored.
    fn job(&mut self, piece: Piece<'_>) -> Result<(Option<Job>, bool)> {
        let (flying, writes) = {
            let state = self.flight.lock();
            (state.keys.contains(&piece.key), state.writes)
        };
        if flying {
            return Ok((None, true));
        }
        // Work leaves the flight only after it was written: a reader as new as this moment sees it.
        if self.seen < writes {
            self.reader = self.store.read()?;
            self.seen = writes;
        }
        if self.reader.contains(&piece.key)? {
            return Ok((None, false));
        }
        let mut state = self.flight.lock();
        let index = state.sent;
        state.sent += 1;
        state.keys.insert(piece.key);
        state.by_index.insert(index, piece.key);
        Ok((Some(piece.job(index)), true))
    }
}

impl<P: Iterator<Item = Result<Pair>>> Iterator for Missing<'_, P> {
    type Item = Job;

    fn next(&mut self) -> Option<Job> {
        match self.advance() {
            Ok(job) => job,
            Err(error) => {
                self.flight.lock().error = Some(error);
                None
            }
        }
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
