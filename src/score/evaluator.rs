//! One evaluator node, loaded: pairs in, raw scores out.
//!
//! A chunk of pairs is scored at a time. Within it each distinct text is embedded once (bi-encoders) and each distinct
//! pair read once (cross-encoders); results fan out to all rows that share them.

use super::bi_encoder::BiEncoder;
use super::cross_encoder::{CrossEncoder, ScoreHead};
use super::pairs::Pair;
use super::pooling::cosine;
use crate::executor::job::Text;
use crate::executor::{self, Done, Job, Limits, Quit, Totals, milliseconds};
use crate::model::encoder::Encoder;
use crate::model::manifest::Exported;
use crate::model::registry::{Architecture, Model, PairOrder, Registry, ScoringFacts};
use crate::model::session::SessionOptions;
use crate::model::tokenizer::Tokenizer;
use crate::store::Fingerprint;
use crate::store::rows::ScoreRow;
use anyhow::{Context, Result, bail};
use std::collections::HashMap;

/// Pairs scored together: bounds what a kill loses and the embeddings held in memory, and is the reach within which
/// equal texts are read once.
const CHUNK_PAIRS: usize = 256;

/// Identity of an evaluator: enough to key its work, without weights.
pub struct Identity {
    key: String,
    hash: String,
    order: PairOrder,
    settings: String,
}

impl Identity {
    /// Reads the manifest of an exported evaluator.
    pub fn open(registry: &Registry, model: &Model) -> Result<Self> {
        let facts = model.scoring_facts().with_context(|| format!("model `{}`", model.key))?;
        let hash = Exported::open(registry, model)?.hash();
        // Every fact that can change a score; the profiling batch size cannot.
        let ScoringFacts { output, pooling, head, labels, target, order, batch_size: _, batch_dependent } = facts;
        let lengths = (model.max_length, model.fixed_length);
        let settings = format!("{:?}", (output, pooling, head, labels, target, order, batch_dependent, lengths));
        Ok(Self { key: model.key.clone(), hash, order: *order, settings })
    }

    /// Hash of the work of scoring a pair. Rows with equal texts share it, and with it the score.
    #[must_use]
    pub fn work_key(&self, pair: &Pair) -> String {
        let fingerprint =
            Fingerprint::new("evaluator score").text("model", &self.hash).text("settings", &self.settings);
        match pair.texts() {
            Ok((reference, output)) => fingerprint.text("reference", reference).text("output", output).key(),
            Err(error) => fingerprint.text("error", &error).key(),
        }
    }
}

/// How an evaluator is run.
#[derive(Debug, Clone, Copy)]
pub struct Parallelism {
    /// Sessions that work side by side.
    pub workers: usize,
    /// Threads inside each.
    pub threads: usize,
}

/// A loaded evaluator.
pub struct Evaluator {
    identity: Identity,
    tokenizer: Tokenizer,
    network: Network,
    /// Rows would change each other's scores, so each is read alone.
    batch_dependent: bool,
}

enum Network {
    Bi(Vec<BiEncoder>),
    Cross(Vec<CrossEncoder>),
}

/// What one row's inference took and read.
#[derive(Debug, Clone, Copy, Default)]
struct Trace {
    tokens: usize,
    truncated: bool,
    tokenise_ms: f64,
    queue_ms: f64,
    infer_ms: f64,
}

impl Trace {
    fn of<O>(done: &Done<O>) -> Self {
        Self {
            tokens: done.tokens,
            truncated: done.truncated,
            tokenise_ms: milliseconds(done.tokenise),
            queue_ms: milliseconds(done.queue),
            infer_ms: milliseconds(done.infer),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            truncated: self.truncated || other.truncated,
            tokenise_ms: self.tokenise_ms + other.tokenise_ms,
            queue_ms: self.queue_ms.max(other.queue_ms),
            infer_ms: self.infer_ms + other.infer_ms,
        }
    }
}

impl Evaluator {
    /// Loads tokenizer and weights.
    pub fn open(registry: &Registry, model: &Model, parallelism: Parallelism) -> Result<Self> {
        let identity = Identity::open(registry, model)?;
        let exported = Exported::open(registry, model)?;
        let tokenizer = Tokenizer::open(&exported.file("tokenizer.json"), Some(model.max_length))?;
        let facts = model.scoring_facts()?;
        let options = SessionOptions { threads: parallelism.threads, arena: false };
        let encoders = (0..parallelism.workers.max(1)).map(|_| Encoder::open(registry, model, options));
        let network = match (model.architecture, facts.pooling) {
            (Architecture::BiEncoder, Some(pooling)) => Network::Bi(
                encoders.map(|encoder| Ok(BiEncoder { encoder: encoder?, pooling })).collect::<Result<_>>()?,
            ),
            (Architecture::CrossEncoder, _) => {
                let head = ScoreHead::new(facts)?;
                Network::Cross(
                    encoders.map(|encoder| Ok(CrossEncoder { encoder: encoder?, head })).collect::<Result<_>>()?,
                )
            }
            _ => bail!("model `{}` is not an evaluator that poq can run", model.key),
        };
        Ok(Self { identity, tokenizer, network, batch_dependent: facts.batch_dependent })
    }

    /// Scores pairs; rows are handed to `write` chunk by chunk, in the pairs' order. `normalized` stays null: it needs
    /// the whole column.
    pub fn score(
        &mut self,
        pairs: &[&Pair],
        limits: Limits,
        quit: &Quit,
        mut write: impl FnMut(Vec<ScoreRow>) -> Result<()>,
    ) -> Result<Totals> {
        let limits = if self.batch_dependent { Limits { rows: 1, ..limits } } else { limits };
        let mut sum = Totals::default();
        for chunk in pairs.chunks(CHUNK_PAIRS) {
            let (scores, totals) = match &mut self.network {
                Network::Bi(backends) => score_bi(chunk, &self.tokenizer, backends, limits, quit)?,
                Network::Cross(backends) => {
                    score_cross(chunk, &self.tokenizer, backends, self.identity.order, limits, quit)?
                }
            };
            sum.add(&totals);
            // After a quit request some pairs have no result: they are left out and scored by the next run.
            let row = |(pair, scored): (&&Pair, Option<Scored>)| {
                let (raw, trace) = scored?;
                let mut row = pair.row(&self.identity.key, raw, self.identity.work_key(pair));
                row.truncated = trace.map(|trace| trace.truncated);
                row.tokens = trace.and_then(|trace| i32::try_from(trace.tokens).ok());
                row.tokenise_ms = trace.map(|trace| trace.tokenise_ms);
                row.queue_ms = trace.map(|trace| trace.queue_ms);
                row.infer_ms = trace.map(|trace| trace.infer_ms);
                Some(row)
            };
            write(chunk.iter().zip(scores).filter_map(row).collect())?;
            if totals.interrupted {
                break;
            }
        }
        Ok(sum)
    }
}

/// A result with what it took; none when a quit request came first.
type Traced<O> = Option<(Result<O, String>, Trace)>;

/// A pair's score; no trace where nothing was read.
type Scored = (Result<f64, String>, Option<Trace>);

fn score_bi(
    pairs: &[&Pair],
    tokenizer: &Tokenizer,
    backends: &mut [BiEncoder],
    limits: Limits,
    quit: &Quit,
) -> Result<(Vec<Option<Scored>>, Totals)> {
    let mut texts = Distinct::default();
    let wanted: Vec<Result<(usize, usize), String>> = pairs
        .iter()
        .map(|pair| pair.texts().map(|(reference, output)| (texts.place(reference), texts.place(output))))
        .collect();
    let jobs = texts.list.iter().enumerate().map(|(index, text)| Job {
        index,
        text: Text::One((*text).to_owned()),
        wanted: true,
    });
    let (vectors, totals) = collect(jobs, texts.list.len(), tokenizer, backends, limits, quit)?;
    let score = |wanted: Result<(usize, usize), String>| match wanted {
        Err(error) => Some((Err(error), None)),
        Ok((reference, output)) => {
            let (a, b) = (vectors[reference].as_ref()?, vectors[output].as_ref()?);
            let score = a.0.as_ref().and_then(|a| Ok((a, b.0.as_ref()?))).map_err(Clone::clone).and_then(|(a, b)| {
                cosine(a, b).ok_or_else(|| "an embedding is all zeros: the cosine is not defined".to_owned())
            });
            Some((score, Some(a.1.plus(b.1))))
        }
    };
    Ok((wanted.into_iter().map(score).collect(), totals))
}

fn score_cross(
    pairs: &[&Pair],
    tokenizer: &Tokenizer,
    backends: &mut [CrossEncoder],
    order: PairOrder,
    limits: Limits,
    quit: &Quit,
) -> Result<(Vec<Option<Scored>>, Totals)> {
    let mut distinct = Distinct::default();
    let wanted: Vec<Result<usize, String>> =
        pairs.iter().map(|pair| pair.texts().map(|texts| distinct.place(texts))).collect();
    let jobs = distinct.list.iter().enumerate().map(|(index, &(reference, output))| {
        let (first, second) = match order {
            PairOrder::ReferenceOutput => (reference, output),
            PairOrder::OutputReference => (output, reference),
        };
        Job { index, text: Text::Pair(first.to_owned(), second.to_owned()), wanted: true }
    });
    let (scores, totals) = collect(jobs, distinct.list.len(), tokenizer, backends, limits, quit)?;
    let score = |wanted: Result<usize, String>| match wanted {
        Err(error) => Some((Err(error), None)),
        Ok(place) => scores[place].as_ref().map(|(score, trace)| (score.clone(), Some(*trace))),
    };
    Ok((wanted.into_iter().map(score).collect(), totals))
}

/// Runs jobs through the executor and puts the results back in order; none for a job that a quit request kept from running.
fn collect<B: executor::Backend>(
    jobs: impl Iterator<Item = Job> + Send,
    count: usize,
    tokenizer: &Tokenizer,
    backends: &mut [B],
    limits: Limits,
    quit: &Quit,
) -> Result<(Vec<Traced<B::Output>>, Totals)> {
    let mut results: Vec<Traced<B::Output>> = (0..count).map(|_| None).collect();
    let totals = executor::run(jobs, tokenizer, backends, limits, quit, |done| {
        for row in done {
            let trace = Trace::of(&row);
            results[row.index] = Some((row.result, trace));
        }
        Ok(())
    })?;
    Ok((results, totals))
}

/// Distinct values in order of first appearance.
struct Distinct<T> {
    list: Vec<T>,
    places: HashMap<T, usize>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Copy + Eq + std::hash::Hash> Distinct<T> {
    fn place(&mut self, value: T) -> usize {
        *self.places.entry(value).or_insert_with(|| {
            self.list.push(value);
            self.list.len() - 1
        })
    }
}
