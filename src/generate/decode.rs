//! The decode loop: a batch of prompts in, token by token, until every row has stopped.

use super::sampling::{Sampler, Sampling};
use crate::executor::{Backend, Ready};
use crate::model::decoder::{Cache, Decoder, Logits};
use crate::settings::Generation;
use anyhow::Result;
use std::time::{Duration, Instant};

/// What a row's generation came to.
#[derive(Debug)]
pub struct Answer {
    /// Generated tokens, the stop token left out.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// From the start of the batch to the row's last token.
    pub latency: Duration,
    /// Rows of the batch.
    pub batch_rows: usize,
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

/// A decoder as the executor's backend.
pub struct DecodeBackend {
    decoder: Decoder,
    sampling: Sampling,
    max_new_tokens: usize,
    stop_ids: Vec<u32>,
    /// Seed of each row, by the caller's row number.
    seeds: Vec<u64>,
}

/// A row that is still being decoded: `place` is its row in the batch, `slot` its row in the cache.
struct Active {
    place: usize,
    sampler: Sampler,
    tokens: Vec<u32>,
}

impl DecodeBackend {
    /// Wraps a loaded decoder.
    #[must_use]
    pub fn new(decoder: Decoder, settings: &Generation, stop_ids: &[u32], seeds: Vec<u64>) -> Self {
        Self {
            decoder,
            sampling: Sampling::new(settings.temperature, settings.top_p),
            max_new_tokens: settings.max_new_tokens,
            stop_ids: stop_ids.to_vec(),
            seeds,
        }
    }

    /// Gives the decoder back.
    #[must_use]
    pub fn into_decoder(self) -> Decoder {
        self.decoder
    }

    /// Draws the next token of every active row. Rows that stop or fail leave their result; the others come back as
    /// the slots to keep.
    fn draw(
        &self,
        active: &mut [Option<Active>],
        logits: &Logits,
        started: Instant,
        results: &mut [Option<Result<Answer>>],
    ) {
        let batch_rows = results.len();
        for (slot, entry) in active.iter_mut().enumerate() {
            let Some(row) = entry else { continue };
            let finish = match row.sampler.next(logits.row(slot)) {
                Err(error) => Err(error),
                Ok(token) if self.stop_ids.contains(&token) => Ok(Finish::Stop),
                Ok(token) => {
                    row.tokens.push(token);
                    if row.tokens.len() < self.max_new_tokens {
                        continue;
                    }
                    Ok(Finish::Length)
                }
            };
            let tokens = std::mem::take(&mut row.tokens);
            let latency = started.elapsed();
            results[row.place] = Some(finish.map(|finish| Answer { tokens, finish, latency, batch_rows }));
            *entry = None;
        }
    }

    /// Drops finished rows from the cache once they are at least half of it: the copy then costs less than computing
    /// dead rows would.
    fn compact(&self, active: &mut Vec<Option<Active>>, cache: Cache) -> Result<Cache> {
        let live: Vec<usize> = (0..active.len()).filter(|&slot| active[slot].is_some()).collect();
        if live.is_empty() || live.len() * 2 > active.len() {
            return Ok(cache);
        }
        let kept = self.decoder.keep_rows(&cache, &live)?;
        active.retain(Option::is_some);
        Ok(kept)
    }
}

impl Backend for DecodeBackend {
    type Output = Answer;

    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<Answer>>> {
        let started = Instant::now();
        let mut results: Vec<Option<Result<Answer>>> = rows.iter().map(|_| None).collect();
        let start = |(place, row): (usize, &Ready)| {
            let sampler = Sampler::new(self.sampling, self.seeds[row.index]);
            Some(Active { place, sampler, tokens: Vec::new() })
        };
        let mut active: Vec<Option<Active>> = rows.iter().enumerate().map(start).collect();
        let prompts: Vec<&[u32]> = rows.iter().map(|row| row.encoding.ids.as_slice()).collect();
        let (mut logits, mut cache) = self.decoder.prefill(&prompts)?;
        loop {
            self.draw(&mut active, &logits, started, &mut results);
            if active.iter().all(Option::is_none) {
                break;
            }
            cache = self.compact(&mut active, cache)?;
            // Dead rows decode an arbitrary token until they are dropped; rows do not see each other.
            let last = |entry: &Option<Active>| entry.as_ref().and_then(|row| row.tokens.last().copied()).unwrap_or(0);
            let tokens: Vec<u32> = active.iter().map(last).collect();
            (logits, cache) = self.decoder.step(&tokens, cache)?;
        }
        Ok(results.into_iter().map(|result| result.expect("every row ends; this is a bug")).collect())
    }
}
