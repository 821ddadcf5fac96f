//! The settings of an experiment: what `experiments/*.toml` may say, each field with its default and its reason.
//! `run.json` stores them resolved; stage commands read them from there.

mod judge;
pub mod mechanism;
pub mod paths;
mod scoring;
mod signals;
mod simulation;

pub use judge::{Backend, Checks, Judge, Price, Second, check_url};
pub use scoring::{F1References, Scope, Scoring};
pub use signals::{Cascade, Reference, Signals, Verdict, Weights};
pub use simulation::{EvaluatorsPerRound, RoundLog, Simulation};

use crate::model::chat::Clock;
use crate::model::provider::Provider;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A whole experiment file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the run directory under `results/`, unless `--run` says otherwise.
    pub name: String,
    /// Share of failed rows in any table above which a command ends with exit code 1.
    #[serde(default = "default_max_failed_share")]
    pub max_failed_share: f64,
    /// Which prompts are answered.
    #[serde(default)]
    pub data: Data,
    /// Who answers, and how.
    #[serde(default)]
    pub generation: Generation,
    /// Who judges, and how scores are scaled.
    #[serde(default)]
    pub scoring: Scoring,
    /// Which LLM grades answers.
    #[serde(default)]
    pub judge: Judge,
    /// How costs are measured.
    #[serde(default)]
    pub profile: Profile,
    /// Which quality signals are weighed, and how.
    #[serde(default)]
    pub signals: Signals,
    /// The mechanism and its simulation.
    #[serde(default)]
    pub simulation: Simulation,
}

fn default_max_failed_share() -> f64 {
    0.05
}

/// An experiment file, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// What it asks for, defaults filled in.
    pub settings: Settings,
    /// What it says itself, for the record.
    pub passed: serde_json::Value,
}

/// Sampling of the corpus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// Seed of the sample without replacement.
    pub seed: u64,
    /// Data sets, in order.
    pub sets: Vec<DataSet>,
}

impl Default for Data {
    fn default() -> Self {
        Self { seed: 42, sets: Vec::new() }
    }
}

/// One data set of the registry and how much of it to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// Key in `datasets/registry.toml`.
    pub dataset: String,
    /// Records to sample; all of them when absent.
    pub sample: Option<usize>,
}

/// Decoding (Section 4.1: one configuration for every inference node).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Generation {
    /// Node keys of the F nodes.
    pub models: Vec<String>,
    /// Who computes: `cpu`, or `cuda` in the half precision that the registry names for each model.
    pub provider: Provider,
    /// Limit on new tokens.
    pub max_new_tokens: usize,
    /// 0 means greedy.
    pub temperature: f64,
    /// Nucleus mass; 1 keeps every token.
    pub top_p: f64,
    /// The k most likely tokens stay; 0 keeps every token.
    pub top_k: usize,
    /// Tokens at least this likely, relative to the most likely one, stay; 0 keeps every token.
    pub min_p: f64,
    /// Above 1, tokens that the prompt or the answer has already become less likely; 1 leaves them alone.
    pub repetition_penalty: f64,
    /// An answer does not end before it has this many tokens.
    pub min_new_tokens: usize,
    /// Run seed; each row's stream is a hash of it, the task and the model.
    pub seed: u64,
    /// Rows decoded together, as far as the KV cache allows it.
    pub batch_size: usize,
    /// Prompt tokens read in one pass.
    pub batch_tokens: usize,
    /// Budget of the KV cache in MiB: the rows being decoded and the prompts being read. When absent: 2048 on the CPU; on a
    /// GPU what is free there once the model is loaded, less what computing takes.
    pub kv_cache_mb: Option<usize>,
    /// Whether the decode steps of a GPU are captured and replayed as CUDA graphs, which spares launching their kernels one by
    /// one. A graph whose replays do not give the logits of the step that was captured, and of the next one, is not used. Off by
    /// default: it was never measured on a card.
    pub cuda_graphs: bool,
    /// Whether beginnings that prompts have in common are read once.
    pub share_prefixes: bool,
    /// The day that a chat template is told when it asks for today's date; never the real one, for prompts must not change
    /// from day to day.
    pub date: Option<Clock>,
    /// Instruction for question answering; `{question}`, `{context}` and `{input}` are filled in.
    pub qa_prompt: String,
    /// Instruction for summarisation; `{context}` and `{input}` are filled in.
    pub summarization_prompt: String,
}

impl Default for Generation {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            provider: Provider::Cpu,
            max_new_tokens: 128,
            temperature: 0.7,
            top_p: 0.9,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            min_new_tokens: 0,
            seed: 42,
            batch_size: 32,
            batch_tokens: 512,
            kv_cache_mb: None,
            cuda_graphs: false,
            share_prefixes: true,
            date: None,
            qa_prompt: "Answer the question with a short phrase taken from the passage.\n\n\
                        Passage: {context}\n\nQuestion: {question}"
                .into(),
            summarization_prompt: "Summarize the article in two or three short sentences.\n\nArticle: {context}".into(),
        }
    }
}

/// Profiling (Section 4.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Prompts timed per inference node: the same ones for every node.
    pub samples: usize,
    /// Batch sizes at which inference nodes are timed besides one: rows for comparison, the cost is that of batch one.
    pub batch_sizes: Vec<usize>,
    /// Pairs timed per evaluator.
    pub evaluator_samples: usize,
    /// Untimed calls before the measurement.
    pub warmup: usize,
    /// Seed of the profiling sample.
    pub seed: u64,
    /// Mean latencies in ms per sample that are given instead of measured, by node key.
    pub given_latency_ms: BTreeMap<String, f64>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            samples: 100,
            batch_sizes: Vec::new(),
            evaluator_samples: 100,
            warmup: 3,
            seed: 42,
            given_latency_ms: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Settings that ask for nothing: every section at its default.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            name: String::new(),
            max_failed_share: default_max_failed_share(),
            data: Data::default(),
            generation: Generation::default(),
            scoring: Scoring::default(),
            judge: Judge::default(),
            profile: Profile::default(),
            signals: Signals::default(),
            simulation: Simulation::default(),
        }
    }

    /// Reads and checks an experiment file. Unknown fields are refused by name.
    pub fn from_file(path: &Path) -> Result<Experiment> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the experiment file `{}`", path.display()))?;
        let invalid = || format!("`{}` is not a valid experiment", path.display());
        let settings: Self = toml::from_str(&text)
            .map_err(|error| match crate::suggest::hint(error.message()) {
                Some(hint) => anyhow::anyhow!("{error}hint: {hint}"),
                None => anyhow::Error::from(error),
            })
            .with_context(invalid)?;
        settings.check().with_context(|| format!("`{}` cannot be run", path.display()))?;
        let passed = toml::from_str(&text).with_context(invalid)?;
        Ok(Experiment { settings, passed })
    }

    /// Share of failed rows that is still a success of a stage.
    #[must_use]
    pub fn allowed_failures(&self, stage: &str) -> f64 {
        let own = if stage == "judge" { self.judge.max_failed_share } else { None };
        own.unwrap_or(self.max_failed_share)
    }

    /// Whose build of ONNX Runtime the run loads: a process holds one for its life, and that for a GPU computes on the CPU too.
    pub fn runtime_provider(&self) -> Result<Provider> {
        match (self.generation.provider, self.scoring.provider) {
            (Provider::Cuda, Provider::OpenVino) => bail!(
                "`generation.provider` is `cuda` and `scoring.provider` is `openvino`: no build of ONNX Runtime has both"
            ),
            (Provider::Cuda, _) => Ok(Provider::Cuda),
            (_, scoring) => Ok(scoring),
        }
    }

    /// Refuses values that no stage could honour, naming the field.
    pub fn check(&self) -> Result<()> {
        check_name("`name`", &self.name)?;
        ensure!(
            (0.0..=1.0).contains(&self.max_failed_share),
            "`max_failed_share` must lie between 0 and 1; it is {}",
            self.max_failed_share
        );
        self.generation.check()?;
        self.scoring.check()?;
        self.runtime_provider()?;
        self.judge.check()?;
        self.profile.check()?;
        self.signals.check(&self.scoring.evaluators)?;
        self.simulation.check()
    }
}

impl Generation {
    /// The logits processors beside temperature and top-p, as far as they do anything. None where all are off, so that
    /// answers made before there were any are still answers to the same settings.
    #[must_use]
    pub fn other_processors(&self) -> Option<(usize, f64, f64, usize)> {
        let others = (self.top_k, self.min_p, self.repetition_penalty, self.min_new_tokens);
        (others != (0, 0.0, 1.0, 0)).then_some(others)
    }

    fn check(&self) -> Result<()> {
        check_distinct("generation.models", &self.models)?;
        ensure!(self.max_new_tokens > 0, "`generation.max_new_tokens` must be at least 1");
        ensure!(self.batch_size > 0, "`generation.batch_size` must be at least 1");
        ensure!(self.batch_tokens > 0, "`generation.batch_tokens` must be at least 1");
        ensure!(
            self.temperature == 0.0 || (1e-3..=1e3).contains(&self.temperature),
            "`generation.temperature` must be 0 (greedy) or lie in [0.001, 1000]; it is {}",
            self.temperature
        );
        ensure!(self.top_p > 0.0 && self.top_p <= 1.0, "`generation.top_p` must lie in (0, 1]; it is {}", self.top_p);
        ensure!((0.0..=1.0).contains(&self.min_p), "`generation.min_p` must lie in [0, 1]; it is {}", self.min_p);
        ensure!(
            (1e-3..=1e3).contains(&self.repetition_penalty),
            "`generation.repetition_penalty` must lie in [0.001, 1000] (1 is none); it is {}",
            self.repetition_penalty
        );
        ensure!(
            self.min_new_tokens <= self.max_new_tokens,
            "`generation.min_new_tokens` ({}) must not exceed `generation.max_new_tokens` ({})",
            self.min_new_tokens,
            self.max_new_tokens
        );
        ensure!(self.kv_cache_mb != Some(0), "`generation.kv_cache_mb` must be at least 1");
        ensure!(
            !self.cuda_graphs || self.provider == Provider::Cuda,
            "`generation.cuda_graphs` is for `generation.provider = \"cuda\"`; it is `{}`",
            self.provider.name()
        );
        ensure!(
            self.provider != Provider::OpenVino,
            "`generation.provider` must be `cpu` or `cuda`: OpenVINO refuses the attention operator of decoders"
        );
        Ok(())
    }
}

impl Profile {
    fn check(&self) -> Result<()> {
        ensure!(self.samples > 0, "`profile.samples` must be at least 1");
        ensure!(self.evaluator_samples > 0, "`profile.evaluator_samples` must be at least 1");
        ensure!(!self.batch_sizes.contains(&0), "`profile.batch_sizes` must be at least 1 each");
        for (node, latency) in &self.given_latency_ms {
            ensure!(
                latency.is_finite() && *latency > 0.0,
                "`profile.given_latency_ms.{node}` must be a positive number of ms; it is {latency}"
            );
        }
        Ok(())
    }
}

/// Refuses a run name that is not a plain directory name.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        !name.is_empty() && name.chars().all(plain) && !name.starts_with('.'),
        "{what} must be letters, digits, `-`, `_` or `.`, for it names a directory; it is `{name}`"
    );
    Ok(())
}

fn check_distinct(field: &str, keys: &[String]) -> Result<()> {
    for (i, key) in keys.iter().enumerate() {
        ensure!(!keys[..i].contains(key), "`{field}` names `{key}` twice");
    }
    Ok(())
}
