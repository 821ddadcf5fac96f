//! Continuous batching: a fixed number of decode slots over a bounded KV cache. A row leaves the moment it stops and the
//! next takes its slot; while any slot is free and prompts are left, the next chunk of prompts is read.
//!
//! Prompts are read in the chunks of [`packing`], whatever the slots do, and a decode step computes each
//! row by itself, so the tokens of a row do not depend on the number of slots, on threads or on what was done before a
//! resumption.

use super::outcome::{Answer, Finish, Finished, Totals};
use super::packing::{self, Chunk, Member, Packing};
use super::sampling::{self, Sampler, Sampling};
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

impl Options {
    /// Tokens of a slot whose longest prompt has so many.
    fn capacity(&self, prompt: usize) -> usize {
        (prompt + self.max_new_tokens).next_multiple_of(CAPACITY_STEP).min(self.max_length)
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
        if totals.interrupted {
            break;
        }
        let (class, refused) = Class::new(decoder, class, options);
        flush(refused, &mut totals, &mut emit)?;
        class.run(quit, &mut totals, &mut emit)?;
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

impl<'a> Class<'a> {
    /// Plans the prompts that fit the budget; the others are returned with the reason.
    fn new(decoder: &'a mut Decoder, prompts: Vec<&'a Prompt>, options: &'a Options) -> (Self, Vec<Finished>) {
        let budget = options.kv_bytes / decoder.kv_shape().token_bytes();
        let (prompts, refused): (Vec<&Prompt>, Vec<&Prompt>) =
            prompts.into_iter().partition(|prompt| prompt.ids.len() + options.capacity(prompt.ids.len()) <= budget);
        let refuse = |prompt: &Prompt| {
            let needed = (prompt.ids.len() + options.capacity(prompt.ids.len())) * decoder.kv_shape().token_bytes();
            let error = format!(
                "the KV cache of this row needs {} MB, {} are allowed: raise `generation.kv_cache_mb`, then `poq generate \
                 --retry-failed`",
                needed.div_ceil(1 << 20),
                options.kv_bytes >> 20
            );
            (prompt.index, Err(error))
        };
        let refused = refused.into_iter().filter(|prompt| prompt.wanted).map(refuse).collect();
        let views: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
        let longest = views.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let packing = Packing {
            tokens: options.pass_tokens,
            // A slot has to fit beside what is being read.
            row: options.max_length.min(budget.saturating_sub(options.capacity(longest))),
            prompts: if decoder.packs_prompts() { PROMPTS_PER_PASS } else { 1 },
            share: options.share_prefixes,
        };
        let chunks = packing::plan(&views, packing);
        let needed = packing::needed(&chunks, |prompt| prompts[prompt].wanted);
        let queue = chunks.into_iter().zip(needed).filter_map(|(chunk, needed)| needed.then_some(chunk)).collect();
        (Self { decoder, options, prompts, views, queue }, refused)
    }

    fn run(
        mut self,
        quit: &Quit,
        totals: &mut Totals,
        emit: &mut impl FnMut(Vec<Finished>) -> Result<()>,
    ) -> Result<()> {
        if !self.prompts.iter().any(|prompt| prompt.wanted) {
            return Ok(());
        }
        let (mut trunk, mut slots) = self.allocate()?;
        totals.kv_bytes = totals.kv_bytes.max(trunk.kv().bytes() + slots.kv().bytes());
        let mut live: Vec<Option<Row>> = (0..slots.kv().rows()).map(|_| None).collect();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        let mut last = None;
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
                let read = self.read(&chunk, &mut trunk, last.as_ref(), totals);
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

    /// Buffers within the budget: room for the widest chunk, and as many slots as fit beside it.
    fn allocate(&self) -> Result<(Trunk, Slots)> {
        let longest = self.views.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let capacity = self.options.capacity(longest);
        // A chunk that failed is read again, one prompt at a time.
        let trunk = self.queue.iter().map(|chunk| chunk.width(&self.views)).max().unwrap_or(0).max(longest);
        let budget = self.options.kv_bytes / self.decoder.kv_shape().token_bytes();
        let affordable = budget.saturating_sub(trunk) / capacity;
        ensure!(affordable > 0, "the plan leaves no room for a slot; this is a bug");
        let wanted = self.prompts.iter().filter(|prompt| prompt.wanted).count();
        Ok((self.decoder.trunk(trunk)?, self.decoder.slots(self.options.slots.min(affordable).min(wanted), capacity)?))
    }

    /// Reads a chunk and draws the first token of every wanted row. Rows come with the position of their tokens.
    fn read(&mut self, chunk: &Chunk, trunk: &mut Trunk, last: Option<&Last>, totals: &mut Totals) -> Result<Read> {
        let started = Instant::now();
        if chunk.carried > 0 {
            let beginning = |prompt: usize| self.views[prompt].get(..chunk.carried);
            let last = last.filter(|last| beginning(last.prompt) == beginning(chunk.prompts[0].prompt));
            trunk.keep(&last.context("the prompt before it was not read")?.path.prefix(chunk.carried))?;
        }
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
        let mut spoiled = false;
        for (place, (member, path)) in chunk.prompts.iter().zip(&layout.paths).enumerate() {
            let prompt = self.prompts[member.prompt];
            // What is not a number spreads to everything in its row, hidden or not, and to what goes on from it. So the
            // others are read without it, and the same ones whether its own row is still wanted or not.
            let usable = sampling::all_finite(logits.row(place)?);
            ensure!(usable || chunk.is_alone(), "a prompt of the pass has no usable logits");
            spoiled |= !usable;
            if !prompt.wanted {
                continue;
            }
            let mut sampler = Sampler::new(Arc::clone(&self.options.sampling), prompt.seed, &prompt.ids);
            let token = sampler.next(logits.row(place)?);
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
        let last = chunk.prompts.last().zip(layout.paths.into_iter().last()).filter(|_| !spoiled);
        Ok(Read { rows, last: last.map(|(member, path)| Last { prompt: member.prompt, path }) })
    }

    /// Sorts what a chunk came to: rows that wait for a slot, rows that are through already. Returns its last prompt.
    fn settle(
        &mut self,
        chunk: Chunk,
        read: Result<Read>,
        waiting: &mut VecDeque<Waiting>,
        finished: &mut Vec<Finished>,
        totals: &mut Totals,
    ) -> Option<Last> {
        let Read { rows, last } = match read {
            Ok(read) => read,
            Err(error) if chunk.is_alone() => {
                let prompt = self.prompts[chunk.prompts[0].prompt];
                finished.extend(prompt.wanted.then(|| (prompt.index, Err(format!("{error:#}")))));
                return None;
            }
            Err(_) => {
                self.take_apart(chunk);
                return None;
            }
        };
        for (Waiting { row, path }, token) in rows {
            totals.prompt_tokens += row.prompt_tokens;
            totals.shared_tokens += row.prefix_tokens;
            match self.advance(row, token, 1, totals) {
                Ok(row) => waiting.push_back(Waiting { row, path }),
                Err(ended) => finished.push(*ended),
            }
        }
        last
    }

    /// Puts the wanted prompts of a chunk that failed back into the queue one by one, so that only those fail that cannot be
    /// read, and with them those of the chunks that would go on from it.
    fn take_apart(&mut self, chunk: Chunk) {
        let mut members = chunk.prompts;
        while self.queue.front().is_some_and(|next| next.carried > 0) {
            members.extend(self.queue.pop_front().map(|next| next.prompts).unwrap_or_default());
        }
        for member in members.into_iter().rev().filter(|member| self.prompts[member.prompt].wanted) {
            self.queue.push_front(Chunk { carried: 0, prompts: vec![Member { prompt: member.prompt, shared: 0 }] });
        }
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
            match self.advance(row, token, tokens.len(), totals) {
                Ok(row) => *entry = Some(row),
                Err(ended) => {
                    finished.push(*ended);
                    slots.release(slot)?;
                }
            }
        }
        totals.decode += started.elapsed();
        Ok(())
    }

    /// Adds a token to a row, unless that ends it; `slots` were decoded together.
    fn advance(
        &self,
        mut row: Row,
        token: Result<u32>,
        slots: usize,
        totals: &mut Totals,
    ) -> Result<Row, Box<Finished>> {
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
            slots,
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
