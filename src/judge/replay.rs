//! A recording instead of a judge: replies that were stored before, by the hash of the question. Needs no key, no network
//! and no model.

use super::price::{self, Purse};
use super::{Answer, Answered, Ask, Backend, Sink};
use crate::executor::Quit;
use crate::settings::Price;
use crate::store::replies::{self, ReplyRecord};
use anyhow::Result;
use std::collections::HashMap;
use std::path::Path;

/// A recording.
pub struct Replay {
    replies: HashMap<String, ReplyRecord>,
    price: Option<Price>,
    name: String,
}

impl Replay {
    /// Reads a `judge_replies.jsonl`.
    pub fn open(path: &Path, price: Option<Price>) -> Result<Self> {
        Ok(Self { replies: replies::recording(path)?, price, name: path.display().to_string() })
    }
}

impl Backend for Replay {
    fn ask(&mut self, asks: Vec<Ask>, purse: &mut Purse, quit: &Quit, sink: &mut dyn Sink) -> Result<()> {
        for ask in asks {
            if quit.requested() {
                break;
            }
            let found = self.replies.get(&ask.keys.content).and_then(|record| record.reply.clone());
            let cost_usd = found.as_ref().zip(self.price).and_then(|(reply, price)| price::of_reply(price, reply));
            let answer = found.map_or_else(
                || Answer::NotAsked(format!("`{}` holds no reply to this question", self.name)),
                Answer::Reply,
            );
            sink.answered(
                Answered { index: ask.index, answer, attempts: 0, cost_usd, lost_usd: 0.0, replayed: true },
                purse,
            )?;
        }
        Ok(())
    }
}
