//! Every number that poq quotes from the paper, in one place: "Design and Evaluation of Cost-Aware Proof of Quality"
//! (arXiv 2512.16317), Table 4 and Figure 4. Nothing here is computed. `report` puts them beside a run, and
//! `simulate::infer` asks what Table 4 says of the coefficients behind it.

/// How the report cites the paper.
pub const SOURCE: &str = "Cost-aware Proof of Quality, arXiv 2512.16317, Table 4 and Figure 4 (values of Section 5.1)";
/// Table 4 alone.
pub const TABLE_4_SOURCE: &str = "Table 4 of arXiv 2512.16317";
/// Section 4.3.
pub const HARDWARE: &str = "an NVIDIA RTX 4090 with PyTorch in bfloat16";
/// Table 1.
pub const DATA: &str = "200 SQuAD v1.1 questions and 200 CNN/DailyMail articles";
/// Table 2.
pub const MODELS: &str = "five LLMs of 1.1 to 3.8 billion parameters";
/// Table 3.
pub const EVALUATORS: &str = "three encoders (MiniLM MS MARCO, DeBERTa NLI, DistilRoBERTa STS-B)";

/// A line of Table 4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedNode {
    /// `inference` or `evaluator`; the paper prints `eval`.
    pub node_type: &'static str,
    /// Node key.
    pub node: &'static str,
    /// Mean reward per job, in normalised units, with [`REWARD_DECIMALS`].
    pub avg_reward: f64,
    /// Mean latency per sample, in ms, with [`LATENCY_DECIMALS`].
    pub avg_latency_ms: f64,
    /// C in [0, 1], with [`COST_DECIMALS`].
    pub cost_norm: f64,
    /// Jobs of one run of 5,000 rounds.
    pub jobs: i64,
}

/// Decimals of the rewards in Table 4.
pub const REWARD_DECIMALS: u32 = 3;
/// Decimals of the latencies in Table 4.
pub const LATENCY_DECIMALS: u32 = 1;
/// Decimals of the costs in Table 4.
pub const COST_DECIMALS: u32 = 3;

/// Table 4, in its order. The paper prints the last LLM as `tinylama_1_1b`.
pub static TABLE_4: [PublishedNode; 8] = [
    line("inference", "gemma_2_2b_it", 0.598, 1108.0, 0.023, 952),
    line("inference", "llama_3_2_3b", 0.623, 1077.7, 0.000, 1009),
    line("inference", "phi3_mini_4k", 0.126, 2409.3, 1.000, 1037),
    line("inference", "qwen2_1_5b", 0.157, 2320.6, 0.933, 1039),
    line("inference", "tinyllama_1_1b", 0.426, 1470.1, 0.295, 963),
    line("evaluator", "ce_minilm", 0.834, 1.0, 0.007, 5000),
    line("evaluator", "ce_deberta", 0.544, 5.9, 1.000, 5000),
    line("evaluator", "sts_stsb", 0.856, 0.9, 0.000, 5000),
];

const fn line(
    node_type: &'static str,
    node: &'static str,
    avg_reward: f64,
    avg_latency_ms: f64,
    cost_norm: f64,
    jobs: i64,
) -> PublishedNode {
    PublishedNode { node_type, node, avg_reward, avg_latency_ms, cost_norm, jobs }
}

/// An evaluator of Figure 4: Pearson's r, averaged over the two tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedCorrelation {
    /// Node key of the evaluator.
    pub evaluator: &'static str,
    /// With F1.
    pub f1: f64,
    /// With the GPT judge.
    pub judge: f64,
}

/// Figure 4 as Section 5.1 words it ("approximately").
pub static FIGURE_4: [PublishedCorrelation; 3] = [
    PublishedCorrelation { evaluator: "ce_minilm", f1: -0.24, judge: -0.17 },
    PublishedCorrelation { evaluator: "ce_deberta", f1: -0.04, judge: 0.03 },
    PublishedCorrelation { evaluator: "sts_stsb", f1: 0.66, judge: 0.29 },
];
