//! The Monte Carlo of Algorithm 1: rounds per second at the paper's size (400 records, five LLMs, three evaluators) for
//! each law of K, closed form included.

#![allow(missing_docs)] // the macros below make public functions

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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

fn rounds(criterion: &mut Criterion) {
    let (scores, profile) = (scores(), profile());
    let mut group = criterion.benchmark_group("simulation");
    for (name, k) in [
        ("K = 1", EvaluatorsPerRound::Fixed(1)),
        ("K = 2", EvaluatorsPerRound::Fixed(2)),
        ("K = 3", EvaluatorsPerRound::Fixed(3)),
        ("K in 1..=3", EvaluatorsPerRound::Range { min: 1, max: 3 }),
    ] {
        let settings = Simulation { rounds: 500_000, replicates: 8, k, ..Simulation::default() };
        group.sample_size(10).throughput(Throughput::Elements(settings.rounds * u64::from(settings.replicates)));
        group.bench_function(name, |b| b.iter(|| simulate::run(&scores, &profile, &settings).expect("simulates")));
    }
    group.finish();
}

criterion_group!(benches, rounds);
criterion_main!(benches);
