//! The mechanism from the outside: rules, attacks and pools on a run's tables, and what is refused.

use crate::support::Scratch;
use poq::store::rows::{NetworkRow, RewardRow, RoundRow};

fn ready() -> Scratch {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch
}

fn rewards(scratch: &Scratch) -> Vec<RewardRow> {
    scratch.table("results/tiny/rewards.parquet")
}

fn metric(scratch: &Scratch, name: &str) -> Option<f64> {
    let rows: Vec<NetworkRow> = scratch.table("results/tiny/network.parquet");
    rows.iter().find(|row| row.metric == name).unwrap_or_else(|| panic!("no metric {name} in {rows:?}")).value
}

#[test]
fn the_whole_log_replays_to_the_rewards() {
    let scratch = ready();
    let attack = r#"evaluator_attacks=[{ strategy = "noise", share = 0.25, probability = 0.5 }]"#;
    let arguments =
        ["--round-log", "all", "--rule", "huber", "--set", attack, "--set", "pool.evaluators=12", "--k", "1..4"];
    scratch.poq(&[&["simulate", "results/tiny"], &arguments[..]].concat(), 0);
    let rounds: Vec<RoundRow> = scratch.table("results/tiny/rounds.parquet");
    assert_eq!(rounds.len(), 500 * 20);
    assert!(rounds.iter().all(|round| round.reports.len() == round.evaluators.len()));
    let rewards = rewards(&scratch);
    assert_eq!(rewards.len(), 2 + 12);
    assert_eq!(rewards.iter().filter(|row| row.strategy == "noise").count(), 3);
    for node in &rewards {
        let of_round = |round: &RoundRow| {
            if node.node_type == "inference" {
                return round.reward_inference.filter(|_| round.model == node.node);
            }
            let place = round.evaluators.iter().position(|key| *key == node.node)?;
            Some(round.rewards_evaluators[place])
        };
        let pays: Vec<f64> = rounds.iter().filter_map(of_round).collect();
        assert_eq!(pays.len(), usize::try_from(node.jobs).expect("a count"));
        let mean = pays.iter().sum::<f64>() / pays.len() as f64;
        assert!((mean - node.avg_reward.expect("jobs")).abs() < 1e-9, "{mean}: {node:?}");
    }
    scratch.poq(&["simulate", "results/tiny", "--round-log", "none"], 0);
    assert!(!scratch.path("results/tiny/rounds.parquet").exists(), "an old log is not one of these rounds");
}

#[test]
fn attacks_show_in_the_figures_of_the_network() {
    let scratch = ready();
    let honest = rewards(&scratch);
    assert!(honest.iter().all(|row| row.strategy == "honest" && row.honest_reward.is_none()));
    assert!(metric(&scratch, "consensus_error").is_some());
    let boost = r#"evaluator_attacks=[{ strategy = "boost", nodes = ["tiny_bi"], strength = 4 }]"#;
    scratch.poq(&["simulate", "results/tiny", "--set", boost], 0);
    let attacked = rewards(&scratch);
    for (before, after) in honest.iter().zip(&attacked) {
        assert_eq!(after.honest_reward, before.expected_reward);
        if before.node_type == "inference" {
            assert!(after.avg_reward > before.avg_reward, "a boost pays inference nodes: {after:?}");
        }
    }
    assert!(metric(&scratch, "payout_inflation_inference").expect("attacked") > 0.05);
    // The settings stay with the run until they are set back.
    scratch.poq(&["simulate", "results/tiny", "--set", "evaluator_attacks=[]"], 0);
    assert_eq!(rewards(&scratch), honest);
}

#[test]
fn trust_that_saturates_is_reported() {
    let scratch = ready();
    let arguments = ["simulate", "results/tiny", "--rounds", "2000", "--set", "consensus.trust.update=eq21"];
    scratch.poq(&arguments, 0).says(&["trust saturated in 20 of 20 replicates", "no closed form"]);
    assert_eq!(metric(&scratch, "trust_saturated_share"), Some(1.0));
    assert!(rewards(&scratch).iter().all(|row| row.z.is_none()));
}

#[test]
fn what_cannot_be_played_is_named_and_leaves_the_rewards() {
    let scratch = ready();
    let before = rewards(&scratch);
    for (set, parts) in [
        ("consensus.rule=medain", vec!["consensus.rule", "did you mean `median`?"]),
        ("consensus.trimm=0.1", vec!["unknown field `trimm`", "did you mean `trim`?"]),
        ("consensus.trim=0.5", vec!["simulation.consensus.trim", "nothing left"]),
        ("beta_f=-1", vec!["simulation.beta_f", "-1"]),
        ("alpha_m=inf", vec!["simulation.alpha_m", "inf"]),
        ("evaluator_attacks=[{ strategy = \"boost\", count = 3 }]", vec!["3 attackers", "pool of 2"]),
        ("evaluator_attacks=[{ strategy = \"bost\", count = 1 }]", vec!["did you mean `boost`?"]),
        ("evaluator_attacks=[{ strategy = \"lazy\", nodes = [\"tiny_by\"] }]", vec!["did you mean `tiny_bi`?"]),
        ("pool.evaluators=1", vec!["simulation.pool.evaluators", "between 2 and 1000"]),
        ("pool.evaluators=5000", vec!["simulation.pool.evaluators", "5000"]),
        ("costs.hardware.gpu=2", vec!["simulation.costs.hardware.gpu", "no node"]),
        ("rewards.task_weights.poetry=2", vec!["poetry", "qa, summarization"]),
        ("rounds", vec!["PATH=VALUE"]),
    ] {
        scratch.poq(&["simulate", "results/tiny", "--set", set], 2).says(&parts);
    }
    scratch.poq(&["simulate", "results/tiny"], 0).says(&["nothing to do"]);
    assert_eq!(rewards(&scratch), before);
}
