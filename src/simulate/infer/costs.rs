//! Costs held against the latencies they were made from: min-max again, and the interval of costs that the rounding of
//! printed latencies leaves.

use super::table::{Decimals, IdleNode, Interval, PaidNode, RewardTable, half_unit};
use crate::profile::cost::min_max;
use serde::{Deserialize, Serialize};

/// Costs closer than this are equal; f64 sums differ by less.
const EQUAL: f64 = 1e-9;

/// The cost of one node, twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostCheck {
    /// `inference` or `evaluator`.
    pub node_type: String,
    /// Node key.
    pub node: String,
    /// Mean reward per job, as the table has it.
    pub avg_reward: f64,
    /// Mean latency in ms, as the table has it; null when nobody knows it.
    pub avg_latency_ms: Option<f64>,
    /// C, as the table has it.
    pub cost_norm: f64,
    /// C by min-max of the table's latencies over the nodes of the type; null when one of these latencies is unknown, or costs
    /// were made otherwise.
    pub from_latencies: Option<f64>,
    /// C that latencies before rounding could give; null when one is unknown, or costs were made otherwise.
    pub possible: Option<Interval>,
    /// How the two agree.
    pub verdict: Verdict,
}

/// How a cost agrees with the latencies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The latencies give it, to the last decimal that the table has.
    Exact,
    /// The latencies do not give it, but latencies that round to them can.
    UnroundedOnly,
    /// No latencies that round to these give it.
    Inconsistent,
    /// A latency is unknown.
    Unknown,
    /// Costs were made otherwise than by min-max of the latencies.
    NotMinMax,
}

/// Checks the cost of every node, inference nodes before evaluators.
pub fn check(table: &RewardTable) -> Vec<CostCheck> {
    let (of_inference, of_evaluators) = table.costs_are_min_max();
    let inference = check_type("inference", (&table.inference, &table.idle.inference), table.decimals, of_inference);
    let evaluators =
        check_type("evaluator", (&table.evaluators, &table.idle.evaluators), table.decimals, of_evaluators);
    inference.into_iter().chain(evaluators).collect()
}

/// Checks the nodes that were paid; those that were not take part in the scaling.
fn check_type(
    node_type: &str,
    (nodes, idle): (&[PaidNode], &[IdleNode]),
    decimals: Option<Decimals>,
    is_min_max: bool,
) -> Vec<CostCheck> {
    let latencies = latencies(nodes, idle).filter(|_| is_min_max);
    let recomputed: Option<Vec<f64>> = latencies.map(|latencies| min_max(&latencies).values);
    let possible = if is_min_max { consistent_with_latencies(nodes, idle, decimals) } else { vec![None; nodes.len()] };
    let unknown = if is_min_max { Verdict::Unknown } else { Verdict::NotMinMax };
    let check = |(index, (node, possible)): (usize, (&PaidNode, Option<Interval>))| {
        let from_latencies = recomputed.as_ref().map(|costs| costs[index]);
        CostCheck {
            node_type: node_type.into(),
            node: node.node.clone(),
            avg_reward: node.reward,
            avg_latency_ms: node.latency_ms,
            cost_norm: node.cost,
            from_latencies,
            possible,
            verdict: from_latencies.zip(possible).map_or(unknown, |known| verdict(node.cost, known, decimals)),
        }
    };
    nodes.iter().zip(possible).enumerate().map(check).collect()
}

fn verdict(cost: f64, (recomputed, possible): (f64, Interval), decimals: Option<Decimals>) -> Verdict {
    let half = decimals.map_or(0.0, |decimals| half_unit(decimals.cost)) + EQUAL;
    let printed = Interval { low: cost - half, high: cost + half };
    if printed.common(Interval::point(recomputed)).is_some() {
        Verdict::Exact
    } else if printed.common(possible).is_some() {
        Verdict::UnroundedOnly
    } else {
        Verdict::Inconsistent
    }
}

/// The costs that latencies before rounding could give each node; none for all nodes when one latency is unknown.
///
/// C of a node never falls when its own latency rises, and never rises when another's does. So it is largest where its
/// own latency is as high as rounding allows and all others are as low, and smallest the other way round.
pub fn consistent_with_latencies(
    nodes: &[PaidNode],
    idle: &[IdleNode],
    decimals: Option<Decimals>,
) -> Vec<Option<Interval>> {
    let Some(latencies) = latencies(nodes, idle) else { return vec![None; nodes.len()] };
    let half = decimals.map_or(0.0, |decimals| half_unit(decimals.latency));
    let spread = latencies.iter().any(|latency| (latency - latencies[0]).abs() > 0.0);
    let extreme = |own: usize, shift: f64, flat: f64| {
        let shifted =
            latencies.iter().enumerate().map(|(i, latency)| if i == own { latency + shift } else { latency - shift });
        let costs = min_max(&shifted.collect::<Vec<f64>>());
        if costs.flat.is_some() { flat } else { costs.values[own] }
    };
    let interval = |own| {
        if latencies.len() == 1 || (half <= 0.0 && !spread) {
            // Nothing sets the nodes apart, and rounding did not hide it.
            return Some(Interval::point(0.0));
        }
        Some(Interval { low: extreme(own, -half, 0.0), high: extreme(own, half, 1.0) })
    };
    (0..nodes.len()).map(interval).collect()
}

/// The latencies of all nodes of a type, those without a job last.
fn latencies(nodes: &[PaidNode], idle: &[IdleNode]) -> Option<Vec<f64>> {
    nodes.iter().map(|node| node.latency_ms).chain(idle.iter().map(|node| node.latency_ms)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nodes(latencies: &[Option<f64>]) -> Vec<PaidNode> {
        let node = |(i, &latency_ms): (usize, &Option<f64>)| PaidNode {
            node: format!("n{i}"),
            reward: 0.5,
            cost: 0.0,
            latency_ms,
            jobs: 1,
        };
        latencies.iter().enumerate().map(node).collect()
    }

    const DECIMALS: Decimals = Decimals { reward: 3, cost: 3, latency: 1 };

    #[test]
    fn table_4_has_one_cost_that_printed_latencies_do_not_give() {
        let checks = check(&RewardTable::of_paper());
        for check in &checks {
            let expected = if check.node == "ce_minilm" { Verdict::UnroundedOnly } else { Verdict::Exact };
            assert_eq!(check.verdict, expected, "{check:?}");
        }
        let minilm = checks.iter().find(|check| check.node == "ce_minilm").expect("a line of Table 4");
        assert!((minilm.from_latencies.expect("known") - 0.02).abs() < 1e-9);
        // 0.95 over 0.95 ms gives 0; 1.05 over 0.85 ms, with 5.85 ms the slowest, gives 0.2 of 5.
        let possible = minilm.possible.expect("known");
        assert!(possible.low.abs() < 1e-9 && (possible.high - 0.04).abs() < 1e-9, "{possible:?}");
    }

    #[test]
    fn impossible_and_unknown_costs_are_told_apart() {
        let mut nodes = nodes(&[Some(1.0), Some(2.0), Some(3.0)]);
        (nodes[1].cost, nodes[2].cost) = (0.8, 1.0);
        let verdicts = |nodes: &[PaidNode], decimals| {
            check_type("inference", (nodes, &[]), decimals, true).iter().map(|check| check.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&nodes, Some(DECIMALS)), [Verdict::Exact, Verdict::Inconsistent, Verdict::Exact]);
        nodes[1].cost = 0.52;
        assert_eq!(verdicts(&nodes, Some(DECIMALS)), [Verdict::Exact, Verdict::UnroundedOnly, Verdict::Exact]);
        assert_eq!(verdicts(&nodes, None), [Verdict::Exact, Verdict::Inconsistent, Verdict::Exact]);
        nodes[0].latency_ms = None;
        assert_eq!(verdicts(&nodes, None), [Verdict::Unknown; 3]);
    }

    #[test]
    fn nodes_without_a_job_take_part_in_the_scaling() {
        let mut nodes = nodes(&[Some(1.0), Some(2.0)]);
        (nodes[0].cost, nodes[1].cost) = (0.0, 0.5);
        let idle = [IdleNode { node: "slow".into(), latency_ms: Some(3.0) }];
        let verdicts = |idle: &[IdleNode], is_min_max| {
            let checks = check_type("inference", (&nodes, idle), None, is_min_max);
            checks.iter().map(|check| check.verdict).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&idle, true), [Verdict::Exact; 2]);
        assert_eq!(verdicts(&[], true), [Verdict::Exact, Verdict::Inconsistent]);
        assert_eq!(verdicts(&idle, false), [Verdict::NotMinMax; 2]);
    }

    #[test]
    fn nodes_that_nothing_sets_apart_cost_nothing() {
        for latencies in [&[Some(4.0)][..], &[Some(4.0), Some(4.0)]] {
            let possible = consistent_with_latencies(&nodes(latencies), &[], None);
            assert!(possible.iter().all(|possible| *possible == Some(Interval::point(0.0))));
        }
        // Printed alike, they may still have differed in any way.
        let possible = consistent_with_latencies(&nodes(&[Some(4.0), Some(4.0)]), &[], Some(DECIMALS));
        assert_eq!(possible, [Some(Interval { low: 0.0, high: 1.0 }); 2]);
    }

    proptest! {
        #[test]
        fn the_cost_before_rounding_is_always_possible(latencies in prop::collection::vec(0.5..9.0f64, 2..7)) {
            let printed: Vec<Option<f64>> =
                latencies.iter().map(|latency| Some((latency * 10.0).round() / 10.0)).collect();
            let possible = consistent_with_latencies(&nodes(&printed), &[], Some(DECIMALS));
            for (cost, possible) in min_max(&latencies).values.into_iter().zip(possible) {
                let possible = possible.expect("every latency is known");
                prop_assert!(possible.low - 1e-9 <= cost && cost <= possible.high + 1e-9, "{cost} in {possible:?}");
            }
        }
    }
}
