//! Sums become rows: rewards priced from the replicates' tallies and the closed form, the first replicate's rounds
//! played again one by one, and what there is to warn about.

use crate::settings::Simulation;
use crate::simulate::expected::Expected;
use crate::simulate::network::{Network, Node};
use crate::simulate::round::{Draw, Rounds};
use crate::simulate::statistics::{mean_per_job, t_95};
use crate::simulate::tally::{Replicate, Tally};
use crate::simulate::{KEPT_ROUNDS, Outcome, consensus, reward};
use crate::store::rows::{RewardRow, RoundRow};

/// Builds the outcome; `rounds` is the sequence of the first replicate, from its start.
pub fn assemble(network: &Network, settings: &Simulation, replicates: &[Replicate], rounds: Rounds) -> Outcome {
    let expected = Expected::of(&network.table, settings.k);
    let mut outcome = Outcome {
        rewards: reward_rows(network, settings, replicates, &expected),
        rounds: round_rows(network, settings, rounds),
        warnings: Vec::new(),
        simulated_rounds: settings.rounds.saturating_mul(u64::from(settings.replicates)),
        void_rounds: replicates.iter().map(|replicate| replicate.void_rounds).sum(),
        skipped_evaluators: replicates.iter().map(|replicate| replicate.skipped).sum(),
    };
    outcome.warnings = warnings(&outcome, settings, &expected);
    outcome
}

fn reward_rows(
    network: &Network,
    settings: &Simulation,
    replicates: &[Replicate],
    expected: &Expected,
) -> Vec<RewardRow> {
    let inference = network.models.iter().enumerate().map(|(i, node)| {
        let price = |quality| reward::inference(settings.alpha_f, settings.beta_f, quality, node.cost);
        let tallies: Vec<Tally> = replicates.iter().map(|replicate| replicate.models[i]).collect();
        reward_row("inference", node, &tallies, expected.quality[i], settings.alpha_f, price)
    });
    let evaluators = network.evaluators.iter().enumerate().map(|(i, node)| {
        let price =
            |deviation| reward::evaluator(settings.alpha_m, settings.beta_m, reward::closeness(deviation), node.cost);
        let tallies: Vec<Tally> = replicates.iter().map(|replicate| replicate.evaluators[i]).collect();
        reward_row("evaluator", node, &tallies, expected.deviation[i], settings.alpha_m, price)
    });
    inference.chain(evaluators).collect()
}

/// One node. `price` turns a mean quality or deviation into a reward; its slope is plus or minus `alpha`, which is
/// what standard errors are multiplied by.
fn reward_row(
    node_type: &str,
    node: &Node,
    replicates: &[Tally],
    expected: Option<f64>,
    alpha: f64,
    price: impl Fn(f64) -> f64,
) -> RewardRow {
    let estimate = mean_per_job(replicates);
    let avg_reward = estimate.map(|estimate| price(estimate.mean));
    let stderr = estimate.and_then(|estimate| estimate.stderr).map(|stderr| alpha * stderr);
    let expected_reward = expected.map(price);
    let count = u32::try_from(replicates.len()).expect("replicates are counted in u32; this is a bug");
    let margin = stderr.map(|stderr| t_95(count - 1) * stderr);
    let z = match (avg_reward, expected_reward, stderr) {
        (Some(average), Some(expected), Some(stderr)) if stderr > 0.0 => Some((average - expected) / stderr),
        _ => None,
    };
    RewardRow {
        node_type: node_type.into(),
        node: node.key.clone(),
        avg_reward,
        stderr,
        ci_low: avg_reward.zip(margin).map(|(average, margin)| average - margin),
        ci_high: avg_reward.zip(margin).map(|(average, margin)| average + margin),
        expected_reward,
        z,
        avg_latency_ms: node.latency_ms,
        cost_norm: node.cost,
        jobs: estimate.map_or(0, |estimate| i64::try_from(estimate.jobs).unwrap_or(i64::MAX)),
        replicates: i32::try_from(count).unwrap_or(i32::MAX),
    }
}

fn round_rows(network: &Network, settings: &Simulation, mut rounds: Rounds) -> Vec<RoundRow> {
    (0..)
        .take(settings.rounds.min(KEPT_ROUNDS) as usize)
        .map(|i| round_row(network, settings, i, rounds.draw()))
        .collect()
}

fn round_row(network: &Network, settings: &Simulation, round: i64, draw: Draw) -> RoundRow {
    let (task, model) = network.table.task_and_model(draw.cell);
    let present: Vec<(usize, f64)> = network.table.present(draw.cell, draw.evaluators).collect();
    let mean = consensus::mean(present.iter().map(|(_, score)| *score));
    let quality = mean.map(consensus::quality);
    let pay_evaluator = |mean, evaluator: usize, score| {
        let closeness = reward::closeness(consensus::deviation(score, mean));
        reward::evaluator(settings.alpha_m, settings.beta_m, closeness, network.evaluators[evaluator].cost)
    };
    RoundRow {
        replicate: 0,
        round,
        task_id: network.tasks[task].clone(),
        model: network.models[model].key.clone(),
        evaluators: present.iter().map(|&(evaluator, _)| network.evaluators[evaluator].key.clone()).collect(),
        consensus: quality,
        reward_inference: quality
            .map(|quality| reward::inference(settings.alpha_f, settings.beta_f, quality, network.models[model].cost)),
        rewards_evaluators: mean.map_or_else(Vec::new, |mean| {
            present.iter().map(|&(evaluator, score)| pay_evaluator(mean, evaluator, score)).collect()
        }),
    }
}

fn warnings(outcome: &Outcome, settings: &Simulation, expected: &Expected) -> Vec<String> {
    let mut warnings = Vec::new();
    if outcome.skipped_evaluators > 0 {
        warnings.push(format!(
            "{} drawn evaluators had no score for their answer and were left out, so that K shrank",
            outcome.skipped_evaluators
        ));
    }
    if outcome.void_rounds > 0 {
        warnings.push(format!(
            "{} of {} rounds paid nobody, for no drawn evaluator had a score",
            outcome.void_rounds, outcome.simulated_rounds
        ));
    }
    for row in outcome.rewards.iter().filter(|row| row.jobs == 0) {
        warnings.push(format!("{} node `{}` never had a job, so it has no mean reward", row.node_type, row.node));
    }
    if expected.too_many_subsets {
        warnings.push("the pool has too many subsets for the closed form: evaluators have no expected reward".into());
    }
    if settings.rounds > KEPT_ROUNDS {
        warnings.push(format!("the table of rounds holds the first {KEPT_ROUNDS} of {} rounds", settings.rounds));
    }
    warnings
}
