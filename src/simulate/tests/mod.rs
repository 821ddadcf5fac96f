//! The stage as a whole: the simulation against its own closed form, its reproducibility and its refusals.
//! The makers of rows and random tables here serve the tests of the other files too.

mod closed_form;
mod mechanisms;
mod rounds;

use super::*;
use crate::settings::mechanism::{
    Congestion, Consensus, CostBasis, CostScale, Costs, Deviation, EvaluatorAttack, EvaluatorStrategy, InferenceAttack,
    InferenceStrategy, Policy, Pool, PoolMethod, Rule, Schedule, Shape, Trust, TrustUpdate,
};
use crate::settings::{EvaluatorsPerRound, RoundLog};
use crate::simulate::rng::Stream;
use crate::simulate::table::ScoreTable;
use crate::store::rows::RoundRow;
use crate::store::samples;
use proptest::prelude::*;

pub fn profile_row(node_type: &str, node: &str, cost_norm: f64) -> ProfileRow {
    samples::profile(node_type, node, 5.0, cost_norm)
}

/// Random scores, of which about `missing_percent` are absent, for (tasks, models, evaluators).
pub fn random_table(
    seed: u64,
    (tasks, models, evaluators): (usize, usize, usize),
    missing_percent: usize,
) -> ScoreTable {
    let mut stream = Stream::new(seed, u32::MAX);
    let mut table = ScoreTable::new(tasks, models, evaluators);
    for task in 0..tasks {
        for (model, evaluator) in (0..models).flat_map(|model| (0..evaluators).map(move |m| (model, m))) {
            if stream.below(100) >= missing_percent {
                table.set(task, model, evaluator, stream.below(10_001) as f64 / 1000.0);
            }
        }
    }
    table
}

/// A network of random scores: nodes `f0`, `f1` ... and `m0`, `m1` ..., with costs spread over [0, 1] and F1 as a proxy.
pub fn random_network(seed: u64, shape: (usize, usize, usize), missing_percent: usize) -> Network {
    let (mut scores, profile) = random_rows(seed, shape, missing_percent);
    let mut stream = Stream::new(seed, u32::MAX - 7);
    for task in 0..shape.0 {
        for model in 0..shape.1 {
            let f1 = stream.below(1001) as f64 / 100.0;
            scores.push(samples::score(&format!("t{task}"), &format!("f{model}"), "f1", Some(f1)));
        }
    }
    let tasks: Vec<_> = (0..shape.0)
        .map(|task| crate::store::rows::TaskRow {
            task_type: if task % 2 == 0 { "qa" } else { "summarization" }.into(),
            ..samples::task(&format!("t{task}"))
        })
        .collect();
    Network::from_rows(Tables { scores: &scores, profile: &profile, tasks: &tasks }).expect("sound rows")
}

/// The rows of a random experiment: nodes `f0`, `f1` ... and `m0`, `m1` ..., with costs spread over [0, 1].
fn random_rows(seed: u64, shape: (usize, usize, usize), missing_percent: usize) -> (Vec<ScoreRow>, Vec<ProfileRow>) {
    let table = random_table(seed, shape, missing_percent);
    let (tasks, models, evaluators) = shape;
    let mut scores = Vec::new();
    for (task, model) in (0..tasks).flat_map(|task| (0..models).map(move |model| (task, model))) {
        for evaluator in 0..evaluators {
            let score = table.present(table.cell(task, model), &[evaluator]).next().map(|(_, score)| score);
            scores.push(samples::score(&format!("t{task}"), &format!("f{model}"), &format!("m{evaluator}"), score));
        }
    }
    let cost = |i: usize, of: usize| i as f64 / (of - 1).max(1) as f64;
    let inference = (0..models).map(|i| profile_row("inference", &format!("f{i}"), cost(i, models)));
    let judges = (0..evaluators).map(|i| profile_row("evaluator", &format!("m{i}"), cost(i, evaluators)));
    (scores, inference.chain(judges).collect())
}

fn settings(rounds: u64, replicates: u32, k: EvaluatorsPerRound) -> Simulation {
    Simulation { rounds, replicates, k, ..Simulation::default() }
}

fn of_rows((scores, profile): &(Vec<ScoreRow>, Vec<ProfileRow>), settings: &Simulation) -> Outcome {
    run(scores, profile, settings).expect("sound tables")
}

fn logged(network: &Network, settings: &Simulation) -> Vec<RoundRow> {
    let mut rows = Vec::new();
    log_rounds(network, settings, |row| {
        rows.push(row);
        Ok(())
    })
    .expect("plays");
    rows
}

const LAWS: [EvaluatorsPerRound; 4] = [
    EvaluatorsPerRound::Fixed(1),
    EvaluatorsPerRound::Fixed(2),
    EvaluatorsPerRound::Fixed(3),
    EvaluatorsPerRound::Range { min: 1, max: 3 },
];

/// An attack by one evaluator.
pub(crate) fn attack(strategy: EvaluatorStrategy, node: &str) -> EvaluatorAttack {
    EvaluatorAttack {
        strategy,
        share: None,
        count: None,
        nodes: Some(vec![node.into()]),
        strength: None,
        probability: None,
        target: None,
        commit_reveal: None,
    }
}

fn inference(strategy: InferenceStrategy, node: &str, with: Option<&str>) -> InferenceAttack {
    InferenceAttack { strategy, node: node.into(), with: with.map(Into::into), probability: None, strength: None }
}

/// One of everything that has no memory, for a network of three inference nodes and four evaluators.
fn stateless() -> Vec<(&'static str, Simulation)> {
    let base = || settings(4000, 10, EvaluatorsPerRound::Range { min: 1, max: 3 });
    let consensus = |rule| Consensus { rule, ..Consensus::default() };
    let with_attack = |attack| Simulation { evaluator_attacks: vec![attack], ..base() };
    let mut list = vec![("leave one out", Simulation { deviation: Deviation::LeaveOneOut, ..base() })];
    for (name, rule) in [
        ("median", Rule::Median),
        ("trimmed mean", Rule::TrimmedMean),
        ("Huber", Rule::Huber),
        ("weighted median", Rule::WeightedMedian),
        ("Yuma", Rule::Yuma),
    ] {
        list.push((name, Simulation { consensus: consensus(rule), ..base() }));
    }
    let mut staked = consensus(Rule::Mean);
    staked.stakes.insert("m1".into(), 2.5);
    list.push(("stakes", Simulation { consensus: staked, ..base() }));
    for strategy in [
        EvaluatorStrategy::Noise,
        EvaluatorStrategy::Boost,
        EvaluatorStrategy::Sabotage,
        EvaluatorStrategy::Lazy,
        EvaluatorStrategy::Copycat,
        EvaluatorStrategy::Misreport,
    ] {
        list.push(("an attack", with_attack(attack(strategy, "m2"))));
    }
    let collusion = EvaluatorAttack { target: Some("f1".into()), ..attack(EvaluatorStrategy::Collude, "m0") };
    list.push(("collusion", with_attack(collusion)));
    let now_and_then = EvaluatorAttack { probability: Some(0.3), ..attack(EvaluatorStrategy::Noise, "m3") };
    list.push(("intermittent noise", with_attack(now_and_then.clone())));
    let mut swap = inference(InferenceStrategy::Swap, "f2", Some("f0"));
    swap.probability = Some(0.4);
    let liar = inference(InferenceStrategy::Misreport, "f2", None);
    let mut everything = Simulation {
        evaluator_attacks: vec![now_and_then, attack(EvaluatorStrategy::Misreport, "m1")],
        inference_attacks: vec![swap, liar],
        ..base()
    };
    everything.audit.probability = 0.25;
    everything.audit.penalty = 0.8;
    list.push(("everything at once", everything));
    let mut shaped = base();
    shaped.rewards.shape = Shape::Threshold;
    shaped.rewards.task_weights.insert("qa".into(), 2.0);
    list.push(("threshold and task weights", shaped.clone()));
    shaped.rewards.shape = Shape::Convex;
    shaped.costs = Costs { scale: CostScale::Absolute, unit: 3.0, ..Costs::default() };
    list.push(("convex and absolute", shaped));
    list
}
