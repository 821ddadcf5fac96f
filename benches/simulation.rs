//! The Monte Carlo of Algorithm 1: rounds per second at the paper's size (400 records, five LLMs, three evaluators) for
//! each law of K and each consensus rule, with means, variances and quantiles per node and the closed form; and of rules
//! with memory, a hundred evaluators of whom a fifth attack.
//!
//! Threads are those of rayon: `RAYON_NUM_THREADS=1 cargo bench --bench simulation` measures one core.

#![allow(missing_docs)] // the macros below make public functions

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use poq::settings::mechanism::{
    Consensus, EvaluatorAttack, EvaluatorStrategy, Policy, Pool, Rule, Schedule, Trust, TrustUpdate,
};
use poq::settings::{EvaluatorsPerRound, Simulation};
use poq::simulate;
use poq::store::rows::{ProfileRow, ScoreRow};
use poq::store::samples;

const RECORDS: usize = 400;
const MODELS: usize = 5;
const EVALUATORS: usize = 3;

fn scores() -> Vec<ScoreRow> {
    let mut rows = Vec::new();
    for record in 0..RECORDS {
        for model in 0..MODELS {
            for evaluator in 0..EVALUATORS {
                // Any fixed spread over 0..10 will do.
                let place = (record * 7919 + model * 104_729 + evaluator * 1_299_709) % 1000;
                let (task, model, scorer) = (format!("t{record}"), format!("f{model}"), format!("m{evaluator}"));
                rows.push(samples::score(&task, &model, &scorer, Some(place as f64 / 100.0)));
            }
        }
    }
    rows
}

fn profile() -> Vec<ProfileRow> {
    let row = |node_type: &str, node: &str, place: usize, pool: usize| {
        samples::profile(node_type, node, 1.0 + place as f64, place as f64 / (pool - 1) as f64)
    };
    let inference = (0..MODELS).map(|i| row("inference", &format!("f{i}"), i, MODELS));
    let evaluators = (0..EVALUATORS).map(|i| row("evaluator", &format!("m{i}"), i, EVALUATORS));
    inference.chain(evaluators).collect()
}

fn measure(criterion: &mut Criterion, group: &str, cases: Vec<(&str, Simulation)>) {
    let (scores, profile) = (scores(), profile());
    let mut group = criterion.benchmark_group(group);
    for (name, settings) in cases {
        group.sample_size(10).throughput(Throughput::Elements(settings.rounds * u64::from(settings.replicates)));
        group.bench_function(name, |b| b.iter(|| simulate::run(&scores, &profile, &settings).expect("simulates")));
    }
    group.finish();
}

fn long(k: EvaluatorsPerRound, rule: Rule) -> Simulation {
    let consensus = Consensus { rule, ..Consensus::default() };
    Simulation { rounds: 5_000_000, replicates: 20, k, consensus, ..Simulation::default() }
}

fn paper(criterion: &mut Criterion) {
    let three = EvaluatorsPerRound::Fixed(3);
    let range = EvaluatorsPerRound::Range { min: 1, max: 3 };
    let cases = vec![
        ("K = 3, mean", long(three, Rule::Mean)),
        ("K = 1, mean", long(EvaluatorsPerRound::Fixed(1), Rule::Mean)),
        ("K in 1..=3, mean", long(range, Rule::Mean)),
        ("K = 3, median", long(three, Rule::Median)),
        ("K = 3, trimmed mean", long(three, Rule::TrimmedMean)),
        ("K = 3, Huber", long(three, Rule::Huber)),
        ("K in 1..=3, median", long(range, Rule::Median)),
        ("5,000 rounds of 20 replicates", Simulation::default()),
    ];
    measure(criterion, "simulation/paper", cases);
}

/// A hundred evaluators, a fifth of whom boost.
fn crowd(k: usize, rule: Rule, trust: Option<TrustUpdate>) -> Simulation {
    let boost = EvaluatorAttack {
        strategy: EvaluatorStrategy::Boost,
        share: Some(0.2),
        count: None,
        nodes: None,
        strength: None,
        probability: None,
        target: None,
        commit_reveal: None,
    };
    let trust = trust.map(|update| Trust { update, ..Trust::default() });
    Simulation {
        rounds: 100_000,
        replicates: 20,
        k: EvaluatorsPerRound::Fixed(k),
        consensus: Consensus { rule, trust, ..Consensus::default() },
        pool: Some(Pool { evaluators: 100, ..Pool::default() }),
        evaluator_attacks: vec![boost],
        ..Simulation::default()
    }
}

fn crowds(criterion: &mut Criterion) {
    let bandit = Schedule { policy: Policy::Thompson, ..Schedule::default() };
    let cases = vec![
        ("K = 3, trust by Equation 21", crowd(3, Rule::Mean, Some(TrustUpdate::Eq21))),
        ("K = 3, relative trust", crowd(3, Rule::Mean, Some(TrustUpdate::Relative))),
        ("K = 7, relative trust", crowd(7, Rule::Mean, Some(TrustUpdate::Relative))),
        ("K = 7, median", crowd(7, Rule::Median, None)),
        ("K = 3, Thompson sampling", Simulation { schedule: bandit, ..crowd(3, Rule::Mean, None) }),
    ];
    measure(criterion, "simulation/100 evaluators", cases);
}

criterion_group!(benches, paper, crowds);
criterion_main!(benches);
