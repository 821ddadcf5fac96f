//! Rows in slots: one token after another, until a row ends.

use super::{Class, Row};
use crate::generate::outcome::{Answer, Finish, Finished, Totals};
use crate::model::out_of_memory::is_out_of_memory;
use crate::model::slots::Slots;
use anyhow::Result;
use rayon::prelude::*;
use std::time::{Duration, Instant};

impl Class<'_, '_> {
    /// One token for every filled slot. If the step fails, so do its rows, unless for want of memory; false says so.
    pub(super) fn step(
        &mut self,
        slots: &mut Slots,
        live: &mut [Option<Row>],
        finished: &mut Vec<Finished>,
        totals: &mut Totals,
    ) -> Result<bool> {
        let started = Instant::now();
        let tokens: Vec<Option<u32>> =
            live.iter().map(|entry| entry.as_ref().and_then(|row| row.tokens.last().copied())).collect();
        let stepped = self.decoder.step(slots, &tokens);
        if let Err(error) = stepped {
            if is_out_of_memory(&error) {
                return Err(error);
            }
            let fail = |row: Row| (row.index, Err(format!("{error:#}")));
            finished.extend(live.iter_mut().filter_map(Option::take).map(fail));
            return Ok(false);
        }
        totals.steps += 1;
        totals.slots += live.len();
        let drawn = self.draw(slots, live)?;
        for ((slot, entry), token) in live.iter_mut().enumerate().zip(drawn) {
            let (Some(row), Some(token)) = (entry.take(), token) else { continue };
            totals.filled += 1;
            match self.advance(row, token, tokens.len(), totals) {
                Ok(row) => *entry = Some(row),
                Err(ended) => {
                    finished.push(*ended);
                    slots.release(slot);
                }
            }
        }
        totals.decode += started.elapsed();
        Ok(true)
    }

    /// The next token of every row, from its slot's logits. While a GPU computes, the host's cores have nothing else to do:
    /// they draw side by side. ONNX Runtime's own threads would stand in their way on a CPU.
    fn draw(&self, slots: &Slots, live: &mut [Option<Row>]) -> Result<Vec<Option<Result<u32>>>> {
        let (logits, vocabulary) = (slots.all_logits()?, self.decoder.vocabulary());
        let next = |(entry, logits): (&mut Option<Row>, &[f32])| entry.as_mut().map(|row| row.sampler.next(logits));
        Ok(if self.decoder.on_device() {
            live.par_iter_mut().zip(logits.par_chunks_exact(vocabulary)).map(next).collect()
        } else {
            live.iter_mut().zip(logits.chunks_exact(vocabulary)).map(next).collect()
        })
    }

    /// Adds a token to a row, unless that ends it; `slots` were decoded together.
    pub(super) fn advance(
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
