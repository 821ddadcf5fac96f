//! C: what a node's work costs, from what was measured and what things are said to cost (Section 3.3 and beyond).

use crate::profile::cost::min_max;
use crate::settings::mechanism::{CostBasis, CostScale, Costs};
use crate::simulate::network::Node;
use anyhow::{Result, bail, ensure};
use std::collections::BTreeMap;

const MS_PER_HOUR: f64 = 3.6e6;

/// C of each node of one pool (inference nodes or evaluators). The profile's own costs where the settings ask for nothing
/// else; otherwise from full-precision latencies, which every node must then have.
pub fn of_pool(nodes: &[Node], costs: &Costs) -> Result<Vec<f64>> {
    if costs.are_those_of_the_profile() {
        return Ok(nodes.iter().map(|node| node.cost).collect());
    }
    let raw = nodes.iter().map(|node| raw(node, costs)).collect::<Result<Vec<f64>>>()?;
    Ok(scaled(&raw, costs))
}

/// Refuses prices and multipliers of nodes that there are not.
pub fn check_names(costs: &Costs, pools: [&[Node]; 2]) -> Result<()> {
    let maps = [
        ("hardware", &costs.hardware),
        ("price_per_hour", &costs.price_per_hour),
        ("power_watts", &costs.power_watts),
        ("bytes_per_answer", &costs.bytes_per_answer),
    ];
    for (field, map) in maps {
        for key in map.keys().filter(|key| *key != "default") {
            if !pools.concat().iter().any(|node| node.template == *key) {
                bail!("`simulation.costs.{field}.{key}` names no node of the run");
            }
        }
    }
    Ok(())
}

/// Milliseconds, or money per 1,000 answers.
fn raw(node: &Node, costs: &Costs) -> Result<f64> {
    let Some(latency_ms) = node.latency_ms else {
        bail!("`simulation.costs` needs the latency of node `{}`, which nobody knows: run `poq profile`", node.key)
    };
    let latency_ms = latency_ms * of_node(&costs.hardware, node, 1.0);
    if costs.basis == CostBasis::Latency {
        return Ok(latency_ms);
    }
    let hours = latency_ms / MS_PER_HOUR;
    let per_hour = of_node(&costs.price_per_hour, node, 0.0)
        + of_node(&costs.power_watts, node, 0.0) / 1000.0 * costs.energy_price;
    let bandwidth = of_node(&costs.bytes_per_answer, node, 0.0) / 1e9 * costs.bandwidth_price;
    let money = 1000.0 * (hours * per_hour + bandwidth);
    ensure!(money.is_finite(), "the cost of node `{}` is not finite: check the prices in `simulation.costs`", node.key);
    Ok(money)
}

fn of_node(map: &BTreeMap<String, f64>, node: &Node, otherwise: f64) -> f64 {
    map.get(&node.template).or_else(|| map.get("default")).copied().unwrap_or(otherwise)
}

fn scaled(raw: &[f64], costs: &Costs) -> Vec<f64> {
    let divided = |by: f64| raw.iter().map(|x| x / by).collect();
    match costs.scale {
        CostScale::MinMax => min_max(raw).values,
        CostScale::Max => {
            let highest = raw.iter().copied().fold(0.0, f64::max);
            if highest > 0.0 { divided(highest) } else { vec![0.0; raw.len()] }
        }
        CostScale::Absolute => divided(costs.unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Node> {
        [("a", 100.0), ("b", 200.0), ("c", 400.0)].map(|(key, latency)| Node::new(key, Some(latency), 0.77)).to_vec()
    }

    fn assert_close(of: &[f64], expected: &[f64]) {
        assert!(of.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{of:?} is not {expected:?}");
    }

    fn map(entries: &[(&str, f64)]) -> BTreeMap<String, f64> {
        entries.iter().map(|&(key, value)| (key.to_owned(), value)).collect()
    }

    #[test]
    fn scales() {
        let with = |scale| of_pool(&nodes(), &Costs { scale, hardware: map(&[("b", 0.5)]), ..Costs::default() });
        assert_close(&with(CostScale::MinMax).expect("costs"), &[0.0, 0.0, 1.0]);
        assert_close(&with(CostScale::Max).expect("costs"), &[0.25, 0.25, 1.0]);
        assert_close(&with(CostScale::Absolute).expect("costs"), &[0.1, 0.1, 0.4]);
        assert_close(&of_pool(&nodes(), &Costs::default()).expect("costs"), &[0.77; 3]);
        let alone = of_pool(&nodes()[..1], &Costs { hardware: map(&[("a", 2.0)]), ..Costs::default() });
        assert_close(&alone.expect("costs"), &[0.0]);
    }

    #[test]
    fn money_is_time_energy_and_bandwidth() {
        let costs = Costs {
            basis: CostBasis::Money,
            scale: CostScale::Absolute,
            unit: 1.0,
            price_per_hour: map(&[("default", 3.6)]),
            power_watts: map(&[("c", 1000.0)]),
            energy_price: 7.2,
            bytes_per_answer: map(&[("a", 1e6)]),
            bandwidth_price: 0.5,
            ..Costs::default()
        };
        // Per 1,000 answers: 0.1 s at 3.6 an hour is 0.1; 1 MB at 0.5 per GB is 0.5; 0.4 s at 1 kW is 0.8 of energy.
        assert_close(&of_pool(&nodes(), &costs).expect("costs"), &[0.1 + 0.5, 0.2, 0.4 + 0.8]);
    }

    #[test]
    fn a_node_of_unknown_latency_and_an_unknown_node_are_named() {
        let costs = Costs { scale: CostScale::Max, hardware: map(&[("zz", 2.0)]), ..Costs::default() };
        let error = of_pool(&[Node::new("a", None, 0.0)], &costs).expect_err("no latency").to_string();
        assert!(error.contains("latency of node `a`"), "{error}");
        let error = check_names(&costs, [&nodes(), &[]]).expect_err("unknown").to_string();
        assert!(error.contains("`simulation.costs.hardware.zz` names no node"), "{error}");
    }
}
