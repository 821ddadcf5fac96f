//! Arguments of `poq bench`.

use super::parse::positive;
use crate::model::provider::{Precision, Provider};
use crate::model::registry::Role;
use clap::Args;
use std::path::PathBuf;

/// `poq bench`. Lists are comma-separated; every combination is measured.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// Pool whose evaluators and LLMs are measured
    #[arg(long, default_value = "quick")]
    pub pool: String,
    /// Models to measure, instead of a pool's
    #[arg(long = "model", value_name = "KEY")]
    pub models: Vec<String>,
    /// Only LLMs (inference) or only evaluators [default: both]
    #[arg(long, value_enum)]
    pub role: Option<Role>,
    /// Providers [default: for evaluators those whose ONNX Runtime is here, for LLMs cpu]; LLMs know cpu and cuda only
    #[arg(long = "provider", value_enum, value_delimiter = ',')]
    pub providers: Vec<Provider>,
    /// Precisions of evaluators [default: all that a provider can compute]; LLMs run as they were exported, whatever is given
    #[arg(long = "precision", value_enum, value_delimiter = ',')]
    pub precisions: Vec<Precision>,
    /// Sessions side by side [default: 1, 2, 4 up to the cores]; an LLM has one
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = positive)]
    pub workers: Vec<usize>,
    /// Threads inside each session [default: the cores divided by the sessions]; for an LLM, what `--threads` would be
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = positive)]
    pub worker_threads: Vec<usize>,
    /// Rows per inference call [default: 4,8,32; with cuda 32,64,256]; decode slots of an LLM [default: 1,8,32,64]
    #[arg(long = "batch-size", value_name = "N,…", value_delimiter = ',', value_parser = positive)]
    pub batch_sizes: Vec<usize>,
    /// Padded tokens per inference call [default: 256,2048; with cuda 4096,16384]; an LLM's prompt tokens per pass
    /// [default: 512]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = positive)]
    pub batch_tokens: Vec<usize>,
    /// Pairs that evaluators read
    #[arg(long, value_name = "N", default_value = "256", value_parser = positive)]
    pub pairs: usize,
    /// Prompts that LLMs answer; the corpus may have fewer
    #[arg(long, value_name = "N", default_value = "64", value_parser = positive)]
    pub prompts: usize,
    /// Tokens of every answer: no answer ends before, so that every cell does equal work
    #[arg(long, value_name = "N", default_value = "32", value_parser = positive)]
    pub new_tokens: usize,
    /// Timed passes over the sample; the median counts
    #[arg(long, value_name = "N", default_value = "3", value_parser = positive)]
    pub repeats: usize,
    /// Let LLMs on a GPU replay decode steps as CUDA graphs; a cell that cannot fails
    #[arg(long)]
    pub cuda_graphs: bool,
    /// Seed of the sample
    #[arg(long, default_value = "42")]
    pub seed: u64,
    /// Directory of the table and the charts [default: bench/ in the results directory]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `poq bench-cell`.
#[derive(Debug, Args)]
pub struct BenchCellArguments {
    /// The cell, as JSON
    pub request: String,
}
