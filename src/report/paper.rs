//! Every number that the report quotes from the paper, in one place: "Design and Evaluation of Cost-Aware Proof of
//! Quality" (arXiv 2512.16317), Table 4 and Figure 4. Nothing here is computed, and nothing is compared by machine.

use super::comparison::{Correlations, Payment};

/// How the report cites the paper.
pub const SOURCE: &str = "Cost-aware Proof of Quality, arXiv 2512.16317, Table 4 and Figure 4 (values of Section 5.1)";
/// Section 4.3.
pub const HARDWARE: &str = "an NVIDIA RTX 4090 with PyTorch in bfloat16";
/// Table 1.
pub const DATA: &str = "200 SQuAD v1.1 questions and 200 CNN/DailyMail articles";
/// Table 2.
pub const MODELS: &str = "five LLMs of 1.1 to 3.8 billion parameters";
/// Table 3.
pub const EVALUATORS: &str = "three encoders (MiniLM MS MARCO, DeBERTa NLI, DistilRoBERTa STS-B)";

/// Table 4: node type, node key, average reward, average latency in ms, normalised cost, jobs of one run of 5,000
/// rounds. The paper prints the last LLM as `tinylama_1_1b`.
const TABLE_4: [(&str, &str, f64, f64, f64, i64); 8] = [
    ("inference", "gemma_2_2b_it", 0.598, 1108.0, 0.023, 952),
    ("inference", "llama_3_2_3b", 0.623, 1077.7, 0.000, 1009),
    ("inference", "phi3_mini_4k", 0.126, 2409.3, 1.000, 1037),
    ("inference", "qwen2_1_5b", 0.157, 2320.6, 0.933, 1039),
    ("inference", "tinyllama_1_1b", 0.426, 1470.1, 0.295, 963),
    ("evaluator", "ce_minilm", 0.834, 1.0, 0.007, 5000),
    ("evaluator", "ce_deberta", 0.544, 5.9, 1.000, 5000),
    ("evaluator", "sts_stsb", 0.856, 0.9, 0.000, 5000),
];

/// Figure 4 as Section 5.1 words it ("approximately"): evaluator, Pearson's r with F1, Pearson's r with the GPT judge,
/// both averaged over the two tasks.
const FIGURE_4: [(&str, f64, f64); 3] =
    [("ce_minilm", -0.24, -0.17), ("ce_deberta", -0.04, 0.03), ("sts_stsb", 0.66, 0.29)];

/// Table 4 for one node type, in its order.
pub(super) fn payments(node_type: &str) -> Vec<Payment> {
    let of_type = TABLE_4.iter().filter(|row| row.0 == node_type);
    of_type
        .map(|&(_, node, reward, avg_latency_ms, cost_norm, jobs)| Payment {
            node: node.into(),
            avg_reward: Some(reward),
            avg_latency_ms: Some(avg_latency_ms),
            cost_norm,
            jobs,
        })
        .collect()
}

/// Figure 4, in its order.
pub(super) fn correlations() -> Vec<Correlations> {
    FIGURE_4
        .iter()
        .map(|&(node, f1, judge)| Correlations { evaluator: node.into(), f1: Some(f1), judge: Some(judge) })
        .collect()
}
