//! Who an evaluator is, as far as its scores depend on it, and what it has to read to score a pair. Needs no weights in
//! memory.

use super::head::Rule;
use super::pairs::Pair;
use crate::executor::job::{Job, Text};
use crate::model::manifest::Exported;
use crate::model::provider::{Precision, Provider};
use crate::model::registry::{Against, Architecture, Model, PairOrder, Registry, ScoringFacts};
use crate::store::Fingerprint;
use crate::store::work::WorkKey;
use anyhow::{Context, Result};
use std::collections::HashMap;

/// Identity of an evaluator.
#[derive(Clone)]
pub struct Identity {
    key: String,
    /// Hash of everything that can change what the graph returns for a text.
    graph: String,
    /// The same hash, begun: each piece of work adds its text.
    work: Fingerprint,
    joint: bool,
    order: PairOrder,
    against: Against,
    rule: Rule,
}

/// Something to read: one text, or two at once. Rows with equal pieces share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'p> {
    /// Hash of the graph and the text.
    pub key: WorkKey,
    first: &'p str,
    second: Option<&'p str>,
}

/// What a pair needs: one piece (cross-encoders) or two (bi-encoders), what the output is compared with first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces<'p> {
    first: Piece<'p>,
    second: Option<Piece<'p>>,
}

impl Identity {
    /// Reads the manifest of an exported evaluator.
    pub fn open(registry: &Registry, model: &Model, provider: Provider, precision: Precision) -> Result<Self> {
        let exported = Exported::open(registry, model)?;
        let files = exported.hash_of(&[provider.graph_file(precision), "tokenizer.json"])?;
        Self::new(model, &format!("{files} {} {}", provider.name(), precision.name()))
    }

    /// The identity of the stand-in for an evaluator.
    pub fn fake(model: &Model) -> Result<Self> {
        Self::new(model, "fake")
    }

    fn new(model: &Model, files: &str) -> Result<Self> {
        let facts = model.scoring_facts().with_context(|| format!("model `{}`", model.key))?;
        // Every fact that can change what the graph returns; the head, the order of texts and the profiling batch size
        // cannot.
        let ScoringFacts { output, pooling, batch_dependent, .. } = facts;
        let lengths = (model.max_length, model.fixed_length);
        let settings = format!("{:?}", (output, pooling, batch_dependent, lengths));
        let work = || Fingerprint::new("evaluator work").text("files", files).text("settings", &settings);
        Ok(Self {
            key: model.key.clone(),
            graph: work().finish(),
            work: work(),
            joint: model.architecture == Architecture::CrossEncoder,
            order: facts.order,
            against: facts.against,
            rule: Rule::new(model)?,
        })
    }

    /// Node key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How what the graph returns becomes a score.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Hash of everything that can change a score.
    #[must_use]
    pub fn hash(&self) -> String {
        let reading = format!("{:?}", (self.order, self.against, self.rule));
        Fingerprint::new("evaluator").text("graph", &self.graph).text("reading", &reading).finish()
    }

    /// What has to be read to score a pair, or why it cannot be scored.
    pub fn pieces<'p>(&self, pair: &'p Pair) -> Result<Pieces<'p>, String> {
        let output = pair.output.as_deref().map_err(Clone::clone)?;
        let (other, what) = match self.against {
            Against::Reference => (pair.task.reference.as_str(), "reference"),
            Against::Input => (pair.task.input.as_str(), "input"),
        };
        if other.trim().is_empty() {
            return Err(format!("the {what} is empty: there is nothing to compare with"));
        }
        if output.trim().is_empty() {
            return Err("the output is empty: there is nothing to judge".to_owned());
        }
        if !self.joint {
            return Ok(Pieces { first: self.piece(other, None), second: Some(self.piece(output, None)) });
        }
        let (first, second) = match self.order {
            PairOrder::ReferenceOutput => (other, output),
            PairOrder::OutputReference => (output, other),
        };
        Ok(Pieces { first: self.piece(first, Some(second)), second: None })
    }

    fn piece<'p>(&self, first: &'p str, second: Option<&'p str>) -> Piece<'p> {
        let mut fingerprint = self.work.clone().text("first", first);
        if let Some(second) = second {
            fingerprint = fingerprint.text("second", second);
        }
        Piece { key: fingerprint.key_bytes(), first, second }
    }

    /// What has to be read to score the pairs, each distinct piece once: the jobs, in the order in which pairs first need
    /// them, and the index of each piece's job. A pair that cannot be scored needs nothing.
    #[must_use]
    pub fn jobs(&self, pairs: &[Pair]) -> (Vec<Job>, HashMap<WorkKey, usize>) {
        let (mut jobs, mut indices) = (Vec::new(), HashMap::new());
        for piece in pairs.iter().filter_map(|pair| self.pieces(pair).ok()).flat_map(|pieces| pieces.iter()) {
            indices.entry(piece.key).or_insert_with(|| {
                jobs.push(piece.job(jobs.len()));
                jobs.len() - 1
            });
        }
        (jobs, indices)
    }

    /// Hash of the work of scoring a pair, for the table. Rows with equal texts share it, and with it the score.
    #[must_use]
    pub fn work_key(&self, pieces: &Result<Pieces<'_>, String>) -> String {
        let fingerprint = Fingerprint::new("evaluator score").text("evaluator", &self.graph);
        match pieces {
            Ok(pieces) => pieces
                .iter()
                .fold(fingerprint.text("rule", &format!("{:?}", self.rule)), |fingerprint, piece| {
                    fingerprint.bytes("piece", &piece.key)
                })
                .key(),
            Err(error) => fingerprint.text("error", error).key(),
        }
    }
}

impl<'p> Pieces<'p> {
    /// The pieces.
    pub fn iter(&self) -> impl Iterator<Item = Piece<'p>> + use<'p> {
        std::iter::once(self.first).chain(self.second)
    }
}

impl Piece<'_> {
    /// The piece as the executor takes it.
    #[must_use]
    pub fn job(&self, index: usize) -> Job {
        let text = match self.second {
            None => Text::One(self.first.to_owned()),
            Some(second) => Text::Pair(self.first.to_owned(), second.to_owned()),
        };
        Job { index, text }
    }
}
