//! The paper's published values beside this run's, with the reasons why they differ. Context for a reader, never a
//! claim of reproduction: rows pair nodes of the same key where there are any, and places in the ranking otherwise.

use super::Inputs;
use super::correlations::{EvaluatorCorrelation, JUDGE};
use crate::join::F1;
use crate::paper;
use serde::{Deserialize, Serialize};

/// The paper's values and this run's, side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PaperComparison {
    /// Where the published values come from.
    pub source: String,
    /// What this section is not.
    pub caution: String,
    /// Why the two differ, one reason each.
    pub differences: Vec<String>,
    /// Table 4, inference nodes before evaluators.
    pub rewards: Vec<RewardPair>,
    /// Figure 4.
    pub correlations: Vec<CorrelationPair>,
}

/// What puts two nodes on one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// The same node key.
    Node,
    /// The same place in the ranking by reward or correlation; the nodes have nothing else in common.
    Rank,
}

/// One line of Table 4, the paper's and ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardPair {
    /// `inference` or `evaluator`.
    pub node_type: String,
    /// What the two sides share.
    pub paired_by: Pairing,
    /// As published; null where this run has more nodes.
    pub paper: Option<Payment>,
    /// This run; null where it has fewer nodes.
    pub ours: Option<Payment>,
}

/// What a node earned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// Node key.
    pub node: String,
    /// Mean reward per job, in normalised units.
    pub avg_reward: Option<f64>,
    /// Mean latency per sample, in ms.
    pub avg_latency_ms: Option<f64>,
    /// C in [0, 1], relative to the node's own pool.
    pub cost_norm: f64,
    /// Jobs: of 5,000 rounds in the paper, over all replicates in ours.
    pub jobs: i64,
}

/// One evaluator of Figure 4, the paper's and ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorrelationPair {
    /// What the two sides share.
    pub paired_by: Pairing,
    /// As published; null where this run has more evaluators.
    pub paper: Option<Correlations>,
    /// This run; null where it has fewer evaluators.
    pub ours: Option<Correlations>,
}

/// Pearson's r of an evaluator, averaged over tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correlations {
    /// Node key of the evaluator.
    pub evaluator: String,
    /// With F1.
    pub f1: Option<f64>,
    /// With the LLM judge; null for a run that was not judged.
    pub judge: Option<f64>,
}

pub(super) fn comparison(inputs: &Inputs, correlations: &[EvaluatorCorrelation]) -> PaperComparison {
    let mut rewards = Vec::new();
    for node_type in ["inference", "evaluator"] {
        let (paired_by, pairs) = pair(published(node_type), payments(inputs, node_type), |p| &p.node, |p| p.avg_reward);
        let line = |(paper, ours)| RewardPair { node_type: node_type.into(), paired_by, paper, ours };
        rewards.extend(pairs.into_iter().map(line));
    }
    let with = |evaluator: &str, reference: &str| {
        let row = correlations.iter().find(|row| row.evaluator == evaluator && row.reference == reference);
        row.and_then(|row| row.mean_over_tasks.value)
    };
    let names = crate::join::distinct(correlations.iter().map(|row| row.evaluator.as_str()).filter(|name| *name != F1));
    let ours = names
        .into_iter()
        .map(|name| Correlations { evaluator: name.into(), f1: with(name, F1), judge: with(name, JUDGE) })
        .collect();
    let (paired_by, pairs) = pair(published_correlations(), ours, |c| &c.evaluator, |c| c.f1);
    PaperComparison {
        source: paper::SOURCE.into(),
        caution: caution(inputs),
        differences: differences(inputs),
        rewards,
        correlations: pairs.into_iter().map(|(paper, ours)| CorrelationPair { paired_by, paper, ours }).collect(),
    }
}

/// Table 4 for one node type, in its order.
fn published(node_type: &str) -> Vec<Payment> {
    let of_type = paper::TABLE_4.iter().filter(|row| row.node_type == node_type);
    of_type
        .map(|row| Payment {
            node: row.node.into(),
            avg_reward: Some(row.avg_reward),
            avg_latency_ms: Some(row.avg_latency_ms),
            cost_norm: row.cost_norm,
            jobs: row.jobs,
        })
        .collect()
}

/// Figure 4, in its order.
fn published_correlations() -> Vec<Correlations> {
    let correlations = paper::FIGURE_4.iter();
    correlations
        .map(|row| Correlations { evaluator: row.evaluator.into(), f1: Some(row.f1), judge: Some(row.judge) })
        .collect()
}

fn payments(inputs: &Inputs, node_type: &str) -> Vec<Payment> {
    let of_type = inputs.rewards.iter().filter(|row| row.node_type == node_type);
    of_type
        .map(|row| Payment {
            node: row.node.clone(),
            avg_reward: row.avg_reward,
            avg_latency_ms: row.avg_latency_ms,
            cost_norm: row.cost_norm,
            jobs: row.jobs,
        })
        .collect()
}

type Pairs<T> = (Pairing, Vec<(Option<T>, Option<T>)>);

/// Pairs by node key if any key occurs on both sides, else by rank; whatever has no partner stands alone.
fn pair<T>(mut paper: Vec<T>, mut ours: Vec<T>, key: fn(&T) -> &String, rank: fn(&T) -> Option<f64>) -> Pairs<T> {
    let highest_first = |side: &mut Vec<T>| {
        side.sort_by(|a, b| rank(b).unwrap_or(f64::NEG_INFINITY).total_cmp(&rank(a).unwrap_or(f64::NEG_INFINITY)));
    };
    highest_first(&mut paper);
    highest_first(&mut ours);
    let by_node = ours.iter().any(|own| paper.iter().any(|published| key(published) == key(own)));
    let mut pairs = Vec::new();
    for published in paper {
        let partner = if by_node {
            ours.iter().position(|own| key(own) == key(&published)).map(|index| ours.remove(index))
        } else {
            (!ours.is_empty()).then(|| ours.remove(0))
        };
        pairs.push((Some(published), partner));
    }
    pairs.extend(ours.into_iter().map(|own| (None, Some(own))));
    (if by_node { Pairing::Node } else { Pairing::Rank }, pairs)
}

fn caution(inputs: &Inputs) -> String {
    let models = if shares_models(inputs) { "samples, settings" } else { "models, data" };
    format!(
        "These are the paper's numbers, put here for context. They come from different {models} and hardware, and \
         nothing in this report reproduces them."
    )
}

fn shares_models(inputs: &Inputs) -> bool {
    let scoring = inputs.settings.scoring.evaluators.iter();
    let named =
        inputs.settings.generation.models.iter().chain(scoring).chain(inputs.rewards.iter().map(|row| &row.node));
    let answering = inputs.generations.iter().map(|row| &row.model);
    named.chain(answering).any(|node| paper::TABLE_4.iter().any(|published| published.node == node))
}

fn differences(inputs: &Inputs) -> Vec<String> {
    let models = if shares_models(inputs) {
        "The paper names models but no revisions, so checkpoints behind the same key may differ.".into()
    } else {
        format!("The paper ran {} and {}; this run has other nodes.", paper::MODELS, paper::EVALUATORS)
    };
    let simulation = &inputs.settings.simulation;
    vec![
        models,
        format!(
            "The paper sampled {}, without saying which; this run has {} of its own sample.",
            paper::DATA,
            super::format::plural(inputs.tasks.len(), "task")
        ),
        format!(
            "The paper was measured on {}; this run: {}, {}.",
            paper::HARDWARE,
            inputs.identity.machine,
            inputs.identity.runtime
        ),
        "Costs are min-max values within a pool: 0 is its fastest node and 1 its slowest, whatever their times, so \
         rewards of two pools are not on one scale."
            .into(),
        format!(
            "The paper never states α, β, temperature, top-p, seeds or prompts, and is of two minds about K. This \
             run: α_F = {}, β_F = {}, α_M = {}, β_M = {}, {}.",
            simulation.alpha_f,
            simulation.beta_f,
            simulation.alpha_m,
            simulation.beta_m,
            super::format::evaluators_per_round(simulation.k)
        ),
        "The paper reports one simulation of 5,000 rounds without intervals, and gives the values of Figure 4 as \
         approximate."
            .into(),
    ]
}
