//! The stage as a whole: the simulation against its own closed form, its reproducibility and its refusals.
//! The makers of rows and random tables here serve the tests of the other files too.

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

fn simulate((scores, profile): &(Vec<ScoreRow>, Vec<ProfileRow>), settings: &Simulation) -> Outcome {
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

#[test]
fn every_node_earns_what_the_closed_form_expects() {
    for (evaluators, missing) in [(3, 0), (3, 35), (5, 0), (5, 60)] {
        let rows = random_rows(11, (25, 4, evaluators), missing);
        for k in LAWS {
            let outcome = simulate(&rows, &settings(5000, 40, k));
            for row in &outcome.rewards {
                let (average, expected) = (row.avg_reward.expect("jobs"), row.expected_reward.expect("jobs"));
                let within = match row.z {
                    Some(z) => z.abs() < 4.0,
                    None => (average - expected).abs() < 1e-12,
                };
                assert!(within, "{k:?}, {missing} % missing: {row:?}");
                assert!(row.ci_low <= row.avg_reward && row.avg_reward <= row.ci_high);
            }
        }
    }
}

#[test]
fn intervals_cover_the_closed_form_as_often_as_they_promise() {
    let rows = random_rows(4, (25, 4, 4), 30);
    let (mut covered, mut intervals) = (0, 0);
    for seed in 0..250 {
        let outcome = simulate(&rows, &Simulation { seed, ..settings(300, 6, EvaluatorsPerRound::Fixed(2)) });
        for row in &outcome.rewards {
            intervals += 1;
            covered += i32::from(row.ci_low <= row.expected_reward && row.expected_reward <= row.ci_high);
        }
    }
    // Nodes of one run are nearly independent: the standard error of the share is about 0.005.
    let share = f64::from(covered) / f64::from(intervals);
    assert!((share - 0.95).abs() < 0.02, "{covered} of {intervals} intervals hold the expected reward");
}

#[test]
fn alone_an_evaluator_always_agrees_with_itself() {
    let outcome = simulate(&random_rows(1, (10, 2, 3), 20), &settings(500, 5, EvaluatorsPerRound::Fixed(1)));
    for row in outcome.rewards.iter().filter(|row| row.node_type == "evaluator") {
        let reward = 1.0 - 0.3 * row.cost_norm;
        assert!((row.avg_reward.expect("jobs") - reward).abs() < 1e-12, "{row:?}");
        assert_eq!((row.stderr, row.z), (Some(0.0), None));
    }
}

#[test]
fn jobs_of_inference_nodes_and_void_rounds_make_all_rounds() {
    for k in LAWS {
        let outcome = simulate(&random_rows(5, (12, 3, 3), 70), &settings(1000, 7, k));
        let jobs = |node_type: &str| -> u64 {
            let rows = outcome.rewards.iter().filter(|row| row.node_type == node_type);
            rows.map(|row| row.jobs.unsigned_abs()).sum()
        };
        assert_eq!(outcome.simulated_rounds, 7000);
        assert_eq!(jobs("inference") + outcome.void_rounds, 7000);
        assert!(outcome.void_rounds > 0 && outcome.warnings.iter().any(|warning| warning.contains("paid nobody")));
        if let EvaluatorsPerRound::Fixed(k) = k {
            assert_eq!(jobs("evaluator") + outcome.skipped_evaluators, 7000 * k as u64);
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let rows = random_rows(9, (20, 5, 4), 10);
    let settings = settings(2000, 9, EvaluatorsPerRound::Range { min: 1, max: 3 });
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| simulate(&rows, &settings))
    };
    assert_eq!(with(1), with(2));
    assert_ne!(with(2).rewards, simulate(&rows, &Simulation { seed: 43, ..settings.clone() }).rewards);
}

#[test]
fn the_rounds_table_adds_up_to_the_rewards() {
    let rows = random_rows(2, (8, 3, 4), 40);
    let settings = settings(6000, 1, EvaluatorsPerRound::Range { min: 1, max: 3 });
    let outcome = simulate(&rows, &settings);
    let network = Network::from_rows(Tables { scores: &rows.0, profile: &rows.1, tasks: &[] }).expect("sound");
    let rounds = logged(&network, &settings);
    assert_eq!(rounds.len(), 6000);
    for node in &outcome.rewards {
        let pays: Vec<f64> = if node.node_type == "inference" {
            rounds.iter().filter(|round| round.model == node.node).filter_map(|round| round.reward_inference).collect()
        } else {
            let paid = |round: &RoundRow| {
                let place = round.evaluators.iter().position(|evaluator| *evaluator == node.node)?;
                Some(round.rewards_evaluators[place])
            };
            rounds.iter().filter_map(paid).collect()
        };
        assert_eq!(usize::try_from(node.jobs).expect("a count"), pays.len());
        let mean = pays.iter().sum::<f64>() / pays.len() as f64;
        assert!((mean - node.avg_reward.expect("jobs")).abs() < 1e-10, "{node:?}");
        assert_eq!((node.stderr, node.ci_low), (None, None), "one replicate has no spread");
    }
    let void = rounds.iter().filter(|round| round.consensus.is_none());
    assert_eq!(void.clone().count() as u64, outcome.void_rounds);
    assert!(void.clone().all(|round| round.evaluators.is_empty() && round.reward_inference.is_none()));
}

#[test]
fn a_node_without_scores_has_no_mean() {
    let (mut scores, profile) = random_rows(3, (6, 2, 2), 0);
    scores.iter_mut().filter(|row| row.model == "f1").for_each(|row| row.normalized = None);
    let outcome = simulate(&(scores, profile), &settings(100, 2, EvaluatorsPerRound::Fixed(2)));
    let row = &outcome.rewards[1];
    assert_eq!((row.jobs, row.avg_reward, row.expected_reward, row.ci_high), (0, None, None, None));
    assert!(
        outcome
            .warnings
            .iter()
            .any(|warning| warning == "inference node `f1` never had a job, so it has no mean reward")
    );
}

#[test]
fn refuses_more_evaluators_than_the_pool_has() {
    let (scores, profile) = random_rows(3, (2, 2, 2), 0);
    let error = run(&scores, &profile, &settings(10, 1, EvaluatorsPerRound::Range { min: 1, max: 3 })).expect_err("K");
    assert!(error.to_string().contains("3 evaluators per round, but the pool has 2"), "{error}");
    let error = run(&scores, &profile, &settings(0, 1, EvaluatorsPerRound::Fixed(1))).expect_err("no rounds");
    assert!(error.to_string().contains("simulation.rounds"), "{error}");
}

/// An attack by one evaluator.
fn attack(strategy: EvaluatorStrategy, node: &str) -> EvaluatorAttack {
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

/// Means, standard deviations and quantiles of counted outcomes, of rounds played one by one, and of the closed form are
/// three ways to the same numbers.
#[test]
fn every_configuration_without_memory_agrees_with_its_closed_form() {
    let network = random_network(21, (20, 3, 4), 15);
    let mut largest: f64 = 0.0;
    for (name, settings) in stateless() {
        let outcome = super::simulate(&network, &settings, STEPS).expect("sound");
        for row in &outcome.rewards {
            let z = row.z.unwrap_or(0.0);
            largest = largest.max(z.abs());
            assert!(z.abs() < 4.5, "{name}: {row:?}");
            let (found, expected) = (row.std_reward.expect("jobs"), row.expected_std.expect("closed form"));
            assert!((found - expected).abs() < 0.05 * expected + 1e-6, "{name}: {row:?}");
        }
        assert!(outcome.warnings.iter().all(|warning| !warning.contains("DISAGREE")), "{name}: {:?}", outcome.warnings);
    }
    assert!(largest > 1.0, "z values that never exceed 1 would mean that they are not z values");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same probabilities, formed without any of the code that draws, lays out or enumerates.
    #[test]
    fn the_closed_form_is_what_brute_force_finds(
        seed in 0_u64..1000,
        shape in (1_usize..5, 1_usize..4, 1_usize..6),
        missing in 0_usize..80,
        (a, b) in (1_usize..6, 1_usize..6),
        median in any::<bool>(),
    ) {
        let network = random_network(seed, shape, missing);
        let (min, max) = (a.min(b).min(shape.2), a.max(b).min(shape.2));
        let rule = if median { Rule::Median } else { Rule::Mean };
        let consensus = Consensus { rule, ..Consensus::default() };
        let settings = Simulation { consensus, ..settings(2000, 2, EvaluatorsPerRound::Range { min, max }) };
        let outcome = super::simulate(&network, &settings, STEPS).expect("sound");
        let mechanism = Mechanism::new(&network, &settings).expect("sound");
        let enumerated = expected::enumerate(&mechanism, &settings, STEPS, Watch::NOBODY).expect("nobody stops it");
        let brute = brute_force(&network.table, min, max, rule);
        let nodes = enumerated.models.iter().chain(&enumerated.evaluators);
        for ((row, (weight, sum, squares)), enumerated) in outcome.rewards.iter().zip(brute).zip(nodes) {
            if weight == 0.0 {
                prop_assert_eq!((row.expected_reward, row.jobs, *enumerated), (None, 0, None));
                continue;
            }
            let mean = sum / weight;
            let reward = mean - 0.3 * row.cost_norm;
            let deviation = (squares / weight - mean * mean).max(0.0).sqrt();
            // Counted outcomes and the enumeration of what is not counted.
            let counted = (row.expected_reward.expect("jobs"), row.expected_std.expect("jobs"));
            let enumerated = enumerated.expect("jobs");
            for (found, spread) in [counted, (enumerated.mean, enumerated.deviation.expect("known"))] {
                prop_assert!((found - reward).abs() < 1e-12, "{:?} {:?}: {}", rule, row, reward);
                prop_assert!((spread - deviation).abs() < 1e-6, "{:?} {:?}: {}", rule, row, deviation);
            }
        }
    }

    /// Whatever is played, nobody is paid more than alpha or charged more than cost and penalty; Q, d and reports keep to
    /// their scales, and every round that is not void pays one inference node.
    #[test]
    fn rewards_keep_within_their_bounds(seed in 0_u64..1000, which in 0_usize..100, missing in 0_usize..60) {
        let network = random_network(seed, (6, 3, 4), missing);
        let list = stateless();
        let (name, settings) = &list[which % list.len()];
        let settings = Simulation { rounds: 300, replicates: 1, seed, ..settings.clone() };
        let mechanism = Mechanism::new(&network, &settings).expect("sound");
        let (low, high) = mechanism.prices.bounds(1.0);
        for round in logged(&network, &settings) {
            let paid = round.rewards_evaluators.iter().copied().chain(round.reward_inference);
            for reward in paid {
                prop_assert!((low - 1e-12..=high + 1e-12).contains(&reward), "{}: {:?}", name, round);
            }
            prop_assert!(round.consensus.is_none_or(|q| (0.0..=1.0).contains(&q)), "{}: {:?}", name, round);
            prop_assert!(round.reports.iter().all(|report| (0.0..=10.0).contains(report)), "{}: {:?}", name, round);
            prop_assert_eq!(round.consensus.is_none(), round.evaluators.is_empty());
            prop_assert_eq!(round.consensus.is_none(), round.reward_inference.is_none());
        }
    }
}

/// Weight, sum and sum of squares of quality (inference nodes) and closeness (evaluators) over every K, cell and subset.
fn brute_force(table: &ScoreTable, min: usize, max: usize, rule: Rule) -> Vec<(f64, f64, f64)> {
    let mut sums = vec![(0.0, 0.0, 0.0); table.models() + table.evaluators()];
    for k in min..=max {
        let subsets: Vec<u32> = (0_u32..1 << table.evaluators()).filter(|s| s.count_ones() as usize == k).collect();
        for (cell, bits) in (0..table.cells()).flat_map(|cell| subsets.iter().map(move |bits| (cell, bits))) {
            let drawn: Vec<usize> = (0..table.evaluators()).filter(|m| bits >> m & 1 == 1).collect();
            let scores: Vec<(usize, f64)> = table.present(cell, &drawn).collect();
            if scores.is_empty() {
                continue;
            }
            let mut sorted: Vec<f64> = scores.iter().map(|(_, e)| *e).collect();
            sorted.sort_by(f64::total_cmp);
            let n = sorted.len();
            let center = match rule {
                Rule::Median => f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]),
                _ => sorted.iter().sum::<f64>() / n as f64,
            };
            let mut add = |node: usize, value: f64| {
                let p = 1.0 / subsets.len() as f64;
                let sum: &mut (f64, f64, f64) = &mut sums[node];
                *sum = (sum.0 + p, sum.1 + p * value, sum.2 + p * value * value);
            };
            add(table.task_and_model(cell).1, center / 10.0);
            for (evaluator, e) in scores {
                add(table.models() + evaluator, 1.0 - (e - center).abs() / 10.0);
            }
        }
    }
    sums
}

/// Counting outcomes and playing rounds draw the same sequence: the log replays to the same rewards, whatever the rules.
#[test]
fn the_full_log_replays_to_the_rewards() {
    let network = random_network(8, (12, 3, 5), 20);
    let mut configurations: Vec<Simulation> = stateless().into_iter().map(|(_, settings)| settings).collect();
    let trust = Trust { update: TrustUpdate::Relative, ..Trust::default() };
    configurations.push(Simulation {
        consensus: Consensus { trust: Some(trust), ..Consensus::default() },
        schedule: Schedule { policy: Policy::Thompson, ..Schedule::default() },
        congestion: Some(Congestion::default()),
        ..Simulation::default()
    });
    for settings in configurations {
        let settings = Simulation { rounds: 700, replicates: 3, round_log: RoundLog::All, ..settings };
        let outcome = super::simulate(&network, &settings, STEPS).expect("sound");
        let rounds = logged(&network, &settings);
        assert_eq!(rounds.len(), 2100);
        let mechanism = Mechanism::new(&network, &settings).expect("sound");
        let place = |nodes: &[network::Node], key: &str| nodes.iter().position(|node| node.key == key).expect("a node");
        for round in rounds.iter().filter(|round| round.consensus.is_some()) {
            // From what was reported to what was paid, with nothing but the log and the prices.
            let task = network.tasks.iter().position(|task| *task == round.task_id).expect("a task");
            let consensus = round.consensus.expect("not void");
            let model = place(&network.models, &round.model);
            let paid = mechanism.prices.inference(task, model, consensus, round.congestion, round.caught_inference);
            assert!((paid - round.reward_inference.expect("paid")).abs() < 1e-12, "{round:?}");
            if settings.deviation == Deviation::Inclusive {
                for (i, evaluator) in round.evaluators.iter().enumerate() {
                    let deviation = (round.reports[i] - 10.0 * consensus).abs() / 10.0;
                    let evaluator = place(&network.evaluators, evaluator);
                    let paid = mechanism.prices.evaluator(task, evaluator, deviation, round.caught_evaluators[i]);
                    assert!((paid - round.rewards_evaluators[i]).abs() < 1e-12, "{round:?}");
                }
            }
        }
        for node in &outcome.rewards {
            let inference = |round: &RoundRow| round.reward_inference.filter(|_| round.model == node.node);
            let evaluator = |round: &RoundRow| {
                let place = round.evaluators.iter().position(|key| *key == node.node)?;
                Some(round.rewards_evaluators[place])
            };
            let is_model = node.node_type == "inference";
            let pays: Vec<f64> =
                rounds.iter().filter_map(|round| if is_model { inference(round) } else { evaluator(round) }).collect();
            assert_eq!(pays.len() as i64, node.jobs, "{node:?}");
            let mean = pays.iter().sum::<f64>() / pays.len() as f64;
            assert!((mean - node.avg_reward.expect("jobs")).abs() < 1e-9, "{mean}: {node:?}");
        }
    }
}

/// Where outcomes are too many, inference nodes still have their mean: the same that weighing every outcome gives.
#[test]
fn means_without_enumeration_are_those_of_the_enumeration() {
    let network = random_network(9, (12, 3, 5), 30);
    let mut swap = inference(InferenceStrategy::Swap, "f2", Some("f0"));
    swap.probability = Some(0.4);
    let mut settings = Simulation {
        evaluator_attacks: vec![attack(EvaluatorStrategy::Noise, "m1"), attack(EvaluatorStrategy::Misreport, "m3")],
        inference_attacks: vec![swap, inference(InferenceStrategy::Misreport, "f2", None)],
        ..settings(100, 2, EvaluatorsPerRound::Range { min: 1, max: 3 })
    };
    settings.audit.probability = 0.3;
    settings.audit.penalty = 0.5;
    settings.rewards.task_weights.insert("qa".into(), 2.0);
    let mechanism = Mechanism::new(&network, &settings).expect("sound");
    let enumerate = |steps| expected::enumerate(&mechanism, &settings, steps, Watch::NOBODY).expect("nobody stops it");
    let (all, few) = (enumerate(STEPS), enumerate(0.0));
    assert_eq!((all.missing, few.missing), (None, Some(expected::Missing::Outcomes)));
    for (all, few) in all.models.iter().zip(&few.models) {
        let (all, few) = (all.expect("jobs"), few.expect("jobs"));
        assert!((all.mean - few.mean).abs() < 1e-12 && few.deviation.is_none(), "{all:?} {few:?}");
    }
    assert!(few.evaluators.iter().all(Option::is_none));
    // z is normal there too, though only the mean is known: never far off, however few replicates there are.
    for seed in 0..200 {
        let outcome =
            super::simulate(&network, &Simulation { seed, rounds: 1000, ..settings.clone() }, 0.0).expect("sound");
        assert!(outcome.warnings.iter().all(|warning| !warning.contains("DISAGREE")), "{:?}", outcome.warnings);
    }
}

#[test]
fn settings_without_effect_are_said() {
    let network = random_network(9, (12, 3, 3), 0);
    let warned = |settings: Simulation, part: &str| {
        let outcome = super::simulate(&network, &settings, STEPS).expect("sound");
        assert!(outcome.warnings.iter().any(|warning| warning.contains(part)), "{:?}", outcome.warnings);
    };
    let few = EvaluatorAttack { nodes: None, share: Some(0.1), ..attack(EvaluatorStrategy::Boost, "") };
    warned(Simulation { evaluator_attacks: vec![few], ..Simulation::default() }, "entry 1: so small a share of 3");
    let mut audited = Simulation::default();
    audited.audit.probability = 0.1;
    warned(audited, "nobody misreports");
    let mut staked = Simulation::default();
    staked.consensus.rule = Rule::Median;
    staked.consensus.stakes.insert("m1".into(), 2.0);
    warned(staked, "stakes");
}

#[test]
fn threads_change_nothing_with_memory_either() {
    let network = random_network(8, (12, 3, 5), 20);
    let settings = Simulation {
        rounds: 2000,
        replicates: 7,
        consensus: Consensus { trust: Some(Trust::default()), rule: Rule::Huber, ..Consensus::default() },
        schedule: Schedule { policy: Policy::Ucb, ..Schedule::default() },
        pool: Some(Pool { evaluators: 30, ..Pool::default() }),
        ..Simulation::default()
    };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| super::simulate(&network, &settings, STEPS).expect("sound"))
    };
    assert_eq!(with(1), with(3));
}

/// Rounds enough for several blocks: counted and stepped, on one thread and on three.
#[test]
fn blocks_change_nothing() {
    let network = random_network(8, (12, 3, 3), 0);
    let many = random_network(8, (12, 3, 40), 0);
    let with = |network: &Network, threads, k| {
        let settings = settings(play::BLOCK * 2 + 1000, 1, EvaluatorsPerRound::Fixed(k));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| super::simulate(network, &settings, STEPS).expect("sound"))
    };
    for (network, k) in [(&network, 2), (&many, 4)] {
        let outcome = with(network, 1, k);
        assert_eq!(outcome, with(network, 3, k));
        let jobs: i64 = outcome.rewards.iter().filter(|row| row.node_type == "inference").map(|row| row.jobs).sum();
        assert_eq!(jobs.unsigned_abs(), outcome.simulated_rounds);
        assert!(outcome.rewards.iter().all(|row| row.z.is_none_or(|z| z.abs() < 4.5)), "{:?}", outcome.rewards);
    }
}

#[test]
fn an_attack_of_no_strength_is_honest() {
    let network = random_network(4, (15, 3, 5), 10);
    let honest = super::simulate(&network, &settings(3000, 5, EvaluatorsPerRound::Fixed(3)), STEPS).expect("sound");
    for strategy in [EvaluatorStrategy::Boost, EvaluatorStrategy::Sabotage] {
        let weak = EvaluatorAttack { strength: Some(0.0), ..attack(strategy, "m1") };
        let settings = Simulation { evaluator_attacks: vec![weak], ..settings(3000, 5, EvaluatorsPerRound::Fixed(3)) };
        let outcome = super::simulate(&network, &settings, STEPS).expect("sound");
        for (a, b) in honest.rewards.iter().zip(&outcome.rewards) {
            assert_eq!(
                (a.avg_reward, a.std_reward, a.expected_reward),
                (b.avg_reward, b.std_reward, b.expected_reward)
            );
            assert_eq!(b.honest_reward, a.expected_reward);
        }
        let metric = |name: &str| outcome.network.iter().find(|row| row.metric == name).expect("a metric").value;
        assert_eq!(metric("ranking_kendall_honest"), Some(1.0));
    }
}

/// Among K = 3 of 5 with one booster, the published update ends with every weight at
/// its maximum and the plain mean's error, and the relative update sees through the booster.
#[test]
fn the_published_trust_saturates_and_the_relative_one_does_not() {
    let network = agreeing_network();
    let simulate = |update| {
        let consensus =
            Consensus { trust: Some(Trust { update, rate: 0.05, ..Trust::default() }), ..Consensus::default() };
        let settings = Simulation {
            consensus,
            evaluator_attacks: vec![attack(EvaluatorStrategy::Boost, "m4")],
            ..settings(5000, 4, EvaluatorsPerRound::Fixed(3))
        };
        super::simulate(&network, &settings, STEPS).expect("sound")
    };
    let metric =
        |outcome: &Outcome, name: &str| outcome.network.iter().find(|row| row.metric == name).expect("a metric").value;
    let published = simulate(TrustUpdate::Eq21);
    assert_eq!(metric(&published, "trust_saturated_share"), Some(1.0));
    assert!(metric(&published, "trust_saturation_round").expect("saturated") < 300.0);
    assert!(published.warnings.iter().any(|warning| warning.contains("trust saturated in 4 of 4")));
    assert!(published.rewards.iter().all(|row| row.trust_weight.is_none_or(|weight| weight > 1.999)));
    let relative = simulate(TrustUpdate::Relative);
    assert_eq!(metric(&relative, "trust_saturated_share"), Some(0.0));
    assert!(relative.rewards[7].trust_weight.expect("a weight") < 0.2, "the booster is found");
    let error = |outcome: &Outcome| metric(outcome, "consensus_error").expect("a proxy");
    assert!(error(&relative) < 0.7 * error(&published), "{} {}", error(&relative), error(&published));
}

/// Five evaluators that see F1 with a noise of 0.8 points.
fn agreeing_network() -> Network {
    let mut network = random_network(3, (60, 3, 5), 0);
    for cell in 0..network.table.cells() {
        let (task, model) = network.table.task_and_model(cell);
        network.proxies[0].values[cell] = 2.0 + 4.0 * network.proxies[0].values[cell] / 10.0;
        for evaluator in 0..5 {
            network.table.set(task, model, evaluator, network.proxies[0].values[cell]);
        }
    }
    pool::synthesize(&network, &Pool { evaluators: 5, noise: 0.8, ..Pool::default() }).map_or_else(
        |error| panic!("{error}"),
        |mut made| {
            made.evaluators.iter_mut().enumerate().for_each(|(i, node)| node.key = format!("m{i}"));
            made
        },
    )
}

/// Robust rules against one booster of five who agree: the median's error is a fraction of the mean's.
#[test]
fn robust_rules_resist_a_booster() {
    let network = agreeing_network();
    let error = |rule| {
        let settings = Simulation {
            consensus: Consensus { rule, ..Consensus::default() },
            evaluator_attacks: vec![attack(EvaluatorStrategy::Boost, "m2")],
            ..settings(5000, 4, EvaluatorsPerRound::Fixed(5))
        };
        super::simulate(&network, &settings, STEPS).expect("sound").network[0].value.expect("a proxy")
    };
    let mean = error(Rule::Mean);
    for rule in [Rule::Median, Rule::TrimmedMean, Rule::Huber, Rule::Yuma] {
        assert!(error(rule) < 0.85 * mean, "{rule:?}: {} against {mean}", error(rule));
    }
}

#[test]
fn markets_find_the_best_node() {
    let network = random_network(8, (12, 3, 4), 0);
    let best = |policy| {
        let settings = Simulation {
            schedule: Schedule { policy, ..Schedule::default() },
            beta_f: 1.0,
            ..settings(5000, 4, EvaluatorsPerRound::Fixed(2))
        };
        let outcome = super::simulate(&network, &settings, STEPS).expect("sound");
        let share = outcome.rewards[0].jobs as f64 / 20_000.0;
        let metric = |name: &str| outcome.network.iter().find(|row| row.metric == name).and_then(|row| row.value);
        (share, metric("schedule_regret_per_round"))
    };
    // Costs are 0, 1/2 and 1, and the qualities of random scores alike: the first node is the best by far.
    let (uniform, none) = best(Policy::Uniform);
    assert!((uniform - 1.0 / 3.0).abs() < 0.02 && none.is_none());
    for policy in [Policy::Thompson, Policy::Ucb] {
        let (share, regret) = best(policy);
        assert!(share > 0.97, "{policy:?} sends {share} of the work to the best node");
        assert!(regret.expect("jobs") < 0.03, "{policy:?}");
    }
}

/// A median of evaluators who are too many to enumerate has no closed form, and a regret needs one: it is unknown, not 0.
#[test]
fn regret_is_unknown_without_a_closed_form() {
    let network = random_network(8, (12, 3, 4), 0);
    let settings = Simulation {
        schedule: Schedule { policy: Policy::Ucb, ..Schedule::default() },
        consensus: Consensus { rule: Rule::Median, ..Consensus::default() },
        ..settings(20, 4, EvaluatorsPerRound::Fixed(2))
    };
    let regret = |steps| {
        let outcome = super::simulate(&network, &settings, steps).expect("sound");
        outcome.network.iter().find(|row| row.metric == "schedule_regret_per_round").expect("a market").value
    };
    assert_eq!(regret(0.0), None);
    assert!(regret(STEPS).expect("enumerated") > 0.0);
}

/// Means of few replicates of very many jobs, and of a single one, against a closed form that knows no deviation.
#[test]
fn a_single_job_and_large_rewards_raise_no_alarm() {
    let network = random_network(8, (12, 3, 4), 0);
    let one = settings(1, 1, EvaluatorsPerRound::Fixed(2));
    let alone = Simulation { alpha_m: 3e7, beta_m: 1e7, ..settings(5000, 4, EvaluatorsPerRound::Fixed(1)) };
    for (settings, steps) in [(one, 0.0), (alone, STEPS)] {
        let outcome = super::simulate(&network, &settings, steps).expect("sound");
        assert!(outcome.warnings.iter().all(|warning| !warning.contains("DISAGREE")), "{:?}", outcome.warnings);
    }
}

/// Weighing outcomes stops when it is asked to, whether they are kept or not.
#[test]
fn the_closed_form_can_be_interrupted() {
    let network = random_network(8, (12, 3, 4), 0);
    let stopped = Watch { stopped: &|| true, ..Watch::NOBODY };
    for rounds in [20, 5000] {
        let settings = settings(rounds, 2, EvaluatorsPerRound::Fixed(2));
        let error = watched(&network, &settings, STEPS, stopped).expect_err("stopped");
        assert!(error.is::<Stopped>(), "{error:#}");
    }
}

#[test]
fn what_a_network_cannot_play_is_refused_by_name() {
    let network = random_network(1, (4, 3, 3), 0);
    let refused = |settings: Simulation| super::simulate(&network, &settings, STEPS).expect_err("refused").to_string();
    let crowd = EvaluatorAttack { nodes: None, count: Some(4), ..attack(EvaluatorStrategy::Boost, "") };
    let message = refused(Simulation { evaluator_attacks: vec![crowd], ..Simulation::default() });
    assert!(message.contains("4 attackers are wanted") && message.contains("pool of 3"), "{message}");
    let mut weights = Simulation::default();
    weights.rewards.task_weights.insert("translation".into(), 1.0);
    assert!(refused(weights).contains("there are qa, summarization"));
    let mut stakes = Simulation::default();
    stakes.consensus.stakes.insert("m7".into(), 1.0);
    assert!(refused(stakes).contains("`simulation.consensus.stakes.m7` names no evaluator"));
    let mut trim = Simulation::default();
    trim.consensus.trim = 0.5;
    assert!(refused(trim).contains("has nothing left"));
    let alone = Simulation { pool: Some(Pool { evaluators: 1, ..Pool::default() }), ..Simulation::default() };
    assert!(refused(alone).contains("`simulation.pool.evaluators` must lie between 2 and 1000"));
    let priced = Costs { energy_price: 0.3, ..Costs::default() };
    let message = refused(Simulation { costs: priced, ..Simulation::default() });
    assert!(message.contains("`simulation.costs.energy_price` means nothing unless"), "{message}");
    let free = Costs { basis: CostBasis::Money, ..Costs::default() };
    assert!(refused(Simulation { costs: free, ..Simulation::default() }).contains("nothing has a price"));
    let huge = Simulation { alpha_f: 1e200, ..Simulation::default() };
    assert!(refused(huge).contains("too large to add up"));
    let copula = Pool { method: PoolMethod::Copula, evaluators: 9, ..Pool::default() };
    let outcome = super::simulate(&network, &Simulation { pool: Some(copula), ..Simulation::default() }, STEPS);
    assert_eq!(outcome.expect("sound").rewards.len(), 3 + 9);
}
