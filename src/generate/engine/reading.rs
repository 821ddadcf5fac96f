//! Prompts into the trunk: a chunk is read, first tokens are drawn, and what cannot be read is taken apart.

use super::{Class, Job, Last, Read, Row, Waiting};
use crate::generate::outcome::{Finished, Totals};
use crate::generate::packing::{Chunk, Member};
use crate::generate::sampling::{self, Sampler};
use crate::model::decoder::{Logits, Trunk};
use crate::model::kv_cache::Path;
use crate::model::out_of_memory::is_out_of_memory;
use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

impl Class<'_, '_> {
    /// Reads a chunk and draws the first token of every wanted row. Rows come with the position of their tokens.
    pub(super) fn read(
        &mut self,
        chunk: &Chunk,
        trunk: &mut Trunk,
        last: Option<&Last>,
        totals: &mut Totals,
    ) -> Result<Read> {
        let started = Instant::now();
        if chunk.carried > 0 {
            let beginning = |prompt: usize| self.views[prompt].get(..chunk.carried);
            let last = last.filter(|last| beginning(last.prompt) == beginning(chunk.prompts[0].prompt));
            trunk.keep(&last.context("the prompt before it was not read")?.path.prefix(chunk.carried))?;
        }
        let (logits, paths) = if self.trunk_rows > 1 {
            self.read_rows(chunk, trunk, totals)?
        } else {
            self.read_packed(chunk, trunk, totals)?
        };
        let mut rows = Vec::with_capacity(chunk.prompts.len());
        let mut spoiled = false;
        for (place, (member, path)) in chunk.prompts.iter().zip(&paths).enumerate() {
            let Job { prompt, wanted } = self.jobs[member.prompt];
            // What is not a number spreads to everything in its row, hidden or not, and to what goes on from it. So the
            // others are read without it, and the same ones whether its own row is still wanted or not.
            let usable = sampling::all_finite(logits.row(place)?);
            ensure!(usable || chunk.is_alone(), "a prompt of the pass has no usable logits");
            spoiled |= !usable;
            if !wanted {
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
            let trunk_row = if self.trunk_rows > 1 { place } else { 0 };
            rows.push((Waiting { row, trunk_row, path: path.clone() }, token));
        }
        totals.prefill += started.elapsed();
        let last = chunk.prompts.last().zip(paths.into_iter().last()).filter(|_| !spoiled);
        Ok(Read { rows, last: last.map(|(member, path)| Last { prompt: member.prompt, path }) })
    }

    /// Several prompts in one row, behind what they share.
    fn read_packed(&mut self, chunk: &Chunk, trunk: &mut Trunk, totals: &mut Totals) -> Result<(Logits, Vec<Path>)> {
        trunk.clear(chunk.lead())?;
        let layout = chunk.layout(&self.views, self.options.pass_tokens);
        let mut logits = None;
        for pass in &layout.passes {
            logits = Some(self.decoder.prefill(trunk, pass)?);
            totals.passes += 1;
            totals.read_tokens += pass.ids.len();
        }
        Ok((logits.context("a chunk without a prompt; this is a bug")?, layout.paths))
    }

    /// Every prompt in a row of its own.
    fn read_rows(&mut self, chunk: &Chunk, trunk: &mut Trunk, totals: &mut Totals) -> Result<(Logits, Vec<Path>)> {
        let prompts: Vec<&[u32]> = chunk.prompts.iter().map(|member| self.views[member.prompt]).collect();
        let logits = self.decoder.prefill_rows(trunk, &prompts)?;
        totals.passes += 1;
        totals.read_tokens += prompts.iter().map(|ids| ids.len()).sum::<usize>();
        Ok((logits, prompts.iter().map(|ids| Path::leading(ids.len())).collect()))
    }

    /// Sorts what a chunk came to: rows that wait for a slot, rows that are through already. Returns its last prompt.
    pub(super) fn settle(
        &mut self,
        chunk: Chunk,
        read: Result<Read>,
        waiting: &mut VecDeque<Waiting>,
        finished: &mut Vec<Finished>,
        totals: &mut Totals,
    ) -> Result<Option<Last>> {
        let Read { rows, last } = match read {
            Ok(read) => read,
            Err(error) if is_out_of_memory(&error) => return Err(error),
            Err(error) if chunk.is_alone() => {
                let Job { prompt, wanted } = self.jobs[chunk.prompts[0].prompt];
                finished.extend(wanted.then(|| (prompt.index, Err(format!("{error:#}")))));
                return Ok(None);
            }
            Err(_) => {
                self.take_apart(chunk);
                return Ok(None);
            }
        };
        for (Waiting { row, trunk_row, path }, token) in rows {
            totals.prompt_tokens += row.prompt_tokens;
            totals.shared_tokens += row.prefix_tokens;
            match self.advance(row, token, 1, totals) {
                Ok(row) => waiting.push_back(Waiting { row, trunk_row, path }),
                Err(ended) => finished.push(*ended),
            }
        }
        Ok(last)
    }

    /// Puts the wanted prompts of a chunk that failed back into the queue one by one, so that only those fail that cannot be
    /// read, and with them those of the chunks that would go on from it.
    fn take_apart(&mut self, chunk: Chunk) {
        let mut members = chunk.prompts;
        while self.queue.front().is_some_and(|next| next.carried > 0) {
            members.extend(self.queue.pop_front().map(|next| next.prompts).unwrap_or_default());
        }
        for member in members.into_iter().rev().filter(|member| self.jobs[member.prompt].wanted) {
            self.queue.push_front(Chunk { carried: 0, prompts: vec![Member { prompt: member.prompt, shared: 0 }] });
        }
    }
}
