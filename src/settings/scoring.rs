//! The section `[scoring]`: who judges, on what scale, and how inference is run.

use super::{check_distinct, check_name};
use crate::model::provider::{Precision, Provider};
use crate::model::variant::Variant;
use crate::score::scale::Method;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Scoring (Section 4.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scoring {
    /// Node keys of the M nodes: evaluators of the registry, or variants.
    pub evaluators: Vec<String>,
    /// Evaluators whose scores are kept as columns beside those of the M nodes, and who take no part in the mechanism.
    pub unpaid_evaluators: Vec<String>,
    /// Evaluators of the registry read another way, by their new key.
    pub variants: BTreeMap<String, Variant>,
    /// How raw scores are placed on the scale 0..10.
    pub normalize_method: Method,
    /// Rows that normalisation looks at together.
    pub normalize_scope: Scope,
    /// Which references F1 and exact match look at.
    pub f1_references: F1References,
    /// Who computes the evaluators.
    pub provider: Provider,
    /// In which arithmetic.
    pub precision: Precision,
    /// Sessions per evaluator that work side by side; chosen from the machine when absent.
    pub workers: Option<usize>,
    /// Threads inside each session; chosen from the machine when absent.
    pub worker_threads: Option<usize>,
    /// Rows per inference call; chosen from the machine when absent.
    pub batch_size: Option<usize>,
    /// Padded tokens per inference call; chosen from the machine when absent.
    pub batch_tokens: Option<usize>,
}

impl Default for Scoring {
    fn default() -> Self {
        Self {
            evaluators: Vec::new(),
            unpaid_evaluators: Vec::new(),
            variants: BTreeMap::new(),
            normalize_method: Method::MinMax,
            normalize_scope: Scope::PerTask,
            f1_references: F1References::Max,
            provider: Provider::Cpu,
            precision: Precision::F32,
            workers: None,
            worker_threads: None,
            batch_size: None,
            batch_tokens: None,
        }
    }
}

impl Scoring {
    /// Every evaluator that scores, M nodes first.
    pub fn all_evaluators(&self) -> impl Iterator<Item = &String> {
        self.evaluators.iter().chain(&self.unpaid_evaluators)
    }

    pub(super) fn check(&self) -> Result<()> {
        let counts = [
            ("workers", self.workers),
            ("worker_threads", self.worker_threads),
            ("batch_size", self.batch_size),
            ("batch_tokens", self.batch_tokens),
        ];
        for (name, count) in counts {
            ensure!(count != Some(0), "`scoring.{name}` must be at least 1");
        }
        self.provider.check(self.precision).context("`scoring.provider` and `scoring.precision` do not go together")?;
        for key in self.variants.keys() {
            check_name("a key of `scoring.variants`", key)?;
        }
        let all: Vec<String> = self.all_evaluators().cloned().collect();
        check_distinct("scoring.evaluators` and `scoring.unpaid_evaluators", &all)
    }
}

/// Scope of normalisation; both pool over models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Per evaluator and task type (Section 4.2, the procedure).
    PerTask,
    /// Per evaluator over the whole run (Section 3.1).
    Global,
}

/// References that F1 is taken against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum F1References {
    /// The best over all accepted answers: the official rule.
    Max,
    /// The first answer only.
    First,
}
