//! A judge that poq runs itself: any decoder of the registry, asked the same questions as a server and heard by the same
//! parser. What its grades are worth is for the checks to say.

use super::conversation::Conversation;
use super::price::Purse;
use super::{Answer, Answered, Ask, Backend, Sink, Who};
use crate::executor::Quit;
use crate::generate::{Batching, Generator, Prompter, Request};
use crate::model::manifest::Exported;
use crate::model::registry::{Model, Registry};
use crate::settings::{Generation, Judge};
use crate::store::Fingerprint;
use crate::store::replies::Reply;
use crate::store::rows::GenerationRow;
use anyhow::Result;
use std::collections::HashMap;

/// A loaded judge.
pub struct Local {
    generator: Generator,
    generation: Generation,
    seed: u64,
}

/// Who a local judge is: its files and the way it draws tokens.
pub fn who(registry: &Registry, model: &Model, settings: &Judge) -> Result<Who> {
    let exported = Exported::open(registry, model)?;
    let place = Fingerprint::new("local judge")
        .text("files", &exported.hash())
        .text("seed", &if settings.temperature == 0.0 { String::new() } else { settings.seed.to_string() })
        .key();
    Ok(Who::new(settings, format!("local {place}")))
}

impl Local {
    /// Loads the model. Slots and budgets are those of the run's generation.
    pub fn open(
        registry: &Registry,
        model: &Model,
        settings: &Judge,
        generation: &Generation,
        threads: usize,
    ) -> Result<Self> {
        let generation = Generation {
            models: Vec::new(),
            max_new_tokens: settings.max_output_tokens,
            min_new_tokens: 0,
            temperature: settings.temperature,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: settings.seed,
            ..generation.clone()
        };
        let prompter = Prompter::open(registry, model, &generation)?;
        Ok(Self { generator: Generator::open(registry, model, prompter, threads)?, generation, seed: settings.seed })
    }

    fn request(&self, ask: &Ask) -> Request {
        let prompt =
            self.generator.prompter().converse(&turns(&ask.conversation)).map_err(|error| format!("{error:#}"));
        let seed =
            Fingerprint::new("judge seed").text("run", &self.seed.to_string()).text("key", &ask.keys.key).number();
        Request { task_id: ask.index.to_string(), prompt, truncated: false, seed, work_key: ask.keys.key.clone() }
    }
}

impl Backend for Local {
    fn ask(&mut self, asks: Vec<Ask>, purse: &mut Purse, quit: &Quit, sink: &mut dyn Sink) -> Result<()> {
        let requests: Vec<Request> = asks.iter().map(|ask| self.request(ask)).collect();
        let places: HashMap<&str, usize> = asks.iter().map(|ask| (ask.keys.key.as_str(), ask.index)).collect();
        let batching = Batching::of(&self.generation);
        self.generator.answer(
            &requests,
            |_| true,
            batching,
            quit,
            |rows| {
                for row in rows {
                    let index = places[row.work_key.as_str()];
                    sink.answered(answered(index, row), purse)?;
                }
                Ok(())
            },
        )?;
        Ok(())
    }
}

fn turns(conversation: &Conversation) -> Vec<(&str, &str)> {
    conversation.0.iter().map(|turn| (turn.role, turn.content.as_str())).collect()
}

fn answered(index: usize, row: GenerationRow) -> Answered {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok());
    let answer = match (row.error, row.output_raw) {
        (None, Some(text)) => Answer::Reply(Reply {
            text,
            refusal: None,
            finish_reason: row.finish_reason,
            input_tokens: count(row.prompt_tokens),
            cached_tokens: count(row.prefix_tokens),
            output_tokens: count(row.output_tokens),
            latency_ms: row.latency_ms,
        }),
        (error, _) => Answer::Failed(error.unwrap_or_else(|| "the judge wrote nothing".to_owned())),
    };
    Answered { index, answer, attempts: 1, cost_usd: Some(0.0), lost_usd: 0.0, replayed: false }
}
