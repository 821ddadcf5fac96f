//! One struct per table of `results/<run>/`: the single definition from which the Arrow schema, the writer and the
//! reader are derived. Column names are promised to users (notebooks read them); add columns, never rename them.
//!
//! An `Option` is a nullable column. Null always means "there is no value", never zero.

mod bench;
mod compared;
mod judge;
mod signals;
mod simulation;

pub use bench::BenchRow;
pub use compared::{ComparedAnswer, ComparedGrade, ComparedScore, ComparedTask};
pub use judge::{JudgeCheckRow, JudgeSampleRow, JudgementRow, cost_usd};
pub use signals::{CascadeRow, SignalAuditRow, SignalRow, SignalValue};
pub use simulation::{NetworkRow, RewardRow, RoundRow};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A table row: what it is called on disk and how its schema version is counted.
pub trait Row: Serialize + for<'de> Deserialize<'de> {
    /// Table name as written into the file's metadata.
    const TABLE: &'static str;
}

/// `tasks`: one prompt of the corpus (Section 3.1: x, y and t).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRow {
    /// Unique within the run; the data set's own id where it has one.
    pub task_id: String,
    /// Key of the data set the task was sampled from.
    pub dataset: String,
    /// `qa` or `summarization`.
    pub task_type: String,
    /// x: question and context joined (Section 4.1), or the article.
    pub input: String,
    /// The question alone; null where the task has none.
    pub question: Option<String>,
    /// The passage or article alone; null where only `input` is known.
    pub context: Option<String>,
    /// y: the first accepted answer, or the highlights.
    pub reference: String,
    /// Every accepted answer, `reference` included.
    pub references: Vec<String>,
}

/// `generations`: one answer of one inference node (Section 4.2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GenerationRow {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node.
    pub model: String,
    /// Text given to the tokenizer, chat template applied; null for imported answers and for a prompt that could not be made.
    pub prompt: Option<String>,
    /// Text as decoded; null when the row failed.
    pub output_raw: Option<String>,
    /// Text with template echoes removed and trimmed: what is scored; null when the row failed.
    pub output: Option<String>,
    /// Tokens of the prompt; null for imported answers and where the prompt could not be tokenised.
    pub prompt_tokens: Option<i32>,
    /// Tokens generated, the stop token excluded; null for imported answers and when the row failed.
    pub output_tokens: Option<i32>,
    /// `stop` (a stop token) or `length` (the limit on new tokens); null for imported answers and when the row failed.
    pub finish_reason: Option<String>,
    /// `first_token_ms` + `decode_ms`; batched rows share compute, so the cost model uses `profile` instead. Imported answers
    /// keep the latency they came with; null when they came without and when the row failed.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms: Option<f64>,
    /// Time from the beginning of the prompt pass that read the row to its first token, in ms; rows of a pass share it; null
    /// for imported answers and when the row failed.
    #[schemars(extend("unit" = "ms"))]
    pub first_token_ms: Option<f64>,
    /// Time from entering a decode slot to the last token, in ms; 0 if the first token was the last; null for imported answers
    /// and when the row failed.
    #[schemars(extend("unit" = "ms"))]
    pub decode_ms: Option<f64>,
    /// Slots that were decoded together when the row ended, its own included; null for imported answers and when the row
    /// failed.
    pub batch_rows: Option<i32>,
    /// Leading prompt tokens that were not read for this row, because another row's prompt begins with them too; null for
    /// imported answers and when the row failed.
    pub prefix_tokens: Option<i32>,
    /// Whether the passage or article was cut so that the prompt fits the model's context; null without a prompt.
    pub prompt_truncated: Option<bool>,
    /// Greedy choices between two tokens whose logits differ by less than 1e-4: rounding may put either first; null for
    /// imported answers and when the row failed.
    pub near_ties: Option<i32>,
    /// Seed of this row's random stream: a hash of run seed, task and model; null for imported answers.
    #[schemars(extend("unit" = "hash"))]
    pub seed: Option<u64>,
    /// Why the row has no answer; null when it has an answer.
    pub error: Option<String>,
    /// Hash of the input row and of every setting that can change the answer.
    pub work_key: String,
}

impl GenerationRow {
    /// The row before anything is known of its answer: every column that may be null is.
    #[must_use]
    pub fn unanswered(task_id: String, model: String, work_key: String) -> Self {
        Self {
            task_id,
            model,
            prompt: None,
            output_raw: None,
            output: None,
            prompt_tokens: None,
            output_tokens: None,
            finish_reason: None,
            latency_ms: None,
            first_token_ms: None,
            decode_ms: None,
            batch_rows: None,
            prefix_tokens: None,
            prompt_truncated: None,
            near_ties: None,
            seed: None,
            error: None,
            work_key,
        }
    }
}

/// The columns of `tasks` that scoring reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredTask {
    /// Unique within the run.
    pub task_id: String,
    /// `qa` or `summarization`.
    pub task_type: String,
    /// x: what was asked.
    pub input: String,
    /// y: the first accepted answer, or the highlights.
    pub reference: String,
    /// Every accepted answer, `reference` included.
    pub references: Vec<String>,
}

impl From<&TaskRow> for ScoredTask {
    fn from(task: &TaskRow) -> Self {
        Self {
            task_id: task.task_id.clone(),
            task_type: task.task_type.clone(),
            input: task.input.clone(),
            reference: task.reference.clone(),
            references: task.references.clone(),
        }
    }
}

/// The columns of `generations` that scoring reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredAnswer {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node.
    pub model: String,
    /// What is scored; null when the row failed.
    pub output: Option<String>,
    /// Why the row has no answer; null when it has one.
    pub error: Option<String>,
}

/// `scores`: one scorer's verdict on one answer; `f1` and `exact_match` are scorers too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScoreRow {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node that answered.
    pub model: String,
    /// `f1`, `exact_match` or the node key of an evaluator.
    pub scorer: String,
    /// s: the scorer's own number (cosine, logit, probability; F1 and exact match in 0..1); null when the row failed.
    #[schemars(extend("unit" = "the scorer's own"))]
    pub raw: Option<f64>,
    /// e: the score in 0..10 (F1 and exact match times ten, evaluators as `scoring.normalize_method` says); null when `raw` is.
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub normalized: Option<f64>,
    /// Whether the tokenizer cut the text; null for scorers that read text, and where nothing was read.
    pub truncated: Option<bool>,
    /// Tokens that the evaluator read for this row; null where `truncated` is.
    pub tokens: Option<i32>,
    /// Time spent tokenising the row's texts, in ms; rows with the same text share it; null where `truncated` is.
    #[schemars(extend("unit" = "ms"))]
    pub tokenise_ms: Option<f64>,
    /// Time between tokenising and the start of inference, in ms; null where `truncated` is.
    #[schemars(extend("unit" = "ms"))]
    pub queue_ms: Option<f64>,
    /// Inference time of the batch divided by its rows, in ms; null where `truncated` is.
    #[schemars(extend("unit" = "ms"))]
    pub infer_ms: Option<f64>,
    /// Why there is no score; null when there is a score.
    pub error: Option<String>,
    /// Hash of the scored texts, the scorer and its settings.
    pub work_key: String,
}

/// `profile`: what a node costs at one batch size (Section 4.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileRow {
    /// `inference` or `evaluator`.
    pub node_type: String,
    /// Node key.
    pub node: String,
    /// Where it ran, e.g. `cpu`.
    pub device: String,
    /// Rows per timed call; decode slots of an inference node. A node's first row is the one its cost comes from.
    pub batch_size: i32,
    /// Rows timed.
    pub samples: i64,
    /// Mean latency per sample, in ms, at full precision: the cost model reads this one; null when nobody knows it
    /// (imported answers without latencies).
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms_mean: Option<f64>,
    /// Median latency per sample, in ms; null when only a mean is known.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms_p50: Option<f64>,
    /// 95th percentile, in ms; null when only a mean is known.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms_p95: Option<f64>,
    /// 99th percentile, in ms; null when only a mean is known.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms_p99: Option<f64>,
    /// Standard error of `latency_ms_mean` from the spread over timed calls, in ms; null unless measured in two calls or more, one
    /// after the other, and in tables of an earlier poq.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms_stderr: Option<f64>,
    /// Samples per second; null when the latency is.
    #[schemars(extend("unit" = "samples per second"))]
    pub throughput: Option<f64>,
    /// Generated tokens per second (inference nodes) or tokens read per second (evaluators); null unless measured.
    #[schemars(extend("unit" = "tokens per second"))]
    pub tokens_per_s: Option<f64>,
    /// Highest resident memory of the process while the node was loaded and measured, in MB; null unless measured, and where
    /// the system does not say.
    #[schemars(extend("unit" = "MB"))]
    pub peak_memory_mb: Option<f64>,
    /// Most memory of the GPU that was seen taken after a timed call, in MB, weights and whatever else is on the card included;
    /// null unless measured on a GPU.
    #[schemars(extend("unit" = "MB"))]
    #[serde(default)]
    pub peak_device_memory_mb: Option<f64>,
    /// C in [0, 1]: min-max of `latency_ms_mean` over the nodes of the same type; 0 for all where nothing sets them
    /// apart.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub cost_norm: f64,
    /// `measured`, `given` (experiment file or flag), `imported` (came with the answers) or `unknown`.
    pub source: String,
}

macro_rules! tables {
    ($($row:ty => $name:literal),* $(,)?) => { $(impl Row for $row { const TABLE: &'static str = $name; })* };
}
tables! {
    TaskRow => "tasks",
    GenerationRow => "generations",
    ScoredTask => "tasks",
    ScoredAnswer => "generations",
    ScoreRow => "scores",
    ProfileRow => "profile",
    RewardRow => "rewards",
    NetworkRow => "network",
    RoundRow => "rounds",
    BenchRow => "bench",
}
