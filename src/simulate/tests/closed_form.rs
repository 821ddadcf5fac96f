//! The simulation against its closed form, and the closed form against brute force.

use super::*;

#[test]
fn every_node_earns_what_the_closed_form_expects() {
    for (evaluators, missing) in [(3, 0), (3, 35), (5, 0), (5, 60)] {
        let rows = random_rows(11, (25, 4, evaluators), missing);
        for k in LAWS {
            let outcome = of_rows(&rows, &settings(5000, 40, k));
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
        let outcome = of_rows(&rows, &Simulation { seed, ..settings(300, 6, EvaluatorsPerRound::Fixed(2)) });
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
    let outcome = of_rows(&random_rows(1, (10, 2, 3), 20), &settings(500, 5, EvaluatorsPerRound::Fixed(1)));
    for row in outcome.rewards.iter().filter(|row| row.node_type == "evaluator") {
        let reward = 1.0 - 0.3 * row.cost_norm;
        assert!((row.avg_reward.expect("jobs") - reward).abs() < 1e-12, "{row:?}");
        assert_eq!((row.stderr, row.z), (Some(0.0), None));
    }
}

#[test]
fn a_node_without_scores_has_no_mean() {
    let (mut scores, profile) = random_rows(3, (6, 2, 2), 0);
    scores.iter_mut().filter(|row| row.model == "f1").for_each(|row| row.normalized = None);
    let outcome = of_rows(&(scores, profile), &settings(100, 2, EvaluatorsPerRound::Fixed(2)));
    let row = &outcome.rewards[1];
    assert_eq!((row.jobs, row.avg_reward, row.expected_reward, row.ci_high), (0, None, None, None));
    assert!(
        outcome
            .warnings
            .iter()
            .any(|warning| warning == "inference node `f1` never had a job, so it has no mean reward")
    );
}

/// Means, standard deviations and quantiles of counted outcomes, of rounds played one by one, and of the closed form are
/// three ways to the same numbers.
#[test]
fn every_configuration_without_memory_agrees_with_its_closed_form() {
    let network = random_network(21, (20, 3, 4), 15);
    let mut largest: f64 = 0.0;
    for (name, settings) in stateless() {
        let outcome = simulate(&network, &settings, STEPS).expect("sound");
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
        let outcome = simulate(&network, &settings, STEPS).expect("sound");
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
        let outcome = simulate(&network, &Simulation { seed, rounds: 1000, ..settings.clone() }, 0.0).expect("sound");
        assert!(outcome.warnings.iter().all(|warning| !warning.contains("DISAGREE")), "{:?}", outcome.warnings);
    }
}

/// Means of few replicates of very many jobs, and of a single one, against a closed form that knows no deviation.
#[test]
fn a_single_job_and_large_rewards_raise_no_alarm() {
    let network = random_network(8, (12, 3, 4), 0);
    let one = settings(1, 1, EvaluatorsPerRound::Fixed(2));
    let alone = Simulation { alpha_m: 3e7, beta_m: 1e7, ..settings(5000, 4, EvaluatorsPerRound::Fixed(1)) };
    for (settings, steps) in [(one, 0.0), (alone, STEPS)] {
        let outcome = simulate(&network, &settings, steps).expect("sound");
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
