//! Answers: tasks in, generations out (Section 4.2, answer generation).
//!
//! [`Generator`] holds one loaded decoder and answers any number of tasks; the command layer decides which tasks are
//! still missing and where rows go.

pub mod decode;
pub mod prompt;
pub mod sampling;

use crate::executor::{self, Done, Job, Limits, Quit, Totals, milliseconds};
use crate::model::decoder::{Decoder, DecoderText};
use crate::model::manifest::Exported;
use crate::model::registry::{Model, Registry};
use crate::model::session::SessionOptions;
use crate::settings::Generation;
use crate::store::Fingerprint;
use crate::store::rows::{GenerationRow, TaskRow};
use anyhow::{Context, Result};
use decode::{Answer, DecodeBackend};
use prompt::PromptTokeniser;

/// One question to one model, ready to be asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The task asked about.
    pub task_id: String,
    /// Chat-formatted prompt, or why there is none.
    pub prompt: Result<String, String>,
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
        let text = DecoderText::open(model, &exported)?;
        Ok(Self { text, settings: settings.clone(), model: model.key.clone(), model_hash: exported.hash() })
    }

    /// The request for a task. The key leaves out batch sizes and threads, which must not change an answer.
    pub fn request(&self, task: &TaskRow) -> Result<Request> {
        let prompt = prompt::render(task, &self.settings, &self.text.template).map_err(|error| format!("{error:#}"));
        let seed = row_seed(self.settings.seed, &task.task_id, &self.model);
        let work_key = Fingerprint::new("generation")
            .text("model", &self.model_hash)
            .text("task", &task.task_id)
            .value("prompt", &prompt)?
            .value("model_facts", &(&self.text.stop_ids, self.text.max_length))?
            .value("max_new_tokens", &self.settings.max_new_tokens)?
            .value("sampling", &(self.settings.temperature, self.settings.top_p, seed))?
            .key();
        Ok(Request { task_id: task.task_id.clone(), prompt, seed, work_key })
    }
}

/// Seed of a row: a hash of run seed, task and model, so that no other row and no order of work changes its answer.
#[must_use]
pub fn row_seed(run_seed: u64, task_id: &str, model: &str) -> u64 {
    Fingerprint::new("row seed").text("run", &run_seed.to_string()).text("task", task_id).text("model", model).number()
}

/// A loaded decoder with its prompter.
pub struct Generator {
    prompter: Prompter,
    /// Moves into the executor's backend for the time of a call.
    decoder: Option<Decoder>,
}

impl Generator {
    /// Loads the weights.
    pub fn open(registry: &Registry, model: &Model, prompter: Prompter, threads: usize) -> Result<Self> {
        let decoder = Decoder::open(registry, model, SessionOptions::cpu(threads, true))?;
        Ok(Self { prompter, decoder: Some(decoder) })
    }

    /// Answers the wanted requests in batches of at most `batch_size` rows; rows are handed to `write` as they finish.
    /// The others shape the batches all the same, so that a resumed run computes what an undisturbed one would.
    pub fn answer(
        &mut self,
        requests: &[Request],
        wanted: impl Fn(&Request) -> bool,
        batch_size: usize,
        quit: &Quit,
        mut write: impl FnMut(Vec<GenerationRow>) -> Result<()>,
    ) -> Result<Totals> {
        let settings = self.prompter.settings.clone();
        let mut ready = Vec::with_capacity(requests.len());
        let mut refused = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            match &request.prompt {
                Ok(prompt) => {
                    let text = executor::job::Text::One(prompt.clone());
                    ready.push(Job { index, text, wanted: wanted(request) });
                }
                Err(error) if wanted(request) => {
                    refused.push(failed_row(request, &self.prompter.model, error.clone()));
                }
                Err(_) => {}
            }
        }
        let failed = refused.len();
        if failed > 0 {
            write(refused)?;
        }
        let decoder = self.decoder.take().context("the decoder was not put back after the last call; this is a bug")?;
        let seeds: Vec<u64> = requests.iter().map(|request| request.seed).collect();
        let mut backends = [DecodeBackend::new(decoder, &settings, &self.prompter.text.stop_ids, seeds)];
        let tokeniser = PromptTokeniser { text: &self.prompter.text, max_new_tokens: settings.max_new_tokens };
        let limits = Limits::new(batch_size, settings.batch_tokens);
        let outcome = executor::run(ready.into_iter(), &tokeniser, &mut backends, limits, quit, |done| {
            write(done.into_iter().map(|done| self.prompter.row(&requests[done.index], done)).collect())
        });
        let [backend] = backends;
        self.decoder = Some(backend.into_decoder());
        let mut totals = outcome?;
        totals.rows += failed;
        totals.failed += failed;
        Ok(totals)
    }
}

impl Prompter {
    fn row(&self, request: &Request, done: Done<Answer>) -> GenerationRow {
        let prompt_tokens = i32::try_from(done.tokens).ok().filter(|&tokens| tokens > 0);
        let answer = match done.result {
            Ok(answer) => answer,
            Err(error) => return GenerationRow { prompt_tokens, ..failed_row(request, &self.model, error) },
        };
        match self.text.tokenizer.decode(&answer.tokens) {
            Ok(output_raw) => GenerationRow {
                prompt_tokens,
                output: Some(prompt::clean(&output_raw)),
                output_raw: Some(output_raw),
                output_tokens: i32::try_from(answer.tokens.len()).ok(),
                finish_reason: Some(answer.finish.as_str().to_owned()),
                latency_ms: Some(milliseconds(answer.latency)),
                batch_rows: i32::try_from(answer.batch_rows).ok(),
                error: None,
                ..failed_row(request, &self.model, String::new())
            },
            Err(error) => failed_row(request, &self.model, format!("{error:#}")),
        }
    }
}

fn failed_row(request: &Request, model: &str, error: String) -> GenerationRow {
    GenerationRow {
        task_id: request.task_id.clone(),
        model: model.to_owned(),
        prompt: request.prompt.clone().ok(),
        output_raw: None,
        output: None,
        prompt_tokens: None,
        output_tokens: None,
        finish_reason: None,
        latency_ms: None,
        batch_rows: None,
        seed: Some(request.seed),
        error: Some(error),
        work_key: request.work_key.clone(),
    }
}
