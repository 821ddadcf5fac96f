//! One struct per table of `results/<run>/`: the single definition from which the Arrow schema, the writer and the
//! reader are derived. Column names are promised to users (notebooks read them); add columns, never rename them.
//!
//! An `Option` is a nullable column. Null always means "there is no value", never zero.

mod compared;
mod judge;
mod signals;

pub use compared::{ComparedAnswer, ComparedGrade, ComparedScore, ComparedTask};
pub use judge::{JudgeCheckRow, JudgeSampleRow, JudgementRow, cost_usd};
pub use signals::{CascadeRow, SignalAuditRow, SignalRow, SignalValue};

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

/// `rewards`: what a node earned, averaged over replicates of the simulation (Table 4 and beyond).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RewardRow {
    /// `inference` or `evaluator`.
    pub node_type: String,
    /// Node key.
    pub node: String,
    /// Mean reward per job over all replicates; null when the node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub avg_reward: Option<f64>,
    /// Standard error of `avg_reward`, from the spread over replicates; null with fewer than two.
    #[schemars(extend("unit" = "reward per job"))]
    pub stderr: Option<f64>,
    /// Standard deviation of the reward over jobs; null when the node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub std_reward: Option<f64>,
    /// 5th percentile of the reward over jobs: the smallest reward that at least 5 % of the jobs did not exceed; null when the
    /// node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub reward_p05: Option<f64>,
    /// Median reward; null when the node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub reward_p50: Option<f64>,
    /// 95th percentile; null when the node never had a job.
    #[schemars(extend("unit" = "reward per job"))]
    pub reward_p95: Option<f64>,
    /// Lower end of the 95 % interval of `avg_reward` (Student's t over replicates); null where `stderr` is.
    #[schemars(extend("unit" = "reward per job"))]
    pub ci_low: Option<f64>,
    /// Upper end of the 95 % interval; null where `stderr` is.
    #[schemars(extend("unit" = "reward per job"))]
    pub ci_high: Option<f64>,
    /// Closed-form expectation of the reward per job, without simulation; null where rounds depend on each other or the closed
    /// form would take too long.
    #[schemars(extend("unit" = "reward per job"))]
    pub expected_reward: Option<f64>,
    /// Closed-form standard deviation of the reward per job; null where `expected_reward` is, or where it alone is unknown.
    #[schemars(extend("unit" = "reward per job"))]
    pub expected_std: Option<f64>,
    /// (`avg_reward` - `expected_reward`) in standard errors: `expected_std / sqrt(jobs)` where that is known, else `stderr`;
    /// null when the standard error is zero or unknown.
    #[schemars(extend("unit" = "standard errors"))]
    pub z: Option<f64>,
    /// What the node would earn on average if nobody were dishonest; null where nobody is.
    #[schemars(extend("unit" = "reward per job"))]
    pub honest_reward: Option<f64>,
    /// Mean latency per sample, in ms; null when nobody knows it.
    #[schemars(extend("unit" = "ms"))]
    pub avg_latency_ms: Option<f64>,
    /// C; in [0, 1] unless costs are absolute.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub cost_norm: f64,
    /// The cost that the node declares, and is charged.
    #[schemars(extend("unit" = "as `cost_norm`"))]
    pub declared_cost: f64,
    /// The cost that its work really takes on average per job: less than C for those who do not look, and for those who
    /// answer with a cheaper model.
    #[schemars(extend("unit" = "as `cost_norm`"))]
    pub spent_cost: f64,
    /// `honest`, or what the node does instead.
    pub strategy: String,
    /// Mean over replicates of the evaluator's weight after the last round; null where weights do not learn.
    #[schemars(extend("unit" = "weight"))]
    pub trust_weight: Option<f64>,
    /// Jobs over all replicates.
    pub jobs: i64,
    /// Replicates simulated.
    pub replicates: i32,
}

/// `network`: one figure of the simulation that belongs to no node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkRow {
    /// What is measured: `consensus_error` (mean absolute difference of consensus and proxy, points), `consensus_pearson`
    /// (their correlation) and `ranking_kendall` (of nodes by reward and by proxy) for each proxy;
    /// `payout_inference_per_round` and `payout_evaluators_per_round` (reward units); more where there are attacks,
    /// weights that learn or a scheduler, which `docs/mechanism.md` explains.
    pub metric: String,
    /// What consensus is held against, `f1` or `judge`; null for metrics that need nothing.
    pub proxy: Option<String>,
    /// The figure; null where it cannot be computed.
    #[schemars(extend("unit" = "as `metric` says"))]
    pub value: Option<f64>,
}

/// `rounds`: one round of Algorithm 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundRow {
    /// Replicate the round belongs to.
    #[schemars(extend("unit" = "number"))]
    pub replicate: i32,
    /// Round number within the replicate.
    #[schemars(extend("unit" = "number"))]
    pub round: i64,
    /// Record i.
    pub task_id: String,
    /// Inference node f.
    pub model: String,
    /// The inference node whose answer was judged: another than `model` where that swapped it.
    pub answered_by: String,
    /// S: the evaluators that were drawn and have a score.
    pub evaluators: Vec<String>,
    /// What each of them reported, in [0, 10].
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub reports: Vec<f64>,
    /// What each of them weighed.
    #[schemars(extend("unit" = "weight"))]
    pub weights: Vec<f64>,
    /// Q in [0, 1] (Equation 1); null when no drawn evaluator has a score.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub consensus: Option<f64>,
    /// Factor on `beta_F`, from the load of the inference node; 1 without congestion.
    #[schemars(extend("unit" = "factor"))]
    pub congestion: f64,
    /// Whether an audit caught the inference node with a false cost.
    pub caught_inference: bool,
    /// Whether an audit caught each evaluator, in the order of `evaluators`.
    pub caught_evaluators: Vec<bool>,
    /// `R_F` (Equation 2); null when `consensus` is.
    #[schemars(extend("unit" = "reward"))]
    pub reward_inference: Option<f64>,
    /// `R_M` (Equation 5), in the order of `evaluators`.
    #[schemars(extend("unit" = "reward"))]
    pub rewards_evaluators: Vec<f64>,
}

/// `bench`: one cell of a sweep over the settings of an evaluator or an LLM. What means nothing to one of them is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BenchRow {
    /// `evaluator` or `inference`.
    pub role: String,
    /// Node key.
    pub model: String,
    /// `cpu`, `openvino` or `cuda`; LLMs know no `openvino`.
    pub provider: String,
    /// `f32`, `bf16`, `f16` or `int8`; on the CPU LLMs compute in `f32`, whatever their weights are kept in.
    pub precision: String,
    /// Sessions side by side.
    pub workers: i32,
    /// Threads inside each.
    pub threads: i32,
    /// Rows per batch; decode slots of an LLM.
    pub batch_size: i32,
    /// Padded tokens per batch; an LLM's prompt tokens per pass.
    pub batch_tokens: i32,
    /// Distinct texts, or pairs, read in a pass; prompts that an LLM answered. 0 when the cell did not run.
    pub texts: i64,
    /// Tokens read in a pass; tokens that an LLM generated. 0 when the cell did not run.
    pub tokens: i64,
    /// Timed passes.
    pub repeats: i32,
    /// Median wall time of a pass, in seconds; null when the cell did not run.
    #[schemars(extend("unit" = "s"))]
    pub seconds: Option<f64>,
    /// Texts, or answers, per second of the median pass; null when the cell did not run.
    #[schemars(extend("unit" = "texts per second"))]
    pub texts_per_s: Option<f64>,
    /// Tokens per second of the median pass, padding not counted: read by an evaluator, generated by an LLM; null when the
    /// cell did not run.
    #[schemars(extend("unit" = "tokens per second"))]
    pub tokens_per_s: Option<f64>,
    /// Median time of a text: its batch's inference divided by the batch's rows, in ms; of an answer: first token and
    /// decoding, waiting for a slot left out; null when the cell did not run.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms_p50: Option<f64>,
    /// 95th percentile, in ms; null when the cell did not run.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms_p95: Option<f64>,
    /// 99th percentile, in ms; null when the cell did not run.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms_p99: Option<f64>,
    /// Highest resident memory of the cell's process, weights included, in MB; null when the cell did not run, and where the
    /// system does not say.
    #[schemars(extend("unit" = "MB"))]
    pub peak_memory_mb: Option<f64>,
    /// Share of padded tokens that were padding; null for LLMs and when the cell did not run.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub padding_waste: Option<f64>,
    /// Share of the workers' time spent inferring; null for LLMs and when the cell did not run.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub busy_share: Option<f64>,
    /// Largest difference of a raw score from the first f32 cell's; null where there is no such cell, and for LLMs.
    #[schemars(extend("unit" = "the scorer's own"))]
    pub largest_difference_vs_f32: Option<f64>,
    /// Spearman correlation of the raw scores with the first f32 cell's; null where there is no such cell, and for LLMs.
    #[schemars(extend("unit" = "correlation, -1 to 1"))]
    pub spearman_vs_f32: Option<f64>,
    /// Tokens of every answer of an LLM; null for evaluators.
    pub new_tokens: Option<i32>,
    /// Most answers that decoded together: below `batch_size` where there were fewer prompts or the KV cache was full; null
    /// for evaluators and when the cell did not run.
    pub decoded_together: Option<i32>,
    /// Tokens of a pass's prompts; null for evaluators and when the cell did not run.
    pub prompt_tokens: Option<i64>,
    /// Tokens of them that were read: beginnings that prompts share are read once; null for evaluators and when the cell did
    /// not run.
    pub prompt_tokens_read: Option<i64>,
    /// Prompt tokens read per second of reading, over all passes; null for evaluators and when the cell did not run.
    #[schemars(extend("unit" = "tokens per second"))]
    pub prompt_tokens_read_per_s: Option<f64>,
    /// Median time from the beginning of a prompt's pass to its first token, in ms; null for evaluators and when the cell did
    /// not run.
    #[schemars(extend("unit" = "ms"))]
    pub first_token_ms_p50: Option<f64>,
    /// 95th percentile, in ms; null for evaluators and when the cell did not run.
    #[schemars(extend("unit" = "ms"))]
    pub first_token_ms_p95: Option<f64>,
    /// 99th percentile, in ms; null for evaluators and when the cell did not run.
    #[schemars(extend("unit" = "ms"))]
    pub first_token_ms_p99: Option<f64>,
    /// Share of the decode slots that held a row, over all steps; null for evaluators and when the cell did not run.
    #[schemars(extend("unit" = "share, 0 to 1"))]
    pub slot_use: Option<f64>,
    /// Most keys and values held at once, in MiB; null for evaluators and when the cell did not run.
    #[schemars(extend("unit" = "MiB"))]
    pub kv_cache_mb: Option<f64>,
    /// Greedy choices of a pass between two logits so close that another order of additions may turn them; null for evaluators
    /// and when the cell did not run.
    pub near_ties: Option<i64>,
    /// Answers that differ from those of the model's first cell that worked, near ties or not; null for evaluators and when
    /// the cell did not run.
    pub different_answers: Option<i64>,
    /// Why the cell did not work: it did not run, or a text or a prompt failed; null when it worked.
    pub error: Option<String>,
}

impl BenchRow {
    /// A cell with nothing measured.
    #[must_use]
    pub fn unmeasured(role: String, model: String) -> Self {
        Self {
            role,
            model,
            provider: String::new(),
            precision: String::new(),
            workers: 1,
            threads: 0,
            batch_size: 0,
            batch_tokens: 0,
            texts: 0,
            tokens: 0,
            repeats: 0,
            seconds: None,
            texts_per_s: None,
            tokens_per_s: None,
            latency_ms_p50: None,
            latency_ms_p95: None,
            latency_ms_p99: None,
            peak_memory_mb: None,
            padding_waste: None,
            busy_share: None,
            largest_difference_vs_f32: None,
            spearman_vs_f32: None,
            new_tokens: None,
            decoded_together: None,
            prompt_tokens: None,
            prompt_tokens_read: None,
            prompt_tokens_read_per_s: None,
            first_token_ms_p50: None,
            first_token_ms_p95: None,
            first_token_ms_p99: None,
            slot_use: None,
            kv_cache_mb: None,
            near_ties: None,
            different_answers: None,
            error: None,
        }
    }
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
