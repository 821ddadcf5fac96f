//! The command line: clap structures only. `commands/` turns them into settings; nothing deeper sees clap.

mod bench;
mod judge;
mod parse;
mod simulate;

pub use bench::{BenchArguments, BenchCellArguments};
pub use judge::JudgeArguments;
pub use simulate::{Preset, SimulateArguments, SweepArguments};

use crate::model::provider::{Precision, Provider};
use crate::output::Format;
use crate::settings::{Reference, Scoring, Verdict};
use crate::signals::Dimension;
use clap::{Args, Parser, Subcommand};
use parse::{latency, positive, weight};
use std::path::PathBuf;

/// Run the cost-aware Proof of Quality experiment: LLMs answer, evaluators score, latency becomes cost, and a simulation
/// pays every node quality minus cost.
#[derive(Debug, Parser)]
#[command(name = "poq", version, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Form of the summary on stdout
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: Format,
    /// Print warnings and errors only, beside the summary
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Directory of the model registry and the exported models
    #[arg(long = "models", global = true, value_name = "DIR", default_value = "models", env = "POQ_MODELS")]
    pub models_directory: PathBuf,
    /// Directory of the data set registry
    #[arg(long = "datasets", global = true, value_name = "DIR", default_value = "datasets", env = "POQ_DATASETS")]
    pub datasets_directory: PathBuf,
    /// Directory that holds the runs
    #[arg(long = "results", global = true, value_name = "DIR", default_value = "results", env = "POQ_RESULTS")]
    pub results_directory: PathBuf,
    /// Threads for inference and simulation [default: all hardware threads]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every stage of an experiment in order, resuming what is done
    Run(RunArguments),
    /// Make the table of tasks from the data sets
    Tasks(TasksArguments),
    /// Let the inference nodes answer the tasks
    Generate(GenerateArguments),
    /// Score the answers: F1, exact match and the evaluators
    Score(ScoreArguments),
    /// Let an LLM grade a sample of the answers
    Judge(JudgeArguments),
    /// Measure what every node costs on this machine
    Profile(ProfileArguments),
    /// Weigh quality dimensions against the reference, and try a cascade of evaluators
    Signals(SignalsArguments),
    /// Simulate rounds of the mechanism and pay every node
    Simulate(SimulateArguments),
    /// Simulate every combination of some settings, as one long table
    Sweep(SweepArguments),
    /// Say what the results mean
    Report(ReportArguments),
    /// Make a run from answers that were made elsewhere
    Import(ImportArguments),
    /// What models there are
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Say what every table and column of a run means, as Markdown
    #[command(hide = true)]
    Schema,
    /// Sweep the settings of a pool's evaluators and LLMs on this machine: which are fastest, and what speed costs
    Bench(BenchArguments),
    /// One cell of a sweep, in a process of its own
    #[command(hide = true)]
    BenchCell(BenchCellArguments),
}

/// `poq run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Experiment file
    pub experiment: PathBuf,
    /// Name of the run under the results directory [default: the experiment's name]
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// Accept changed settings and redo what they change
    #[arg(long)]
    pub update: bool,
    /// How rows are worked on
    #[command(flatten)]
    pub work: WorkArguments,
}

/// What every stage takes.
#[derive(Debug, Args)]
pub struct StageArguments {
    /// Directory of the run, e.g. results/quick
    pub run: PathBuf,
}

/// `poq report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// The run
    #[command(flatten)]
    pub stage: StageArguments,
    /// Say how these runs differ from RUN instead: Markdown on stdout, or JSON with `--format json`; no run is changed
    #[arg(long, value_name = "OTHER", num_args = 1..)]
    pub compare: Vec<PathBuf>,
}

/// How missing models and failed rows are dealt with.
#[derive(Debug, Args, Clone, Copy, Default)]
pub struct WorkArguments {
    /// Leave out models that are not exported
    #[arg(long)]
    pub skip_missing: bool,
    /// Try failed rows again
    #[arg(long)]
    pub retry_failed: bool,
    /// Share of failed rows that is still a success, between 0 and 1
    #[arg(long, value_name = "SHARE")]
    pub max_failed_share: Option<f64>,
}

/// `poq tasks`.
#[derive(Debug, Args)]
pub struct TasksArguments {
    /// The run
    #[command(flatten)]
    pub stage: StageArguments,
    /// Experiment file, for a run that does not exist yet
    #[arg(long, value_name = "FILE")]
    pub experiment: Option<PathBuf>,
    /// Seed of the sample
    #[arg(long)]
    pub seed: Option<u64>,
}

/// `poq generate`.
#[derive(Debug, Args)]
pub struct GenerateArguments {
    /// The run
    #[command(flatten)]
    pub stage: StageArguments,
    /// Node keys of the models that answer, instead of those of the run
    #[arg(long = "model", value_name = "KEY")]
    pub models: Vec<String>,
    /// Who computes
    #[arg(long, value_enum)]
    pub provider: Option<Provider>,
    /// Limit on new tokens
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Temperature; 0 is greedy
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Nucleus mass; 1 keeps every token
    #[arg(long)]
    pub top_p: Option<f64>,
    /// Keep the N most likely tokens; 0 keeps every token
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Keep tokens at least this likely relative to the most likely one; 0 keeps every token
    #[arg(long)]
    pub min_p: Option<f64>,
    /// Make tokens that were there before less likely; 1 leaves them alone
    #[arg(long)]
    pub repetition_penalty: Option<f64>,
    /// An answer does not end before it has this many tokens
    #[arg(long, value_name = "N")]
    pub min_new_tokens: Option<usize>,
    /// Seed of all answers
    #[arg(long)]
    pub seed: Option<u64>,
    /// Rows decoded together
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Prompt tokens read in one pass
    #[arg(long, value_name = "N")]
    pub batch_tokens: Option<usize>,
    /// Budget of the KV cache in MiB [default: 2048; with cuda what is free on the GPU]
    #[arg(long, value_name = "MB")]
    pub kv_cache_mb: Option<usize>,
    /// Replay decode steps as CUDA graphs (cuda only)
    #[arg(long)]
    pub cuda_graphs: bool,
    /// How rows are worked on
    #[command(flatten)]
    pub work: WorkArguments,
}

/// `poq score`.
#[derive(Debug, Args)]
pub struct ScoreArguments {
    /// The run
    #[command(flatten)]
    pub stage: StageArguments,
    /// Node keys of the evaluators, instead of those of the run
    #[arg(long = "evaluator", value_name = "KEY")]
    pub evaluators: Vec<String>,
    /// How the evaluators are run
    #[command(flatten)]
    pub execution: ExecutionArguments,
    /// Measure first which workers and batches are fastest, where the settings leave them open, and remember it
    #[arg(long)]
    pub calibrate: bool,
    /// Replace every evaluator by a stand-in that computes next to nothing (for tests and benchmarks)
    #[arg(long, hide = true)]
    pub fake_inference: bool,
    /// How rows are worked on
    #[command(flatten)]
    pub work: WorkArguments,
}

/// How evaluators are run: speed, and with provider and precision the last digits.
#[derive(Debug, Args, Clone, Copy, Default)]
pub struct ExecutionArguments {
    /// Who computes
    #[arg(long, value_enum)]
    pub provider: Option<Provider>,
    /// In which arithmetic
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// Sessions per evaluator that work side by side [default: chosen from the machine]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Threads inside each session [default: chosen from the machine]
    #[arg(long, value_name = "N")]
    pub worker_threads: Option<usize>,
    /// Rows per inference call [default: chosen from the machine]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Padded tokens per inference call [default: chosen from the machine]
    #[arg(long, value_name = "N")]
    pub batch_tokens: Option<usize>,
}

impl ExecutionArguments {
    /// Takes over what was given.
    pub fn apply(self, scoring: &mut Scoring) {
        scoring.provider = self.provider.unwrap_or(scoring.provider);
        scoring.precision = self.precision.unwrap_or(scoring.precision);
        scoring.workers = self.workers.or(scoring.workers);
        scoring.worker_threads = self.worker_threads.or(scoring.worker_threads);
        scoring.batch_size = self.batch_size.or(scoring.batch_size);
        scoring.batch_tokens = self.batch_tokens.or(scoring.batch_tokens);
    }
}

/// `poq profile`.
#[derive(Debug, Args)]
pub struct ProfileArguments {
    /// The run
    #[command(flatten)]
    pub stage: StageArguments,
    /// Prompts timed per inference node
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
    /// Time inference nodes with this many rows at once, too; costs stay those of one at a time
    #[arg(long = "batch-size", value_name = "N,…", value_delimiter = ',', value_parser = positive)]
    pub batch_sizes: Vec<usize>,
    /// A mean latency in ms to take instead of measuring
    #[arg(long = "latency", value_name = "NODE=MS", value_parser = latency)]
    pub latencies: Vec<(String, f64)>,
    /// Leave out models that are not exported
    #[arg(long)]
    pub skip_missing: bool,
}

/// `poq signals`.
#[derive(Debug, Args)]
pub struct SignalsArguments {
    /// The run
    #[command(flatten)]
    pub stage: StageArguments,
    /// Weight of a quality dimension in the composite
    #[arg(long = "weight", value_name = "DIMENSION=WEIGHT", value_parser = weight)]
    pub weights: Vec<(Dimension, f64)>,
    /// Calibration keeps dimensions whose correlation with the reference lies above this
    #[arg(long, allow_negative_numbers = true)]
    pub theta: Option<f64>,
    /// Reference quality that signals are held against
    #[arg(long, value_enum)]
    pub reference: Option<Reference>,
    /// Seed of the split into the half that calibration sees and the half that it does not
    #[arg(long)]
    pub seed: Option<u64>,
    /// Evaluators of the cascade, in order [default: those of the mechanism, fastest first]
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    pub cascade: Vec<String>,
    /// Distances from the middle, in points of 0 to 10, below which a score is in doubt
    #[arg(long = "threshold", value_name = "POINTS,…", value_delimiter = ',', allow_negative_numbers = true)]
    pub thresholds: Vec<f64>,
    /// Score that a decision turns on
    #[arg(long, value_name = "POINTS", allow_negative_numbers = true)]
    pub middle: Option<f64>,
    /// Score of several evaluators: their mean, or that of the last one
    #[arg(long, value_enum)]
    pub verdict: Option<Verdict>,
}

/// `poq import`.
#[derive(Debug, Args)]
pub struct ImportArguments {
    /// JSON lines, a JSON array or Parquet with the columns input, reference or references, model and output
    pub file: PathBuf,
    /// Name of the run under the results directory
    #[arg(long, value_name = "NAME")]
    pub run: String,
    /// Task type of rows that name none: qa or summarization
    #[arg(long, value_name = "TYPE")]
    pub task_type: Option<String>,
    /// Node keys of the evaluators that will score [default: every evaluator of the quick pool]
    #[arg(long = "evaluator", value_name = "KEY")]
    pub evaluators: Vec<String>,
    /// Replace the answers of a run that was imported before
    #[arg(long)]
    pub update: bool,
}

/// `poq models`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// The registry, what is exported, and how to get what is missing
    List {
        /// Only this pool
        #[arg(long)]
        pool: Option<String>,
        /// Only the exports for this provider [default: those for the processor, and where a card has its own, those too]
        #[arg(long)]
        provider: Option<Provider>,
    },
    /// What each evaluator's 8-bit graphs cost in accuracy, as measured when they were exported
    Drift {
        /// Only this pool
        #[arg(long)]
        pool: Option<String>,
    },
    /// Compare every exported file with its hash
    Verify {
        /// Only this pool
        #[arg(long)]
        pool: Option<String>,
        /// Only the exports for this provider [default: those for the processor, and those for a card that are there]
        #[arg(long)]
        provider: Option<Provider>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
