//! Continuous batching: a fixed number of decode slots over a bounded KV cache. A row leaves the moment it stops and the
//! next takes its slot; while any slot is free and prompts are left, the next chunk of prompts is read.
//!
//! Prompts are read in the chunks of [`packing`], whatever the slots do, and a decode step computes each
//! row by itself, so the tokens of a row do not depend on the number of slots, on threads or on what was done before a
//! resumption.

mod decoding;
mod reading;

use super::outcome::{Finished, Totals};
use super::packing::{self, Chunk, Packing};
use super::sampling::{Sampler, Sampling};
use crate::executor::Quit;
use crate::model::decoder::Decoder;
use crate::model::kv_cache::Path;
use crate::model::out_of_memory::is_out_of_memory;
use crate::model::slots::Slots;
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Prompts of one pass, where the graph keeps them apart.
const PROMPTS_PER_PASS: usize = 64;

/// Tokens of a prompt pass that memory running out does not lower.
const LEAST_PASS_TOKENS: usize = 16;

/// Part of the budget that prompts being read may take, where one alone does not need more: the rest is for slots, without which
/// what was read waits.
const READING_SHARE: usize = 4;

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

impl Options {
    /// Tokens of a slot whose longest prompt has so many.
    fn capacity(&self, prompt: usize) -> usize {
        (prompt + self.max_new_tokens).next_multiple_of(CAPACITY_STEP).min(self.max_length)
    }
}

/// Answers the wanted prompts; rows go to `emit` as they end. Prompts of very different lengths are taken apart, longest
/// first, so that one long prompt does not make every slot long.
///
/// Where memory runs out, the budget is halved (and the prompt pass with it), and what is not answered yet begins again: a
/// row's draws depend on its seed alone, so it comes to the answer that it was coming to, but for the rounding of other
/// company. A row that finds no room even alone fails.
pub fn run(
    decoder: &mut Decoder,
    prompts: &[Prompt],
    options: &Options,
    quit: &Quit,
    mut emit: impl FnMut(Vec<Finished>) -> Result<()>,
) -> Result<Totals> {
    let started = Instant::now();
    let mut classes: BTreeMap<usize, Vec<Job>> = BTreeMap::new();
    for prompt in prompts {
        let class = (prompt.ids.len() + options.max_new_tokens).next_power_of_two();
        classes.entry(class).or_default().push(Job { prompt, wanted: prompt.wanted });
    }
    let (mut options, pass_tokens) = (options.clone(), options.pass_tokens);
    let mut totals = Totals::default();
    for jobs in classes.into_values().rev() {
        let mut left = jobs;
        // Fewer tokens in a pass are for prompts as long as these.
        options.pass_tokens = pass_tokens;
        while !totals.interrupted && left.iter().any(|job| job.wanted) {
            let (mut class, refused) = Class::new(decoder, left, &options, totals.shrunk_to.is_some());
            flush(refused, &mut totals, &mut emit)?;
            let (used, least) = (class.planned_bytes(), class.least_bytes());
            match class.run(quit, &mut totals, &mut emit) {
                Err(error) if is_out_of_memory(&error) => {
                    left = class.unanswered();
                    // While there is more than the cache to save on, it stays large enough for the longest row.
                    let least = if options.pass_tokens > LEAST_PASS_TOKENS { least.min(options.kv_bytes) } else { 0 };
                    options.kv_bytes = (options.kv_bytes.min(used) / 2).max(least);
                    options.pass_tokens = (options.pass_tokens / 2).max(LEAST_PASS_TOKENS);
                    totals.shrunk_to = Some(options.kv_bytes);
                }
                ran => {
                    ran?;
                    break;
                }
            }
        }
    }
    totals.elapsed = started.elapsed();
    Ok(totals)
}

/// A prompt and whether its answer is still to come.
#[derive(Clone, Copy)]
struct Job<'p> {
    prompt: &'p Prompt,
    wanted: bool,
}

/// Prompts of similar length.
struct Class<'a, 'p> {
    decoder: &'a mut Decoder,
    options: &'a Options,
    jobs: Vec<Job<'p>>,
    views: Vec<&'p [u32]>,
    queue: VecDeque<Chunk>,
    /// Rows of the trunk; where there are several, each prompt of a chunk has one.
    trunk_rows: usize,
    /// Rows that are through, by the caller's number.
    done: HashSet<usize>,
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

/// Sizes of the buffers of a class, in tokens and rows.
struct Plan {
    /// Of one row of the trunk.
    trunk: usize,
    rows: usize,
    capacity: usize,
}

/// A row that waits in the trunk for a slot.
struct Waiting {
    row: Row,
    trunk_row: usize,
    path: Path,
}

/// A chunk that was read: its wanted rows with their first tokens, and its last prompt.
struct Read {
    rows: Vec<(Waiting, Result<u32>)>,
    last: Option<Last>,
}

/// The prompt that lies in the trunk, from which the next chunk may go on.
struct Last {
    prompt: usize,
    path: Path,
}

impl<'a, 'p> Class<'a, 'p> {
    /// Plans the prompts that fit the budget; the others are returned with the reason, which is another one where memory
    /// `ran_out` and made the budget what it is.
    fn new(decoder: &'a mut Decoder, jobs: Vec<Job<'p>>, options: &'a Options, ran_out: bool) -> (Self, Vec<Finished>) {
        let budget = options.kv_bytes / decoder.kv_shape().token_bytes();
        let tokens = |job: &Job| job.prompt.ids.len() + options.capacity(job.prompt.ids.len());
        let (jobs, refused): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| tokens(job) <= budget);
        let refuse = |job: Job| {
            let needed = (tokens(&job) * decoder.kv_shape().token_bytes()).div_ceil(1 << 20);
            let error = if ran_out {
                format!(
                    "out of memory: the KV cache of this row needs {needed} MB, and memory ran out with a budget of twice {} MB: \
                     free memory, lower `generation.batch_tokens` or `generation.max_new_tokens`, then `poq generate \
                     --retry-failed`",
                    options.kv_bytes >> 20
                )
            } else {
                format!(
                    "the KV cache of this row needs {needed} MB, {} are allowed: raise `generation.kv_cache_mb` or, on a GPU \
                     where it is not given, free memory; then `poq generate --retry-failed`",
                    options.kv_bytes >> 20
                )
            };
            (job.prompt.index, Err(error))
        };
        let refused = refused.into_iter().filter(|job| job.wanted).map(refuse).collect();
        let views: Vec<&[u32]> = jobs.iter().map(|job| job.prompt.ids.as_slice()).collect();
        let longest = views.iter().map(|ids| ids.len()).max().unwrap_or(0);
        // A slot has to fit beside it.
        let reading = (budget / READING_SHARE).max(longest).min(budget.saturating_sub(options.capacity(longest)));
        let packing = Packing {
            tokens: options.pass_tokens,
            row: options.max_length.min(reading),
            prompts: if decoder.packs_prompts() { PROMPTS_PER_PASS } else { 1 },
            share: options.share_prefixes,
        };
        let trunk_rows = if decoder.reads_rows() {
            (options.pass_tokens.min(reading) / longest.max(1)).min(PROMPTS_PER_PASS).min(views.len()).max(1)
        } else {
            1
        };
        let chunks =
            if trunk_rows > 1 { packing::plan_rows(&views, trunk_rows) } else { packing::plan(&views, packing) };
        let needed = packing::needed(&chunks, |prompt| jobs[prompt].wanted);
        let queue = chunks.into_iter().zip(needed).filter_map(|(chunk, needed)| needed.then_some(chunk)).collect();
        (Self { decoder, options, jobs, views, queue, trunk_rows, done: HashSet::new() }, refused)
    }

    /// The jobs again, those wanted that no answer was handed out for.
    fn unanswered(self) -> Vec<Job<'p>> {
        let done = self.done;
        self.jobs
            .into_iter()
            .map(|job| Job { wanted: job.wanted && !done.contains(&job.prompt.index), ..job })
            .collect()
    }

    /// Answers them. An error ends it; memory that ran out leaves the rest to be answered with less.
    fn run(
        &mut self,
        quit: &Quit,
        totals: &mut Totals,
        emit: &mut impl FnMut(Vec<Finished>) -> Result<()>,
    ) -> Result<()> {
        if !self.jobs.iter().any(|job| job.wanted) {
            return Ok(());
        }
        let mut live: Vec<Option<Row>> = Vec::new();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let ran = self.work(quit, &mut live, &mut waiting, totals, emit);
        if ran.as_ref().is_err_and(is_out_of_memory) {
            // They are read again, and counted then.
            for row in live.into_iter().flatten().chain(waiting.into_iter().map(|waiting| waiting.row)) {
                totals.prompt_tokens -= row.prompt_tokens;
                totals.shared_tokens -= row.prefix_tokens;
            }
        }
        ran
    }

    /// Reads prompts into free slots and decodes what is in them, until nothing is left.
    fn work(
        &mut self,
        quit: &Quit,
        live: &mut Vec<Option<Row>>,
        waiting: &mut VecDeque<Waiting>,
        totals: &mut Totals,
        emit: &mut impl FnMut(Vec<Finished>) -> Result<()>,
    ) -> Result<()> {
        let plan = self.plan()?;
        let mut trunk = self.decoder.trunk_of(self.trunk_rows, plan.trunk)?;
        live.resize_with(plan.rows, || None);
        // Made when the first prompts are read: by then a GPU has back what the slots of other prompts took.
        let mut made: Option<Slots> = None;
        let mut last = None;
        loop {
            if quit.requested() {
                totals.interrupted = true;
                return Ok(());
            }
            let mut finished = Vec::new();
            if made.is_none() && !waiting.is_empty() {
                let slots = self.decoder.slots(plan.rows, plan.capacity)?;
                totals.kv_bytes = totals.kv_bytes.max(trunk.kv().bytes() + slots.kv().bytes());
                made = Some(slots);
            }
            for (slot, entry) in live.iter_mut().enumerate().filter(|(_, entry)| entry.is_none()) {
                let (Some(slots), Some(Waiting { mut row, trunk_row, path })) = (made.as_mut(), waiting.pop_front())
                else {
                    break;
                };
                slots.admit_row(slot, &trunk, trunk_row, &path)?;
                row.since = Instant::now();
                *entry = Some(row);
            }
            if waiting.is_empty()
                && live.iter().any(Option::is_none)
                && let Some(chunk) = self.queue.pop_front()
            {
                let read = self.read(&chunk, &mut trunk, last.as_ref(), totals);
                last = self.settle(chunk, read, waiting, &mut finished, totals)?;
                self.flush(finished, totals, emit)?;
                continue;
            }
            let filled = live.iter().flatten().count();
            if filled == 0 && waiting.is_empty() {
                return Ok(());
            }
            let mut slots = made.take().context("rows without slots; this is a bug")?;
            if self.queue.is_empty() && waiting.is_empty() && filled * 2 <= live.len() {
                let kept: Vec<usize> = (0..live.len()).filter(|&slot| live[slot].is_some()).collect();
                slots = self.decoder.keep_slots(slots, &kept)?;
                live.retain(Option::is_some);
            }
            // Slots of a step that failed are not used again.
            made = self.step(&mut slots, live, &mut finished, totals)?.then_some(slots);
            self.flush(finished, totals, emit)?;
        }
    }

    /// Bytes of the buffers that it works with.
    fn planned_bytes(&self) -> usize {
        let tokens = self.plan().map_or(0, |plan| self.trunk_rows * plan.trunk + plan.rows * plan.capacity);
        tokens * self.decoder.kv_shape().token_bytes()
    }

    /// Bytes of keys and values that the longest row needs alone.
    fn least_bytes(&self) -> usize {
        let wanted = self.jobs.iter().filter(|job| job.wanted);
        let tokens = wanted.map(|job| job.prompt.ids.len() + self.options.capacity(job.prompt.ids.len())).max();
        tokens.unwrap_or(0) * self.decoder.kv_shape().token_bytes()
    }

    /// Buffers within the budget: room for the widest chunk, and as many slots as fit beside it.
    fn plan(&self) -> Result<Plan> {
        let longest = self.views.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let capacity = self.options.capacity(longest);
        // A chunk that failed is read again, one prompt at a time.
        let packed = self.queue.iter().map(|chunk| chunk.width(&self.views)).max().unwrap_or(0).max(longest);
        let trunk = if self.trunk_rows > 1 { longest } else { packed };
        let budget = self.options.kv_bytes / self.decoder.kv_shape().token_bytes();
        let affordable = budget.saturating_sub(self.trunk_rows * trunk) / capacity;
        ensure!(affordable > 0, "the plan leaves no room for a slot; this is a bug");
        let wanted = self.jobs.iter().filter(|job| job.wanted).count();
        Ok(Plan { trunk, rows: self.options.slots.min(affordable).min(wanted), capacity })
    }

    /// Hands rows that are through to the caller.
    fn flush(
        &mut self,
        finished: Vec<Finished>,
        totals: &mut Totals,
        emit: &mut impl FnMut(Vec<Finished>) -> Result<()>,
    ) -> Result<()> {
        self.done.extend(finished.iter().map(|(index, _)| *index));
        flush(finished, totals, emit)
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

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
