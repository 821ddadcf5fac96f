//! The cost model of Sections 3.1 and 3.3: mean latencies of the nodes of one type become costs in [0, 1].
//! Called by the profile stage, once for inference nodes (`C_F`) and once for evaluators (`C_M`).

use std::fmt;

/// Costs of a pool, and what made them meaningless if they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    /// C in [0, 1], in the order of the latencies: 0 for the fastest node, 1 for the slowest.
    pub values: Vec<f64>,
    /// Why every cost is 0; none when the latencies differ.
    pub flat: Option<Flat>,
}

/// A pool in which no node is dearer than another, so that rewards do not depend on cost: worth a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flat {
    /// There is only one node to compare.
    OneNode,
    /// Every node has the same latency.
    NoSpread,
}

impl fmt::Display for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneNode => "the pool has a single node, so its cost is 0",
            Self::NoSpread => "every node has the same latency, so every cost is 0",
        })
    }
}

/// Scales mean latencies (ms per sample) linearly into [0, 1] over the nodes of one type: Section 3.1, "costs are
/// derived from measured average latency and normalized across nodes".
///
/// Give full-precision latencies: the paper's own Table 4 cannot be had from its printed ones (`ce_minilm` has cost
/// 0.007, where 1.0 ms between 0.9 and 5.9 ms would make 0.020). Latencies are finite; whoever measures or reads them
/// sees to that. A single node, or equal latencies, cost 0 and say so in [`Costs::flat`].
#[must_use]
pub fn min_max(latencies_ms: &[f64]) -> Costs {
    let fastest = latencies_ms.iter().copied().fold(f64::INFINITY, f64::min);
    let slowest = latencies_ms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let flat = match latencies_ms.len() {
        0 => None,
        1 => Some(Flat::OneNode),
        _ if slowest <= fastest => Some(Flat::NoSpread),
        _ => None,
    };
    let scale = |latency: f64| if flat.is_some() { 0.0 } else { (latency - fastest) / (slowest - fastest) };
    Costs { values: latencies_ms.iter().map(|&latency| scale(latency)).collect(), flat }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rounded(latencies_ms: &[f64]) -> Vec<f64> {
        min_max(latencies_ms).values.iter().map(|cost| (cost * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn inference_costs_of_the_papers_table_4() {
        assert_eq!(rounded(&[1077.7, 1108.0, 1470.1, 2320.6, 2409.3]), [0.0, 0.023, 0.295, 0.933, 1.0]);
    }

    #[test]
    fn evaluator_costs_of_table_4_need_unrounded_latencies() {
        assert_eq!(rounded(&[0.9, 1.0, 5.9]), [0.0, 0.02, 1.0]);
        assert_eq!(rounded(&[0.93, 0.965, 5.9]), [0.0, 0.007, 1.0], "0.93 and 0.965 print as 0.9 and 1.0");
    }

    #[test]
    fn flat_pools_cost_nothing_and_say_why() {
        assert_eq!(min_max(&[12.5]), Costs { values: vec![0.0], flat: Some(Flat::OneNode) });
        assert_eq!(min_max(&[3.0, 3.0]), Costs { values: vec![0.0, 0.0], flat: Some(Flat::NoSpread) });
        assert_eq!(min_max(&[]), Costs { values: vec![], flat: None });
    }

    proptest! {
        #[test]
        fn costs_lie_in_the_unit_interval_and_keep_the_order(latencies in prop::collection::vec(0.01..1e6f64, 2..9)) {
            let costs = min_max(&latencies).values;
            for (a, cost_a) in latencies.iter().zip(&costs) {
                prop_assert!((0.0..=1.0).contains(cost_a));
                for (b, cost_b) in latencies.iter().zip(&costs) {
                    prop_assert!(a > b || cost_a <= cost_b);
                }
            }
        }
    }
}
