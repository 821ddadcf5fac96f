//! Rounds one by one: what the log adds up to, and that threads and blocks change nothing.

use super::*;

#[test]
fn jobs_of_inference_nodes_and_void_rounds_make_all_rounds() {
    for k in LAWS {
        let outcome = of_rows(&random_rows(5, (12, 3, 3), 70), &settings(1000, 7, k));
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
        pool.install(|| of_rows(&rows, &settings))
    };
    assert_eq!(with(1), with(2));
    assert_ne!(with(2).rewards, of_rows(&rows, &Simulation { seed: 43, ..settings.clone() }).rewards);
}

#[test]
fn the_rounds_table_adds_up_to_the_rewards() {
    let rows = random_rows(2, (8, 3, 4), 40);
    let settings = settings(6000, 1, EvaluatorsPerRound::Range { min: 1, max: 3 });
    let outcome = of_rows(&rows, &settings);
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
        let outcome = simulate(&network, &settings, STEPS).expect("sound");
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
        pool.install(|| simulate(&network, &settings, STEPS).expect("sound"))
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
        pool.install(|| simulate(network, &settings, STEPS).expect("sound"))
    };
    for (network, k) in [(&network, 2), (&many, 4)] {
        let outcome = with(network, 1, k);
        assert_eq!(outcome, with(network, 3, k));
        let jobs: i64 = outcome.rewards.iter().filter(|row| row.node_type == "inference").map(|row| row.jobs).sum();
        assert_eq!(jobs.unsigned_abs(), outcome.simulated_rounds);
        assert!(outcome.rewards.iter().all(|row| row.z.is_none_or(|z| z.abs() < 4.5)), "{:?}", outcome.rewards);
    }
}
