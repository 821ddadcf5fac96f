//! What attacks, rules, trust and markets lead to, and what is refused or warned of.

use super::*;

#[test]
fn refuses_more_evaluators_than_the_pool_has() {
    let (scores, profile) = random_rows(3, (2, 2, 2), 0);
    let error = run(&scores, &profile, &settings(10, 1, EvaluatorsPerRound::Range { min: 1, max: 3 })).expect_err("K");
    assert!(error.to_string().contains("3 evaluators per round, but the pool has 2"), "{error}");
    let error = run(&scores, &profile, &settings(0, 1, EvaluatorsPerRound::Fixed(1))).expect_err("no rounds");
    assert!(error.to_string().contains("simulation.rounds"), "{error}");
}

#[test]
fn settings_without_effect_are_said() {
    let network = random_network(9, (12, 3, 3), 0);
    let warned = |settings: Simulation, part: &str| {
        let outcome = simulate(&network, &settings, STEPS).expect("sound");
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
fn an_attack_of_no_strength_is_honest() {
    let network = random_network(4, (15, 3, 5), 10);
    let honest = simulate(&network, &settings(3000, 5, EvaluatorsPerRound::Fixed(3)), STEPS).expect("sound");
    for strategy in [EvaluatorStrategy::Boost, EvaluatorStrategy::Sabotage] {
        let weak = EvaluatorAttack { strength: Some(0.0), ..attack(strategy, "m1") };
        let settings = Simulation { evaluator_attacks: vec![weak], ..settings(3000, 5, EvaluatorsPerRound::Fixed(3)) };
        let outcome = simulate(&network, &settings, STEPS).expect("sound");
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
        simulate(&network, &settings, STEPS).expect("sound")
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
        simulate(&network, &settings, STEPS).expect("sound").network[0].value.expect("a proxy")
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
        let outcome = simulate(&network, &settings, STEPS).expect("sound");
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
        let outcome = simulate(&network, &settings, steps).expect("sound");
        outcome.network.iter().find(|row| row.metric == "schedule_regret_per_round").expect("a market").value
    };
    assert_eq!(regret(0.0), None);
    assert!(regret(STEPS).expect("enumerated") > 0.0);
}

#[test]
fn what_a_network_cannot_play_is_refused_by_name() {
    let network = random_network(1, (4, 3, 3), 0);
    let refused = |settings: Simulation| simulate(&network, &settings, STEPS).expect_err("refused").to_string();
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
    let outcome = simulate(&network, &Simulation { pool: Some(copula), ..Simulation::default() }, STEPS);
    assert_eq!(outcome.expect("sound").rewards.len(), 3 + 9);
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
