//! Metrics that cannot be compared because a run lacks them, and how it could get them.

use super::nodes::{Node, node_of, nodes, reward_node};
use super::pairing::Pairing;
use super::rows::Absent;
use super::tables::Run;
use super::words::title;
use serde::Serialize;

/// Metrics that are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingMetric {
    /// Which they are.
    pub what: String,
    /// Labels of the runs that lack them.
    pub runs: Vec<String>,
    /// Why.
    pub reason: String,
    /// The command that makes them; null where none can.
    pub command: Option<String>,
}

/// Tables that metrics come from, and what is not there without them.
const TABLES: [(&str, &str); 4] = [
    ("scores", "F1, exact match, evaluator scores and correlations"),
    ("judgements", "grades of a judge"),
    ("profile", "latencies and costs"),
    ("rewards", "rewards"),
];

/// What is missing.
pub(super) fn missing(pairing: &Pairing, absent: &[Absent]) -> Vec<MissingMetric> {
    let mut found = Vec::new();
    tables(pairing, &mut found);
    rows(pairing, &mut found);
    node_tables(pairing, &mut found);
    if pairing.common.is_empty() {
        found.push(MissingMetric {
            what: "everything that is compared row by row".into(),
            runs: labels(&pairing.runs()),
            reason: "the runs have no task in common".into(),
            command: None,
        });
    } else {
        found.extend(absent.iter().map(|absent| MissingMetric {
            what: title(&absent.subject),
            runs: absent.run.map_or_else(|| labels(&pairing.runs()), |run| labels(&[pairing.runs()[run]])),
            reason: match absent.run {
                Some(_) => "it is not defined there (a constant column or too few rows)".into(),
                None => "a task type has no row with a value in both runs".into(),
            },
            command: None,
        }));
    }
    found
}

fn labels(runs: &[&Run]) -> Vec<String> {
    runs.iter().map(|run| run.label.clone()).collect()
}

/// Whole tables that a run lacks. Without a judge in either run nothing is missing.
fn tables(pairing: &Pairing, found: &mut Vec<MissingMetric>) {
    for (table, what) in TABLES {
        let lacking = pairing.runs().map(|run| (run, run.lacks(table)));
        if table == "judgements" && lacking.iter().all(|(_, lacks)| lacks.is_some()) {
            continue;
        }
        for (run, lacks) in lacking {
            found.extend(lacks.map(|lacks| MissingMetric {
                what: what.into(),
                runs: labels(&[run]),
                reason: lacks.reason.clone(),
                command: Some(lacks.command.clone()),
            }));
        }
    }
}

/// LLMs and scorers that one run alone has.
fn rows(pairing: &Pairing, found: &mut Vec<MissingMetric>) {
    let [a, b] = pairing.runs().map(|run| &run.tables);
    let mut alone = |names: Vec<(&str, usize)>, what: &str, reason: &str| {
        for (name, owner) in names {
            found.push(MissingMetric {
                what: format!("{what} `{name}`"),
                runs: labels(&[pairing.runs()[1 - owner]]),
                reason: reason.into(),
                command: None,
            });
        }
    };
    let models = Pairing::shared(a.answers.keys(), b.answers.keys()).1;
    alone(models, "every metric of the LLM", "it has no answers there");
    if pairing.runs().iter().all(|run| run.lacks("scores").is_none()) {
        let scorers = Pairing::shared(a.scores.keys(), b.scores.keys()).1;
        alone(scorers, "scores of", "it has no scores of the run's answers there");
    }
}

/// Nodes that one run alone has measured or paid, where that is not said yet.
fn node_tables(pairing: &Pairing, found: &mut Vec<MissingMetric>) {
    let [a, b] = pairing.runs().map(|run| &run.tables);
    let profiled = [nodes(&a.profile, node_of), nodes(&b.profile, node_of)];
    let paid = [nodes(&a.rewards, reward_node), nodes(&b.rewards, reward_node)];
    for (table, what, reason, [first, second]) in [
        ("profile", "latency and cost of", "it is not in its profile", profiled),
        ("rewards", "reward of", "it is not paid there", paid),
    ] {
        if pairing.runs().iter().any(|run| run.lacks(table).is_some()) {
            continue;
        }
        for (own, others, lacks) in [(&first, &second, 1), (&second, &first, 0)] {
            for (_, node) in own.iter().filter(|node: &&Node| !others.contains(node)) {
                found.push(MissingMetric {
                    what: format!("{what} `{node}`"),
                    runs: labels(&[pairing.runs()[lacks]]),
                    reason: reason.into(),
                    command: None,
                });
            }
        }
    }
}
