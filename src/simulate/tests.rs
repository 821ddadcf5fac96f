//! The stage as a whole: the simulation against its own closed form, its reproducibility and its refusals.
//! The makers of rows and random tables here serve the tests of the other files too.

use super::*;
use crate::settings::EvaluatorsPerRound;
use crate::simulate::table::ScoreTable;
use crate::store::samples;

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
    let outcome =
        simulate(&random_rows(2, (8, 3, 4), 40), &settings(6000, 1, EvaluatorsPerRound::Range { min: 1, max: 3 }));
    assert_eq!(outcome.rounds.len(), 6000);
    for node in &outcome.rewards {
        let pays: Vec<f64> = if node.node_type == "inference" {
            outcome
                .rounds
                .iter()
                .filter(|round| round.model == node.node)
                .filter_map(|round| round.reward_inference)
                .collect()
        } else {
            let paid = |round: &RoundRow| {
                let place = round.evaluators.iter().position(|evaluator| *evaluator == node.node)?;
                Some(round.rewards_evaluators[place])
            };
            outcome.rounds.iter().filter_map(paid).collect()
        };
        assert_eq!(usize::try_from(node.jobs).expect("a count"), pays.len());
        let mean = pays.iter().sum::<f64>() / pays.len() as f64;
        assert!((mean - node.avg_reward.expect("jobs")).abs() < 1e-10, "{node:?}");
        assert_eq!((node.stderr, node.ci_low, node.z), (None, None, None), "one replicate has no spread");
    }
    let void = outcome.rounds.iter().filter(|round| round.consensus.is_none());
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
