//! One evaluator node, loaded: pieces of text in, vectors or logits out.

use super::fake::{FakeGraph, FakeTokenizer};
use super::graph::Graph;
use super::head::Rule;
use super::identity::Identity;
use crate::executor::{self, Done, Job, Limits, Quit, Totals};
use crate::model::manifest::Exported;
use crate::model::provider::{Precision, Provider};
use crate::model::registry::{Model, Registry};
use crate::model::session::SessionOptions;
use crate::model::tokenizer::Tokenizer;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// Values that the stand-in of a bi-encoder returns.
const FAKE_WIDTH: usize = 8;

/// How an evaluator is run: what may change its speed and, beside provider and precision, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Who computes.
    pub provider: Provider,
    /// In which arithmetic.
    pub precision: Precision,
    /// Sessions that work side by side.
    pub workers: usize,
    /// Threads inside each.
    pub threads: usize,
    /// Rows per batch.
    pub batch_size: usize,
    /// Padded tokens per batch.
    pub batch_tokens: usize,
}

/// A loaded evaluator.
pub struct Evaluator {
    identity: Identity,
    provider: Provider,
    limits: Limits,
    network: Network,
}

enum Network {
    Real { tokenizer: Box<Tokenizer>, graphs: Vec<Graph> },
    Fake { graphs: Vec<FakeGraph> },
}

impl Evaluator {
    /// Loads tokenizer and weights.
    pub fn open(registry: &Registry, model: &Model, execution: Execution) -> Result<Self> {
        let Execution { provider, precision, workers, threads, .. } = execution;
        provider.check(precision)?;
        let identity = Identity::open(registry, model, provider, precision)?;
        let exported = Exported::open(registry, model)?;
        let tokenizer = Box::new(Tokenizer::open(&exported.file("tokenizer.json"), Some(model.max_length))?);
        let options = SessionOptions { threads, arena: false, provider, precision, graphs: false };
        let graphs = (0..workers.max(1)).map(|_| Graph::open(registry, model, options)).collect::<Result<_>>()?;
        Ok(Self { identity, provider, limits: limits(model, execution)?, network: Network::Real { tokenizer, graphs } })
    }

    /// The stand-in for an evaluator; needs no exported files.
    pub fn fake(model: &Model, execution: Execution) -> Result<Self> {
        let identity = Identity::fake(model)?;
        let width = match identity.rule() {
            Rule::Cosine => FAKE_WIDTH,
            Rule::Head(_) => model.scoring_facts()?.labels.len().max(1),
        };
        let graphs = (0..execution.workers.max(1)).map(|_| FakeGraph { width }).collect();
        let provider = execution.provider;
        Ok(Self { identity, provider, limits: limits(model, execution)?, network: Network::Fake { graphs } })
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Who computes.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Reads every job's text and hands batches of what the graph returned to `write`, in order of completion.
    pub fn compute(
        &mut self,
        jobs: impl Iterator<Item = Job> + Send,
        quit: &Quit,
        write: impl FnMut(Vec<Done<Vec<f32>>>) -> Result<()>,
    ) -> Result<Totals> {
        match &mut self.network {
            Network::Real { tokenizer, graphs } => {
                executor::run(jobs, tokenizer.as_ref(), graphs, self.limits, quit, write)
            }
            Network::Fake { graphs } => executor::run(jobs, &FakeTokenizer, graphs, self.limits, quit, write),
        }
    }
}

/// Bounds of a batch; one row where rows would change each other's scores.
fn limits(model: &Model, execution: Execution) -> Result<Limits> {
    let rows = if model.scoring_facts()?.batch_dependent { 1 } else { execution.batch_size };
    let width_step = execution.provider.width_step(execution.precision);
    Ok(Limits { rows, tokens: execution.batch_tokens, fixed_length: model.fixed_length, width_step })
}
