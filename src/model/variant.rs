//! Evaluators that an experiment makes from those of the registry: the same weights, read another way.

use super::facts::{Against, Architecture, Head, PairOrder};
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
            let model =
                self.variant(key, variant).with_context(|| format!("`scoring.variants.{key}` cannot be run"))?;
            self.models.push(model);
        }
        Ok(())
    }

    fn variant(&self, key: &str, variant: &Variant) -> Result<Model> {
        let base = self.get(&variant.model, Role::Evaluator)?;
        ensure!(
            base.architecture == Architecture::CrossEncoder || !variant.reads_pairs(),
            "`{}` is a bi-encoder: of `against`, `order`, `head`, `target` and `minus` only `against` means something to it",
            base.key
        );
        let model = variant.of(base, key)?;
        model.check()?;
        Ok(model)
    }
}

impl Variant {
    /// Whether it says something that only a model that reads both texts at once can do.
    fn reads_pairs(&self) -> bool {
        self.order.is_some() || self.head.is_some() || self.target.is_some() || self.minus.is_some()
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn add(variant: &str) -> Result<Registry> {
        let mut registry = Registry::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny"))?;
        registry.add_variants(&BTreeMap::from([("mine".to_owned(), toml::from_str(variant)?)]))?;
        Ok(registry)
    }

    #[test]
    fn a_variant_reads_the_files_of_its_model() {
        let registry = add("model = \"tiny_bi\"\nagainst = \"input\"").expect("can be run");
        let model = registry.get("mine", Role::Evaluator).expect("added");
        assert_eq!((model.files_key(), model.scoring_facts().expect("facts").against), ("tiny_bi", Against::Input));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_key() {
        for (variant, part) in [
            ("model = \"tiny_by\"", "unknown model `tiny_by`"),
            ("model = \"tiny_decoder\"", "another role"),
            ("model = \"tiny_bi\"\norder = \"output_reference\"", "`tiny_bi` is a bi-encoder"),
            ("model = \"tiny_bi\"\nhead = \"sigmoid\"", "`tiny_bi` is a bi-encoder"),
            ("model = \"tiny_bi\"\ntarget = \"entailment\"", "`tiny_bi` is a bi-encoder"),
            ("model = \"tiny_bi\"\nminus = \"neutral\"", "`tiny_bi` is a bi-encoder"),
            ("model = \"tiny_nli\"\ntarget = \"nonsense\"", "nonsense"),
        ] {
            let error = format!("{:#}", add(variant).expect_err("refused"));
            assert!(error.contains("`scoring.variants.mine` cannot be run") && error.contains(part), "{error}");
        }
    }
}
