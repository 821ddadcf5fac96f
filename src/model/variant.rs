//! Evaluators that an experiment makes from those of the registry: the same weights, read another way.

use super::facts::{Against, Head, PairOrder};
use super::registry::{Model, Registry, Role};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a variant changes; a field that is not there keeps the registry's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Evaluator of the registry whose weights it reads.
    pub model: String,
    /// What the output is compared with.
    pub against: Option<Against>,
    /// Which text comes first.
    pub order: Option<PairOrder>,
    /// How a cross-encoder's logits become one score.
    pub head: Option<Head>,
    /// Label that the head reads.
    pub target: Option<String>,
    /// Label that the head `difference` takes off.
    pub minus: Option<String>,
}

impl Registry {
    /// Adds an experiment's variants as evaluators of their own.
    pub fn add_variants(&mut self, variants: &BTreeMap<String, Variant>) -> Result<()> {
        for (key, variant) in variants {
            ensure!(
                self.models.iter().all(|model| model.key != *key),
                "`scoring.variants.{key}` has the key of a model of the registry; choose another"
            );
            let base = self.get(&variant.model, Role::Evaluator);
            let model = variant.of(base?, key).and_then(|model| model.check().map(|()| model));
            self.models.push(model.with_context(|| format!("`scoring.variants.{key}` cannot be run"))?);
        }
        Ok(())
    }
}

impl Variant {
    fn of(&self, base: &Model, key: &str) -> Result<Model> {
        let mut model = base.clone();
        model.files_of = Some(base.files_key().to_owned());
        key.clone_into(&mut model.key);
        let mut facts = base.scoring_facts()?.clone();
        facts.against = self.against.unwrap_or(facts.against);
        facts.order = self.order.unwrap_or(facts.order);
        facts.head = self.head.or(facts.head);
        facts.target = self.target.clone().or(facts.target);
        facts.minus = self.minus.clone().or(facts.minus);
        model.scoring = Some(facts);
        Ok(model)
    }
}
