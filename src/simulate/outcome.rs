//! Sums become rows: what every node earned beside the closed form, figures of the network, and what there is to warn about.

use crate::settings::Simulation;
use crate::settings::mechanism::Policy;
use crate::simulate::expected::{Expected, Moment};
use crate::simulate::mechanism::Mechanism;
use crate::simulate::network::Node;
use crate::simulate::play::Played;
use crate::simulate::statistics::mean_per_job;
use crate::simulate::strategy::{Branch, HONEST};
use crate::simulate::tally::{Agreement, Tally};
use crate::simulate::trust::Saturation;
use crate::simulate::warnings::warnings;
use crate::statistics::kendall::tau_b;
use crate::statistics::{mean, student_t_975};
use crate::store::rows::{NetworkRow, RewardRow};

/// What the simulation leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One row per node: inference nodes, then evaluators, each in the order of the profile.
    pub rewards: Vec<RewardRow>,
    /// Figures that belong to no node.
    pub network: Vec<NetworkRow>,
    /// What a reader of the rewards should know.
    pub warnings: Vec<String>,
    /// Rounds over all replicates.
    pub simulated_rounds: u64,
    /// Rounds over all replicates that paid nobody, because no drawn evaluator had a score.
    pub void_rounds: u64,
    /// Draws over all replicates of an evaluator that had no score and was left out of its round.
    pub skipped_evaluators: u64,
}

/// Mean simulated reward of every node, inference nodes first.
pub fn mean_rewards(mechanism: &Mechanism, played: &Played) -> Vec<Option<f64>> {
    let nodes = mechanism.network.models.len() + mechanism.network.evaluators.len();
    (0..nodes).map(|node| mean_per_job(&tallies(mechanism, played, node)).map(|estimate| estimate.mean)).collect()
}

/// A node's sums, by replicate.
fn tallies(mechanism: &Mechanism, played: &Played, node: usize) -> Vec<Tally> {
    let models = mechanism.network.models.len();
    let of = |replicate: &crate::simulate::tally::Replicate| {
        if node < models { replicate.models[node] } else { replicate.evaluators[node - models] }
    };
    played.replicates.iter().map(of).collect()
}

/// What the rewards are held against, by node, inference nodes first.
#[derive(Debug, Default)]
pub struct References {
    /// Mean rewards if nobody were dishonest; none where nobody is.
    pub honest: Option<Vec<Option<f64>>>,
    /// Closed-form mean rewards under a uniform schedule; none where the schedule is uniform, or rounds remember more than it.
    pub uniform: Option<Vec<Option<f64>>>,
}

/// Builds the outcome.
pub fn assemble(
    mechanism: &Mechanism,
    settings: &Simulation,
    played: &Played,
    expected: &Expected,
    references: &References,
) -> Outcome {
    let rewards = reward_rows(mechanism, played, expected, references.honest.as_deref());
    let mut outcome = Outcome {
        network: network_rows(mechanism, settings, played, references.uniform.as_deref(), &rewards),
        rewards,
        warnings: Vec::new(),
        simulated_rounds: settings.rounds.saturating_mul(u64::from(settings.replicates)),
        void_rounds: played.replicates.iter().map(|replicate| replicate.void_rounds).sum(),
        skipped_evaluators: played.replicates.iter().map(|replicate| replicate.skipped).sum(),
    };
    outcome.warnings = warnings(&outcome, mechanism, settings, played, expected);
    outcome
}

fn reward_rows(
    mechanism: &Mechanism,
    played: &Played,
    expected: &Expected,
    honest: Option<&[Option<f64>]>,
) -> Vec<RewardRow> {
    let network = mechanism.network;
    let models = network.models.iter().enumerate().map(|(i, node)| ("inference", i, node, expected.models[i]));
    let evaluators =
        network.evaluators.iter().enumerate().map(|(i, node)| ("evaluator", i, node, expected.evaluators[i]));
    let rows = models.chain(evaluators).enumerate().map(|(place, (node_type, i, node, expected))| {
        let is_model = node_type == "inference";
        let costs = if is_model { costs_of_model(mechanism, i) } else { costs_of_evaluator(mechanism, i) };
        let label =
            if is_model { &mechanism.strategies.models[i].label } else { &mechanism.strategies.evaluators[i].label };
        let row = reward_row(node_type, node, &tallies(mechanism, played, place), expected);
        let [reward_p05, reward_p50, reward_p95] = played.quantiles[place].map_or([None; 3], |q| q.map(Some));
        RewardRow {
            cost_norm: costs.own,
            declared_cost: costs.declared,
            spent_cost: costs.spent,
            strategy: label.clone(),
            honest_reward: honest.and_then(|honest| honest[place]),
            trust_weight: if is_model { None } else { mean_weight(played, i) },
            reward_p05,
            reward_p50,
            reward_p95,
            ..row
        }
    });
    rows.collect()
}

/// C of a node three times: of its work if it is honest, as it says, and of what it really does per job.
struct NodeCosts {
    own: f64,
    declared: f64,
    spent: f64,
}

fn costs_of_model(mechanism: &Mechanism, model: usize) -> NodeCosts {
    let (own, behaviour) = (mechanism.model_costs[model], &mechanism.strategies.models[model]);
    let of = |branch: &Branch<usize>| branch.probability * mechanism.model_costs[branch.action];
    NodeCosts { own, declared: own * behaviour.declared, spent: behaviour.branches.iter().map(of).sum() }
}

fn costs_of_evaluator(mechanism: &Mechanism, evaluator: usize) -> NodeCosts {
    let (own, behaviour) = (mechanism.evaluator_costs[evaluator], &mechanism.strategies.evaluators[evaluator]);
    let looking = behaviour.branches.iter().filter(|branch| branch.action.looks()).map(|branch| branch.probability);
    NodeCosts { own, declared: own * behaviour.declared, spent: own * looking.sum::<f64>() }
}

fn mean_weight(played: &Played, evaluator: usize) -> Option<f64> {
    mean(played.memories.iter().filter_map(|memory| memory.weights.get(evaluator)))
}

/// One node: its mean over replicates, how certain that is, and what it should have been.
fn reward_row(node_type: &str, node: &Node, replicates: &[Tally], expected: Option<Moment>) -> RewardRow {
    let mut total = Tally::default();
    for &tally in replicates {
        total.add(tally);
    }
    let estimate = mean_per_job(replicates);
    let avg_reward = estimate.map(|estimate| estimate.mean);
    let stderr = estimate.and_then(|estimate| estimate.stderr);
    let margin = stderr.and_then(|stderr| Some(student_t_975(replicates.len().checked_sub(1)?)? * stderr));
    let expected_std = expected.and_then(|moment| moment.deviation);
    // Where there is a closed form rounds are independent: given how many jobs there were, the mean is one of so many.
    let error = expected_std.or(total.deviation()).map(|deviation| deviation / (total.jobs as f64).sqrt());
    let z = match (avg_reward, expected, error) {
        (Some(average), Some(expected), Some(error)) if error > 0.0 => Some((average - expected.mean) / error),
        _ => None,
    };
    RewardRow {
        node_type: node_type.into(),
        node: node.key.clone(),
        avg_reward,
        stderr,
        std_reward: total.deviation(),
        reward_p05: None,
        reward_p50: None,
        reward_p95: None,
        ci_low: avg_reward.zip(margin).map(|(average, margin)| average - margin),
        ci_high: avg_reward.zip(margin).map(|(average, margin)| average + margin),
        expected_reward: expected.map(|moment| moment.mean),
        expected_std,
        z,
        honest_reward: None,
        avg_latency_ms: node.latency_ms,
        cost_norm: node.cost,
        declared_cost: node.cost,
        spent_cost: node.cost,
        strategy: String::new(),
        trust_weight: None,
        jobs: i64::try_from(total.jobs).unwrap_or(i64::MAX),
        replicates: i32::try_from(replicates.len()).unwrap_or(i32::MAX),
    }
}

/// Figures of the network; which there are depends on the settings.
fn network_rows(
    mechanism: &Mechanism,
    settings: &Simulation,
    played: &Played,
    uniform: Option<&[Option<f64>]>,
    rewards: &[RewardRow],
) -> Vec<NetworkRow> {
    let row = |metric: &str, proxy: Option<&str>, value| NetworkRow {
        metric: metric.into(),
        proxy: proxy.map(Into::into),
        value,
    };
    let network = mechanism.network;
    let (models, evaluators) = rewards.split_at(network.models.len());
    let mut rows = Vec::new();
    for (place, proxy) in network.proxies.iter().enumerate() {
        let mut agreement = Agreement::default();
        played.replicates.iter().for_each(|replicate| agreement.add(&replicate.agreement[place]));
        rows.push(row("consensus_error", Some(proxy.name), agreement.mean_error()));
        rows.push(row("consensus_pearson", Some(proxy.name), agreement.pearson()));
        let of_model = |model| {
            let cells = (0..network.tasks.len()).map(|task| proxy.values[network.table.cell(task, model)]);
            mean(cells.filter(|value| !value.is_nan()))
        };
        let quality: Vec<Option<f64>> = (0..models.len()).map(of_model).collect();
        rows.push(row("ranking_kendall", Some(proxy.name), tau_b(&averages(models), &quality)));
    }
    let rounds = played.replicates.len() as f64 * settings.rounds as f64;
    let paid = |rows: &[RewardRow]| -> f64 {
        rows.iter().filter_map(|row| Some(row.avg_reward? * row.jobs as f64)).sum::<f64>() / rounds
    };
    rows.push(row("payout_inference_per_round", None, Some(paid(models))));
    rows.push(row("payout_evaluators_per_round", None, Some(paid(evaluators))));
    if !settings.is_honest() {
        rows.extend(attack_rows(models, evaluators).into_iter().map(|(metric, value)| row(metric, None, value)));
    }
    if settings.consensus.trust.is_some() {
        let of = |figure: &dyn Fn(&Saturation) -> Option<f64>| -> Vec<f64> {
            played.memories.iter().filter_map(|memory| figure(memory.saturation.as_ref()?)).collect()
        };
        let first = of(&|saturation| saturation.first.map(|round| round as f64));
        let share = first.len() as f64 / played.memories.len() as f64;
        let of_rounds = of(&|saturation| Some(saturation.rounds as f64 / settings.rounds as f64));
        let of_weights = of(&|saturation| Some(saturation.at_max as f64 / network.evaluators.len() as f64));
        rows.push(row("trust_saturated_share", None, Some(share)));
        rows.push(row("trust_saturation_round", None, mean(first)));
        rows.push(row("trust_saturated_rounds_share", None, mean(of_rounds)));
        rows.push(row("trust_weights_at_max_share", None, mean(of_weights)));
    }
    if settings.schedule.policy != Policy::Uniform {
        let settled = played.memories.iter().filter_map(|memory| memory.settled_at.map(|round| round as f64));
        rows.push(row("schedule_settled_round", None, mean(settled)));
        rows.push(row("schedule_regret_per_round", None, regret(models, uniform)));
        let most = models.iter().map(|row| row.jobs).max().unwrap_or(0) as f64;
        let all: i64 = models.iter().map(|row| row.jobs).sum();
        rows.push(row("schedule_largest_share", None, (all > 0).then(|| most / all as f64)));
    }
    rows
}

fn averages(rows: &[RewardRow]) -> Vec<Option<f64>> {
    rows.iter().map(|row| row.avg_reward).collect()
}

/// What dishonesty does to the network.
fn attack_rows(models: &[RewardRow], evaluators: &[RewardRow]) -> Vec<(&'static str, Option<f64>)> {
    let inflation = |rows: &[RewardRow]| mean(rows.iter().filter_map(|row| Some(row.avg_reward? - row.honest_reward?)));
    let of = |honest: bool| {
        let is = |row: &&RewardRow| (row.strategy == HONEST) == honest;
        mean(evaluators.iter().filter(is).filter_map(|row| row.avg_reward))
    };
    let gap = of(true).zip(of(false)).map(|(honest, malicious)| honest - malicious);
    let honest: Vec<Option<f64>> = models.iter().map(|row| row.honest_reward).collect();
    vec![
        ("payout_inflation_inference", inflation(models)),
        ("payout_inflation_evaluators", inflation(evaluators)),
        ("honest_malicious_gap", gap),
        ("ranking_kendall_honest", tau_b(&averages(models), &honest)),
    ]
}

/// Mean over paid rounds of what the best inference node would have earned more, by the closed form of a uniform schedule;
/// none where there is none, or where a node that was chosen has none.
fn regret(models: &[RewardRow], uniform: Option<&[Option<f64>]>) -> Option<f64> {
    let means = &uniform?[..models.len()];
    let best = means.iter().flatten().copied().reduce(f64::max)?;
    let jobs: i64 = models.iter().map(|row| row.jobs).sum();
    let chosen = models.iter().zip(means).filter(|(row, _)| row.jobs > 0);
    let lost: Option<f64> = chosen.map(|(row, mean)| Some((best - (*mean)?) * row.jobs as f64)).sum();
    lost.filter(|_| jobs > 0).map(|lost| lost / jobs as f64)
}
