//! What the registry says of one model, and the checks that an entry must pass.

use super::artifact::Artifact;
use super::provider::Provider;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

/// Names that are taken: scorers beside the evaluators, and directories beside the models.
const RESERVED_KEYS: [&str; 5] = ["f1", "exact_match", "runtime", "runtime-openvino", "runtime-cuda"];

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
    /// Whether the licence has to be accepted on the hub's page of `upstream` before the hub hands out the weights.
    #[serde(default)]
    pub gated: bool,
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
    /// Key of the model whose files a variant reads; set by [`super::variant`], never by the registry file.
    #[serde(skip)]
    pub files_of: Option<String>,
    /// Who computes it, as far as that decides which files are read; set by [`super::registry::Registry::on`].
    #[serde(skip)]
    pub provider: Provider,
}

/// What a node does in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
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
    /// Output of the graph that is read; one that pools by itself has sentence vectors in its place.
    pub output: Option<String>,
    /// How a bi-encoder's token vectors become one vector, here or in the graph.
    pub pooling: Option<Pooling>,
    /// How a cross-encoder's logits become one score.
    pub head: Option<Head>,
    /// Labels of a cross-encoder, in column order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Label whose probability is the score; with several labels and the head `logit`, the label whose logit is.
    pub target: Option<String>,
    /// Label whose probability is taken off under the head `difference`.
    pub minus: Option<String>,
    /// What the output is compared with.
    #[serde(default)]
    pub against: Against,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// The only logit, as it is.
    Logit,
    /// Its logistic function.
    Sigmoid,
    /// Softmax probability of the target label.
    Probability,
    /// Softmax probability of the target label less that of another: entailment minus contradiction.
    Difference,
}

/// What an evaluator sees beside the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The reference: "every reference-output pair" (Section 4.2).
    #[default]
    Reference,
    /// The input of the task: reference-free, as Section 3.1 has it.
    Input,
}

/// Order of the texts in a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairOrder {
    /// Output first, then what it is compared with: for NLI, "the candidate entails the reference" (Section 4.1).
    OutputReference,
    /// What it is compared with first: "every reference-output pair" (Section 4.2).
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
    /// Precision of a decoder's export for the provider CUDA, which lies in a directory of its own.
    pub cuda_precision: Option<CudaPrecision>,
    /// `untrained` for a cross-encoder whose head is drawn from a fixed seed: for speed and parity, not for scores.
    pub head: Option<String>,
    /// Tolerance of the parity gate.
    pub logit_tolerance: f64,
}

/// Half precisions that decoders are exported in for the provider CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CudaPrecision {
    /// Eight bits of exponent, as f32 has.
    Bf16,
    /// IEEE half precision.
    F16,
}

impl CudaPrecision {
    /// Its name in the registry and in the names of directories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl Model {
    /// Refuses an entry that no stage could work with, naming the field.
    pub(super) fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        ensure!(
            !self.key.is_empty() && self.key.chars().all(plain) && !RESERVED_KEYS.contains(&self.key.as_str()),
            "`key` must be letters, digits, `-` or `_`, and none of {}",
            RESERVED_KEYS.join(", ")
        );
        ensure!(self.max_length > 0, "`max_length` must be at least 1");
        if let Some(fixed_length) = self.fixed_length {
            ensure!(
                fixed_length >= self.max_length,
                "`fixed_length` is {fixed_length}: the graph has no room for `max_length` = {} tokens",
                self.max_length
            );
        }
        ensure!(!self.files.is_empty(), "`files` is empty");
        for artifact in &self.artifacts {
            artifact.check().with_context(|| format!("artifact `{}`", artifact.name))?;
        }
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
                    Some(Head::Difference) => {
                        facts.target_column()?;
                        facts.minus_column()?;
                    }
                    Some(Head::Logit | Head::Sigmoid) => {
                        if facts.labels.len() > 1 {
                            facts.target_column()?;
                        }
                    }
                }
            }
        }
        if let Some(scoring) = &self.scoring {
            ensure!(self.role == Role::Evaluator, "a model with `scoring` must have the role `evaluator`");
            ensure!(scoring.batch_size > 0, "`scoring.batch_size` must be at least 1");
        }
        Ok(())
    }

    /// Key of the directory its files lie in.
    #[must_use]
    pub fn files_key(&self) -> &str {
        self.files_of.as_deref().unwrap_or(&self.key)
    }

    fn cuda_precision(&self) -> Option<&'static str> {
        self.export.as_ref().and_then(|export| export.cuda_precision).map(CudaPrecision::name)
    }

    /// What a decoder computes in: f32 on the CPU, whatever its weights are kept in.
    #[must_use]
    pub fn arithmetic(&self) -> &str {
        match self.provider {
            Provider::Cuda => self.cuda_precision().unwrap_or("f32"),
            Provider::Cpu | Provider::OpenVino => "f32",
        }
    }

    /// Name of the directory its files lie in. A decoder for CUDA is another export: its attention has no f32 there.
    pub fn directory_name(&self) -> Result<String> {
        if self.architecture != Architecture::Decoder || self.provider != Provider::Cuda {
            return Ok(self.files_key().to_owned());
        }
        let half = self.cuda_precision().ok_or_else(|| {
            anyhow!(
                "model `{}` has no form for the provider `cuda`: its registry entry names no `export.cuda_precision`\nhint: \
                 `--provider cpu`",
                self.key
            )
        })?;
        Ok(format!("{}-{half}", self.files_key()))
    }

    /// The command that exports its files.
    #[must_use]
    pub fn recipe(&self) -> String {
        Self::recipe_of(&self.pool, self.provider)
    }

    /// The command that exports a pool for a provider.
    #[must_use]
    pub fn recipe_of(pool: &str, provider: Provider) -> String {
        let provider = if provider == Provider::Cuda { " --provider cuda" } else { "" };
        format!("just models {pool}{provider}")
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
        self.column("target", self.target.as_deref())
    }

    /// Column of the label that is taken off.
    pub fn minus_column(&self) -> Result<usize> {
        self.column("minus", self.minus.as_deref())
    }

    fn column(&self, field: &str, label: Option<&str>) -> Result<usize> {
        let label = label.ok_or_else(|| anyhow!("`scoring.{field}` is missing"))?;
        self.labels.iter().position(|known| known == label).ok_or_else(|| {
            anyhow!("`scoring.{field}` is `{label}`, which is none of `scoring.labels`: {}", self.labels.join(", "))
        })
    }
}
