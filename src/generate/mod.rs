//! Answers: tasks in, generations out (Section 4.2, answer generation).
//!
//! [`Prompter`] turns tasks into requests, [`Generator`] holds one loaded decoder and answers any number of them; the
//! command layer decides which tasks are still missing and where rows go. Inside, prompts are put together by [`packing`],
//! answered by [`engine`] and drawn from by [`sampling`].

pub mod budget;
pub mod engine;
pub mod outcome;
pub mod packing;
pub mod prompt;
pub mod sampling;

use crate::executor::{Interrupted, Quit, milliseconds};
use crate::model::chat::Message;
use crate::model::decoder::Decoder;
use crate::model::decoder_text::DecoderText;
use crate::model::manifest::Exported;
use crate::model::provider::{Precision, Provider};
use crate::model::registry::{Model, Registry};
use crate::model::session::SessionOptions;
use crate::model::slots::GraphUse;
use crate::settings::Generation;
use crate::store::Fingerprint;
use crate::store::rows::{GenerationRow, TaskRow};
use anyhow::{Result, bail, ensure};
use engine::{Options, Prompt};
use outcome::{Answer, Finished, Totals};
use rayon::prelude::*;
use sampling::Sampling;
use std::sync::Arc;

/// One question to one model, ready to be asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The task asked about.
    pub task_id: String,
    /// Chat-formatted prompt, or why there is none.
    pub prompt: Result<String, String>,
    /// Whether the passage or article was cut so that the prompt fits the model's context.
    pub truncated: bool,
    /// Seed of the row's random stream.
    pub seed: u64,
    /// Hash of everything that determines the answer.
    pub work_key: String,
}

/// Tokenizer, template and settings of one model: what prompts are made of.
pub struct Prompter {
    text: DecoderText,
    settings: Generation,
    model: String,
    model_hash: String,
}

impl Prompter {
    /// Loads the text side of a model; no weights.
    pub fn open(registry: &Registry, model: &Model, settings: &Generation) -> Result<Self> {
        let exported = Exported::open(registry, model)?;
        let text = DecoderText::open(model, &exported, settings.date)?;
        Ok(Self { text, settings: settings.clone(), model: model.key.clone(), model_hash: exported.hash() })
    }

    /// The request for a task. The key leaves out slots, budgets and threads, which must not change an answer.
    pub fn request(&self, task: &TaskRow) -> Result<Request> {
        let rendered = prompt::render(task, &self.settings, &self.text).map_err(|error| format!("{error:#}"));
        let truncated = rendered.as_ref().is_ok_and(|rendered| rendered.truncated);
        let prompt = rendered.map(|rendered| rendered.text);
        let settings = &self.settings;
        let seed = row_seed(settings.seed, &task.task_id, &self.model);
        let mut key = Fingerprint::new("generation")
            .text("model", &self.model_hash)
            .text("task", &task.task_id)
            .value("prompt", &prompt)?
            .value("model_facts", &(&self.text.stop_ids, self.text.max_length))?
            .value("max_new_tokens", &settings.max_new_tokens)?
            .value("sampling", &(settings.temperature, settings.top_p, seed))?;
        if settings.provider != Provider::Cpu {
            key = key.text("provider", settings.provider.name());
        }
        if let Some(others) = settings.other_processors() {
            key = key.value("logits_processors", &others)?;
        }
        Ok(Request { task_id: task.task_id.clone(), prompt, truncated, seed, work_key: key.key() })
    }
}

/// Seed of a row: a hash of run seed, task and model, so that no other row and no order of work changes its answer.
#[must_use]
pub fn row_seed(run_seed: u64, task_id: &str, model: &str) -> u64 {
    Fingerprint::new("row seed").text("run", &run_seed.to_string()).text("task", task_id).text("model", model).number()
}

/// How many rows are decoded together, and in how much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Decode slots.
    pub slots: usize,
    /// Tokens of one prompt pass.
    pub pass_tokens: usize,
    /// Budget of the KV cache in bytes; by default what the decoder's memory allows.
    pub kv_bytes: Option<usize>,
    /// Whether common beginnings of prompts are read once.
    pub share_prefixes: bool,
}

impl Batching {
    /// What the settings say.
    #[must_use]
    pub fn of(settings: &Generation) -> Self {
        Self {
            slots: settings.batch_size,
            pass_tokens: settings.batch_tokens,
            kv_bytes: settings.kv_cache_mb.map(|megabytes| megabytes << 20),
            share_prefixes: settings.share_prefixes,
        }
    }

    /// One row after another, each prompt read whole: what the paper measures (Section 4.3).
    #[must_use]
    pub fn one_by_one(settings: &Generation) -> Self {
        Self { slots: 1, share_prefixes: false, ..Self::of(settings) }
    }
}

/// A loaded decoder with its prompter.
pub struct Generator {
    prompter: Prompter,
    decoder: Decoder,
    /// Free bytes of the GPU, and all it has, right after the weights were loaded; none on the CPU.
    room: Option<(usize, usize)>,
}

impl Generator {
    /// Loads the weights.
    pub fn open(registry: &Registry, model: &Model, prompter: Prompter, threads: usize) -> Result<Self> {
        let provider = prompter.settings.provider;
        let options = SessionOptions {
            threads,
            arena: true,
            provider,
            precision: Precision::F32,
            graphs: prompter.settings.cuda_graphs,
        };
        let decoder = Decoder::open(registry, model, options)?;
        let room = decoder.device_memory()?;
        let (largest, vocabulary) = (prompter.text.tokenizer.largest_id(), decoder.vocabulary());
        ensure!(
            (largest as usize) < vocabulary,
            "model `{}`: its tokenizer knows a token {largest}, its graph only {vocabulary} tokens: they do not belong \
             together\nhint: export the model again",
            model.key
        );
        Ok(Self { prompter, decoder, room })
    }

    /// What came of CUDA graphs; none where none were asked for.
    #[must_use]
    pub fn cuda_graphs(&self) -> Option<GraphUse> {
        self.decoder.cuda_graphs()
    }

    /// Who computes.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.prompter.settings.provider
    }

    /// The text side of the model.
    #[must_use]
    pub fn prompter(&self) -> &Prompter {
        &self.prompter
    }

    /// Answers the wanted requests; rows are handed to `write` as they finish. The others take their place in the plan all
    /// the same, so that a resumed run reads prompts in the company in which an undisturbed one would.
    pub fn answer(
        &mut self,
        requests: &[Request],
        wanted: impl Fn(&Request) -> bool + Sync,
        batching: Batching,
        quit: &Quit,
        mut write: impl FnMut(Vec<GenerationRow>) -> Result<()>,
    ) -> Result<Totals> {
        let prompter = &self.prompter;
        let tokenised: Vec<Result<Vec<u32>, String>> =
            requests.par_iter().map(|request| prompter.tokenise(request)).collect();
        let mut prompts = Vec::with_capacity(requests.len());
        let mut refused = Vec::new();
        let mut lengths = vec![None; requests.len()];
        for (index, (request, ids)) in requests.iter().zip(tokenised).enumerate() {
            let wanted = wanted(request);
            match ids {
                Ok(ids) => {
                    lengths[index] = i32::try_from(ids.len()).ok();
                    prompts.push(Prompt { index, ids, seed: request.seed, wanted });
                }
                Err(error) if wanted => refused.push(prompter.failed(request, None, error)),
                Err(_) => {}
            }
        }
        let failed = refused.len();
        if failed > 0 {
            write(refused)?;
        }
        let room = self.room.map(|(free, _)| free);
        let options = prompter.options(batching, budget::kv_bytes(batching, room, self.decoder.vocabulary()));
        let row = |(index, result): Finished| prompter.row(&requests[index], lengths[index], result);
        let mut totals = engine::run(&mut self.decoder, &prompts, &options, quit, |finished| {
            write(finished.into_iter().map(row).collect())
        })?;
        totals.rows += failed;
        totals.failed += failed;
        Ok(totals)
    }
}

impl Generator {
    /// Answers every request and keeps the rows; one that fails is an error, for what fails is fast.
    pub fn answer_all(
        &mut self,
        requests: &[Request],
        batching: Batching,
        quit: &Quit,
    ) -> Result<(Totals, Vec<GenerationRow>)> {
        let mut rows = Vec::with_capacity(requests.len());
        let keep = |done: Vec<GenerationRow>| {
            rows.extend(done);
            Ok(())
        };
        let totals = self.answer(requests, |_| true, batching, quit, keep)?;
        if totals.interrupted {
            return Err(Interrupted.into());
        }
        if let Some((task, error)) = rows.iter().find_map(|row| Some((&row.task_id, row.error.as_ref()?))) {
            bail!("{} of {} prompts failed, that of task `{task}` with: {error}", totals.failed, totals.rows);
        }
        Ok((totals, rows))
    }
}

impl Prompter {
    /// A conversation of (role, text) as the model reads it, ending where its turn begins. A template that knows no system
    /// message gets its text at the head of the first user message.
    pub fn converse(&self, turns: &[(&str, &str)]) -> Result<String> {
        let messages: Vec<Message> = turns.iter().map(|&(role, content)| Message { role, content }).collect();
        let rendered = self.text.template.render(&messages);
        let [("system", system), ("user", user), rest @ ..] = turns else { return rendered };
        rendered.or_else(|error| {
            let joined = format!("{system}\n\n{user}");
            let first = [Message { role: "user", content: &joined }];
            let rest = rest.iter().map(|&(role, content)| Message { role, content });
            self.text.template.render(&first.into_iter().chain(rest).collect::<Vec<_>>()).map_err(|_| error)
        })
    }

    fn options(&self, batching: Batching, kv_bytes: usize) -> Options {
        let settings = &self.settings;
        Options {
            slots: batching.slots,
            pass_tokens: batching.pass_tokens,
            max_length: self.text.max_length,
            kv_bytes,
            share_prefixes: batching.share_prefixes,
            max_new_tokens: settings.max_new_tokens,
            sampling: Arc::new(Sampling {
                temperature: settings.temperature,
                top_k: settings.top_k,
                top_p: settings.top_p,
                min_p: settings.min_p,
                repetition_penalty: settings.repetition_penalty,
                min_new_tokens: settings.min_new_tokens,
                stop_ids: self.text.stop_ids.as_slice().into(),
            }),
        }
    }

    fn tokenise(&self, request: &Request) -> Result<Vec<u32>, String> {
        let text = request.prompt.as_ref().map_err(Clone::clone)?;
        prompt::tokenise(text, &self.text, &self.settings).map_err(|error| format!("{error:#}"))
    }

    fn row(&self, request: &Request, prompt_tokens: Option<i32>, result: Result<Answer, String>) -> GenerationRow {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return self.failed(request, prompt_tokens, error),
        };
        let output_raw = match self.text.tokenizer.decode(&answer.tokens) {
            Ok(output_raw) => output_raw,
            Err(error) => return self.failed(request, prompt_tokens, format!("{error:#}")),
        };
        GenerationRow {
            output: Some(prompt::clean(&output_raw)),
            output_raw: Some(output_raw),
            output_tokens: i32::try_from(answer.tokens.len()).ok(),
            finish_reason: Some(answer.finish.as_str().to_owned()),
            latency_ms: Some(milliseconds(answer.first_token + answer.decode)),
            first_token_ms: Some(milliseconds(answer.first_token)),
            decode_ms: Some(milliseconds(answer.decode)),
            batch_rows: i32::try_from(answer.slots).ok(),
            prefix_tokens: i32::try_from(answer.prefix_tokens).ok(),
            near_ties: i32::try_from(answer.near_ties).ok(),
            error: None,
            ..self.failed(request, prompt_tokens, String::new())
        }
    }

    fn failed(&self, request: &Request, prompt_tokens: Option<i32>, error: String) -> GenerationRow {
        GenerationRow {
            prompt: request.prompt.clone().ok(),
            prompt_tokens,
            prompt_truncated: request.prompt.is_ok().then_some(request.truncated),
            seed: Some(request.seed),
            error: Some(error),
            ..GenerationRow::unanswered(request.task_id.clone(), self.model.clone(), request.work_key.clone())
        }
    }
}
