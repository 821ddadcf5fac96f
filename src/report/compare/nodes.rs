//! Metrics of nodes that have no rows in common: latencies of two measurements, and rewards of two simulations. Each has a
//! standard error of its own or none, and the difference is that of two independent means.

use super::metric::{Metric, Subject};
use super::pairing::Pairing;
use crate::report::profile_of;
use crate::statistics::significance::{Sample, TwoSample, welch};
use crate::store::rows::{ProfileRow, RewardRow};

/// Node type of LLMs, as the tables have it.
const INFERENCE: &str = "inference";

/// A node: its type and key.
pub(super) type Node<'a> = (&'a str, &'a str);

/// Latency, cost and reward of every node that both runs have.
pub(super) fn metrics(pairing: &Pairing) -> Vec<Metric> {
    let [a, b] = pairing.runs().map(|run| &run.tables);
    let mut found = Vec::new();
    for node in nodes(&a.profile, node_of) {
        let cost_row = |rows| profile_of(rows, node.0, node.1);
        if let (Some(a), Some(b)) = (cost_row(&a.profile), cost_row(&b.profile)) {
            if let (Some(from), Some(to)) = (a.latency_ms_mean, b.latency_ms_mean) {
                found.push(Metric::unpaired(subject("latency_ms", node), "ms", (from, to), latencies(a, b)));
            }
            let reason = "it follows from the latencies of all nodes of its type".to_owned();
            let costs = (a.cost_norm, b.cost_norm);
            found.push(Metric::unpaired(subject("cost_norm", node), "share of the dearest node", costs, Err(reason)));
        }
    }
    for node in nodes(&a.rewards, reward_node) {
        if let (Some(a), Some(b)) = (reward_of(&a.rewards, node), reward_of(&b.rewards, node))
            && let (Some(from), Some(to)) = (a.avg_reward, b.avg_reward)
        {
            found.push(Metric::unpaired(subject("avg_reward", node), "reward per job", (from, to), rewards(a, b)));
        }
    }
    found
}

fn subject(metric: &str, (node_type, node): Node) -> Subject {
    if node_type == INFERENCE { Subject::of_model(metric, node) } else { Subject::of_evaluator(metric, node) }
}

/// The node of a row of `profile`.
pub(super) fn node_of(row: &ProfileRow) -> Node<'_> {
    (&row.node_type, &row.node)
}

/// The node of a row of `rewards`.
pub(super) fn reward_node(row: &RewardRow) -> Node<'_> {
    (&row.node_type, &row.node)
}

/// Nodes of a table, each once, in its order.
pub(super) fn nodes<R>(rows: &[R], node: fn(&R) -> Node<'_>) -> Vec<Node<'_>> {
    let mut found: Vec<Node> = Vec::new();
    for row in rows {
        if !found.contains(&node(row)) {
            found.push(node(row));
        }
    }
    found
}

fn reward_of<'r>(rows: &'r [RewardRow], node: Node) -> Option<&'r RewardRow> {
    rows.iter().find(|row| reward_node(row) == node)
}

fn latencies(baseline: &ProfileRow, other: &ProfileRow) -> Result<TwoSample, String> {
    let sample = |row: &ProfileRow| {
        if row.source != "measured" {
            return Err(format!("a latency that is {} has no standard error", row.source));
        }
        // Timed calls, not the rows in them, are independent.
        let calls = (row.samples as f64 / f64::from(row.batch_size.max(1))).ceil();
        let error =
            row.latency_ms_stderr.ok_or("a profile has no standard error: an earlier poq or a single call made it")?;
        Ok(Sample { mean: row.latency_ms_mean.unwrap_or_default(), standard_error: error, n: calls })
    };
    welch(sample(baseline)?, sample(other)?).ok_or_else(|| "fewer than two timed calls".to_owned())
}

fn rewards(baseline: &RewardRow, other: &RewardRow) -> Result<TwoSample, String> {
    let sample = |row: &RewardRow| {
        let error = row.stderr.ok_or("a simulation of one replicate has no standard error")?;
        let mean = row.avg_reward.unwrap_or_default();
        Ok::<_, String>(Sample { mean, standard_error: error, n: f64::from(row.replicates) })
    };
    welch(sample(baseline)?, sample(other)?).ok_or_else(|| "replicates do not differ".to_owned())
}
