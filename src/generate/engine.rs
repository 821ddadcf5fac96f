//! Continuous batching: a fixed number of decode slots over a bounded KV cache. A row leaves the moment it stops and the
//! next takes its slot; while any slot is free and prompts are left, the next chunk of prompts is read.
//!
//! Prompts are read in the chunks of [`packing`], whatever the slots do, and a decode step computes each
//! row by itself, so the tokens of a row do not depend on the number of slots, on threads or on what was done before a
//! resumption.

use super::packing::{self, Chunk, Packing};
use super::sampling::{Sampler, Sampling};
use crate::executor::Quit;
use crate::model::decoder::{Decoder, Slots, Trunk};
use crate::model::kv_cache::Path;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Prompts of one pass, where the graph keeps them apart.
const PROMPTS_PER_PASS: usize = 64;

/// Slots hold a multiple of this many tokens.
const CAPACITY_STEP: usize = 16;

/// A prompt to be answered.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Caller's row number.
    pub index: usize,
    /// Tokens; at least one.
    pub ids: Vec<u32>,
    /// Seed of the row's random stream.
    pub seed: u64,
    /// False for a row that is done already: it only takes its place in the plan.
    pub wanted: bool,
}

/// How prompts are answered.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rows decoded together, at most.
    pub slots: usize,
    /// Tokens of one prompt pass, at most.
    pub pass_tokens: usize,
    /// Context length of the model: tokens that a row can hold.
    pub max_length: usize,
    /// Bytes of keys and values, at most: slots and the prompts being read.
    pub kv_bytes: usize,
    /// Whether common beginnings of prompts are read once.
    pub share_prefixes: bool,
    /// Limit on new tokens.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Arc<Sampling>,
}

/// What a row's generation came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Generated tokens, the stop token left out.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// Prompt tokens that were not read for this row, because the row before it has them too.
    pub prefix_tokens: usize,
    /// From the beginning of the prompt pass to the first token.
    pub first_token: Duration,
    /// From entering a slot to the last token; zero if the first token was the last.
    pub decode: Duration,
    /// Slots that decoded together.
    pub slots: usize,
    /// Greedy choices between two logits closer than [`NEAR_TIE`](super::sampling::NEAR_TIE).
    pub near_ties: usize,
}

/// Why a row stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop token was drawn.
    Stop,
    /// The limit on new tokens was reached.
    Length,
}

impl Finish {
    /// As written in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A row that is through: the caller's number and its answer or why there is none.
pub type Finished = (usize, Result<Answer, String>);

/// What a run of the engine amounted to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Rows that came out, failed ones included.
    pub rows: usize,
    /// Rows that failed.
    pub failed: usize,
    /// Tokens of the answered prompts.
    pub prompt_tokens: usize,
    /// Prompt tokens that were read; shared beginnings count once.
    pub read_tokens: usize,
    /// Tokens generated, stop tokens excluded.
    pub output_tokens: usize,
    /// Prompt passes.
    pub passes: usize,
    /// Decode steps.
    pub steps: usize,
    /// Filled slots, summed over steps.
    pub filled: usize,
    /// All slots, summed over steps.
    pub slots: usize,
    /// Greedy choices that were near ties.
    pub near_ties: usize,
    /// Most bytes of keys and values held at once.
    pub kv_bytes: usize,
    /// Time spent reading prompts.
    pub prefill: Duration,
    /// Time spent in decode steps.
    pub decode: Duration,
    /// Wall time.
    pub elapsed: Duration,
    /// Whether a quit request ended it early.
    pub interrupted: bool,
}

impl Totals {
    /// Share of the slots that held a row.
    #[must_use]
    pub fn slot_use(&self) -> f64 {
        if self.slots == 0 { 0.0 } else { self.filled as f64 / self.slots as f64 }
    }

    /// Share of the prompt tokens that were not read, because another prompt had read them.
    #[must_use]
    pub fn shared(&self) -> f64 {
        if self.prompt_tokens == 0 { 0.0 } else { (1.0 - self.read_tokens as f64 / self.prompt_tokens as f64).max(0.0) }
    }
}

/// Answers the wanted prompts; rows go to `emit` as they end. Prompts of very different lengths are taken apart, longest
/// first, so that one long prompt does not make every slot long.
pub fn run(
    decoder: &mut Decoder,
    prompts: &[Prompt],
    options: &Options,
    quit: &Quit,
    mut emit: impl FnMut(Vec<Finished>) -> Result<()>,
) -> Result<Totals> {
    let started = Instant::now();
    let mut classes: BTreeMap<usize, Vec<&Prompt>> = BTreeMap::new();
    for prompt in prompts {
        classes.entry((prompt.ids.len() + options.max_new_tokens).next_power_of_two()).or_default().push(prompt);
    }
    let mut totals = Totals::default();
    for class in classes.into_values().rev() {
        if class.iter().any(|prompt| prompt.wanted) && !totals.interrupted {
            Class::new(decoder, class, options).run(quit, &mut totals, &mut emit)?;
        }
    }
    totals.elapsed = started.elapsed();
    Ok(totals)
}

/// Prompts of similar length.
struct Class<'a> {
    decoder: &'a mut Decoder,
    options: &'a Options,
    prompts: Vec<&'a Prompt>,
    views: Vec<&'a [u32]>,
    queue: VecDeque<Chunk>,
}

/// A row whose prompt was read.
struct Row {
    index: usize,
    sampler: Sampler,
    tokens: Vec<u32>,
    prompt_tokens: usize,
    prefix_tokens: usize,
    first_token: Duration,
    /// When it entered its slot.
    since: Instant,
}

/// A row that waits in the trunk for a slot.
struct Waiting {
    row: Row,
    path: Path,
}

/// A chunk that was read: its wanted rows with their first tokens, and where its last prompt lies.
struct Read {
    rows: Vec<(Waiting, Result<u32>)>,
    last: Path,
}

impl<'a> Class<'a> {
    fn new(decoder: &'a mut Decoder, prompts: Vec<&'a Prompt>, options: &'a Options) -> Self {
        let views: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
        let packing = Packing {
            tokens: options.pass_tokens,
            row: options.max_length,
            prompts: if decoder.packs_prompts() { PROMPTS_PER_PASS } else { 1 },
            share: options.share_prefixes,
        };
        let chunks = packing::plan(&views, packing);
        let needed = packing::needed(&chunks, |prompt| prompts[prompt].wanted);
        let queue = chunks.into_iter().zip(needed).filter_map(|(chunk, needed)| needed.then_some(chunk)).collect();
        Self { decoder, options, prompts, views, queue }
    }

    fn run(
        mut self,
        quit: &Quit,
        totals: &mut Totals,
        emit: &mut impl FnMut(Vec<Finished>) -> Result<()>,
    ) -> Result<()> {
        let (mut trunk, mut slots) = match self.allocate()? {
            Ok(buffers) => buffers,
            Err(error) => {
                let refused: Vec<Finished> = self.wanted().map(|prompt| (prompt.index, Err(error.clone()))).collect();
                totals.rows += refused.len();
                totals.failed += refused.len();
                return emit(refused);
            }
        };
        totals.kv_bytes = totals.kv_bytes.max(trunk.kv().bytes() + slots.kv().bytes());
        let mut live: Vec<Option<Row>> = (0..slots.kv().rows()).map(|_| None).collect();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        // Where the last prompt lies in the trunk; the next chunk may go on from it.
        let mut last = Path::default();
        loop {
            if quit.requested() {
                totals.interrupted = true;
                return Ok(());
            }
            let mut finished = Vec::new();
            for (slot, entry) in live.iter_mut().enumerate().filter(|(_, entry)| entry.is_none()) {
                let Some(Waiting { mut row, path }) = waiting.pop_front() else { break };
                slots.admit(slot, &trunk, &path)?;
                row.since = Instant::now();
                *entry = Some(row);
            }
            if waiting.is_empty()
                && live.iter().any(Option::is_none)
                && let Some(chunk) = self.queue.pop_front()
            {
                let read = self.read(&chunk, &mut trunk, &last, totals);
                last = self.settle(chunk, read, &mut waiting, &mut finished, totals);
                flush(finished, totals, emit)?;
                continue;
            }
            let filled = live.iter().flatten().count();
            if filled == 0 && waiting.is_empty() {
                return Ok(());
            }
            if self.queue.is_empty() && waiting.is_empty() && filled * 2 <= live.len() {
                let kept: Vec<usize> = (0..live.len()).filter(|&slot| live[slot].is_some()).collect();
                slots = self.decoder.keep_slots(slots, &kept)?;
                live.retain(Option::is_some);
            }
            self.step(&mut slots, &mut live, &mut finished, totals)?;
            flush(finished, totals, emit)?;
        }
    }

    fn wanted(&self) -> impl Iterator<Item = &&'a Prompt> {
        self.prompts.iter().filter(|prompt| prompt.wanted)
    }

    /// Buffers within the budget, or why the prompts of this class cannot be answered.
    fn allocate(&self) -> Result<Result<(Trunk, Slots), String>> {
        let longest = self.prompts.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0);
        let capacity =
            (longest + self.options.max_new_tokens).next_multiple_of(CAPACITY_STEP).min(self.options.max_length);
        let trunk = self.queue.iter().map(|chunk| chunk.width(&self.views)).max().unwrap_or(0);
        // A chunk that failed is read again, one prompt at a time.
        let trunk = trunk.max(longest);
        let token_bytes = self.decoder.kv_shape().token_bytes();
        let affordable = (self.options.kv_bytes / token_bytes).saturating_sub(trunk) / capacity;
        if affordable == 0 {
            let needed = ((trunk + capacity) * token_bytes).div_ceil(1 << 20);
            return Ok(Err(format!(
                "the KV cache of one row needs {needed} MB, {} are allowed; raise `generation.kv_cache_mb`",
                self.options.kv_bytes >> 20
            )));
        }
        let slots = self.options.slots.min(affordable).min(self.wanted().count());
        Ok(Ok((self.decoder.trunk(trunk)?, self.decoder.slots(slots, capacity)?)))
    }

    /// Reads a chunk and draws the first token of every wanted row. Rows come with the position of their tokens.
    fn read(&mut self, chunk: &Chunk, trunk: &mut Trunk, last: &Path, totals: &mut Totals) -> Result<Read> {
        let started = Instant::now();
        ensure!(last.len() >= chunk.carried, "the prompt before it was not read");
        trunk.keep(&last.prefix(chunk.carried))?;
        trunk.clear(chunk.lead())?;
        let layout = chunk.layout(&self.views, self.options.pass_tokens);
        let mut logits = None;
        for pass in &layout.passes {
            logits = Some(self.decoder.prefill(trunk, pass)?);
            totals.passes += 1;
            totals.read_tokens += pass.ids.len();
        }
        let logits = logits.context("a chunk without a prompt; this is a bug")?;
        let mut rows = Vec::with_capacity(chunk.prompts.len());
        for (place, (member, path)) in chunk.prompts.iter().zip(&layout.paths).enumerate() {
            let prompt = self.prompts[member.prompt];
            if !prompt.wanted {
                continue;
            }
            let mut sampler = Sampler::new(Arc::clone(&self.options.sampling), prompt.seed, &prompt.ids);
            let token = sampler.next(logits.row(place)?);
            // What is not a number spreads to everything in its row, hidden or not: the others are read without it.
            ensure!(token.is_ok() || chunk.prompts.len() == 1, "a prompt of the pass has no usable logits");
            let row = Row {
                index: prompt.index,
                sampler,
                tokens: Vec::new(),
                prompt_tokens: prompt.ids.len(),
                prefix_tokens: member.shared,
                first_token: started.elapsed(),
                since: started,
            };
            rows.push((Waiting { row, path: path.clone() }, token));
        }
        totals.prefill += started.elapsed();
        Ok(Read { rows, last: layout.paths.last().cloned().unwrap_or_default() })
    }

    /// Sorts what a chunk came to: rows that wait for a slot, rows that are through already. A chunk that failed is read
    /// again one prompt at a time, so that only those fail that cannot be read. Returns where its last prompt lies.
    fn settle(
        &mut self,
        chunk: Chunk,
        read: Result<Read>,
        waiting: &mut VecDeque<Waiting>,
        finished: &mut Vec<Finished>,
        totals: &mut Totals,
    ) -> Path {
        let Read { rows, last } = match read {
            Ok(read) => read,
            Err(error) => {
                let alone = chunk.prompts.len() == 1 && chunk.carried == 0;
                let wanted: Vec<_> = chunk.prompts.into_iter().filter(|m| self.prompts[m.prompt].wanted).collect();
                for mut member in wanted.into_iter().rev() {
                    if alone {
                        finished.push((self.prompts[member.prompt].index, Err(format!("{error:#}"))));
                    } else {
                        member.shared = 0;
                        self.queue.push_front(Chunk { carried: 0, prompts: vec![member] });
                    }
                }
                return Path::default();
            }
        };
        for (Waiting { row, path }, token) in rows {
            totals.prompt_tokens += row.prompt_tokens;
            match self.advance(row, token, totals) {
                Ok(row) => waiting.push_back(Waiting { row, path }),
                Err(ended) => finished.push(*ended),
            }
        }
        last
    }

    /// One token for every filled slot. If the step fails, so do its rows.
    fn step(
        &mut self,
        slots: &mut Slots,
        live: &mut [Option<Row>],
        finished: &mut Vec<Finished>,
        totals: &mut Totals,
    ) -> Result<()> {
        let started = Instant::now();
        let tokens: Vec<Option<u32>> =
            live.iter().map(|entry| entry.as_ref().and_then(|row| row.tokens.last().copied())).collect();
        let stepped = self.decoder.step(slots, &tokens);
        totals.steps += 1;
        totals.slots += live.len();
        for (slot, entry) in live.iter_mut().enumerate() {
            let Some(mut row) = entry.take() else { continue };
            totals.filled += 1;
            let token = match &stepped {
                Ok(()) => slots.logits(slot).and_then(|logits| row.sampler.next(logits)),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            match self.advance(row, token, totals) {
                Ok(row) => *entry = Some(row),
                Err(mut ended) => {
                    if let Ok(answer) = &mut ended.1 {
                        answer.slots = tokens.len();
                    }
                    finished.push(*ended);
                    slots.release(slot)?;
                }
            }
        }
        totals.decode += started.elapsed();
        Ok(())
    }

    /// Adds a token to a row, unless that ends it.
    fn advance(&self, mut row: Row, token: Result<u32>, totals: &mut Totals) -> Result<Row, Box<Finished>> {
        let finish = match token {
            Err(error) => return Err(Box::new((row.index, Err(format!("{error:#}"))))),
            Ok(token) if self.options.sampling.stop_ids.contains(&token) => Finish::Stop,
            Ok(token) => {
                row.tokens.push(token);
                if row.tokens.len() < self.options.max_new_tokens {
                    return Ok(row);
                }
                Finish::Length
            }
        };
        let near_ties = row.sampler.near_ties();
        totals.output_tokens += row.tokens.len();
        totals.near_ties += near_ties;
        let decoded = row.tokens.len() + usize::from(finish == Finish::Stop) > 1;
        let answer = Answer {
            finish,
            prefix_tokens: row.prefix_tokens,
            first_token: row.first_token,
            decode: if decoded { row.since.elapsed() } else { Duration::ZERO },
            slots: 1,
            near_ties,
            tokens: row.tokens,
        };
        Err(Box::new((row.index, Ok(answer))))
    }
}

/// Hands rows that are through to the caller.
fn flush(
    finished: Vec<Finished>,
    totals: &mut Totals,
    emit: &mut impl FnMut(Vec<Finished>) -> Result<()>,
) -> Result<()> {
    if finished.is_empty() {
        return Ok(());
    }
    totals.rows += finished.len();
    totals.failed += finished.iter().filter(|(_, result)| result.is_err()).count();
    emit(finished)
}
