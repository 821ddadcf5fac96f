//! What is exactly the same in two runs: rows of tables, and the texts of answers. Timings are no part of it.

use super::pairing::Pairing;
use super::tables::{Column, Tables};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A table of both runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableEquality {
    /// Name of the table.
    pub table: String,
    /// Rows of the baseline.
    pub baseline_rows: usize,
    /// Rows of the other run.
    pub other_rows: usize,
    /// Rows with the same key, of common tasks.
    pub common: usize,
    /// Of these, rows that agree in every column that is compared.
    pub equal: usize,
    /// Whether all rows of both runs are equal.
    pub identical: bool,
}

impl TableEquality {
    fn new(table: &str, baseline_rows: usize, other_rows: usize, common: usize, equal: usize) -> Self {
        let identical = baseline_rows == equal && other_rows == equal;
        Self { table: table.into(), baseline_rows, other_rows, common, equal, identical }
    }
}

/// The texts of one LLM's answers to the common tasks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outputs {
    /// Node key of the inference node.
    pub model: String,
    /// Common tasks that have an answer in both runs.
    pub answered: usize,
    /// Of these, answers that are the same text.
    pub identical: usize,
    /// Share of these, 0..1; null without any.
    pub share: Option<f64>,
}

/// Every table that a run has, compared row by row.
pub(super) fn tables(pairing: &Pairing) -> Vec<TableEquality> {
    let [a, b] = pairing.runs().map(|run| &run.tables);
    let by_scorer =
        |tables: &'_ Tables| tables.scores.values().flatten().map(|(_, column)| rows(column)).sum::<usize>();
    let sizes = |of: fn(&Tables) -> usize| (of(a), of(b));
    let mut found = Vec::new();
    let mut add = |table, (in_a, in_b): (usize, usize), (common, equal)| {
        if in_a + in_b > 0 {
            found.push(TableEquality::new(table, in_a, in_b, common, equal));
        }
    };
    let data = &pairing.data;
    add("tasks", (data.baseline_tasks, data.other_tasks), (data.common + data.changed.count, data.common));
    add("generations", sizes(|t| t.answers.values().map(rows).sum()), columns(pairing, &a.answers, &b.answers));
    let scores = a.scores.iter().filter_map(|(scorer, own)| Some(columns(pairing, own, b.scores.get(scorer)?)));
    let scores = scores.fold((0, 0), |sum, (common, equal)| (sum.0 + common, sum.1 + equal));
    add("scores", (by_scorer(a), by_scorer(b)), scores);
    add("judgements", sizes(|t| t.grades.values().map(rows).sum()), columns(pairing, &a.grades, &b.grades));
    let profile = keyed(
        &a.profile,
        &b.profile,
        |row| (row.node_type.clone(), row.node.clone(), row.batch_size),
        |a, b| {
            (a.latency_ms_mean, a.cost_norm, a.samples, &a.source)
                == (b.latency_ms_mean, b.cost_norm, b.samples, &b.source)
        },
    );
    add("profile", sizes(|t| t.profile.len()), profile);
    let rewards = keyed(&a.rewards, &b.rewards, |row| (row.node_type.clone(), row.node.clone()), |a, b| a == b);
    add("rewards", sizes(|t| t.rewards.len()), rewards);
    found
}

/// How many outputs are the same text, per LLM that both runs have.
pub(super) fn outputs(pairing: &Pairing) -> Vec<Outputs> {
    let of_model = |model: &str| {
        let [a, b] = pairing.runs().map(|run| &run.tables.answers[model]);
        let pairs = pairing
            .common
            .iter()
            .filter_map(|task| Some((a[task.baseline].as_ref()?.output?, b[task.other].as_ref()?.output?)));
        let (answered, identical) =
            pairs.fold((0, 0), |(answered, same), (a, b)| (answered + 1, same + usize::from(a == b)));
        let share = (answered > 0).then(|| identical as f64 / answered as f64);
        Outputs { model: model.into(), answered, identical, share }
    };
    pairing.models().into_iter().map(of_model).collect()
}

fn rows<T>(column: &Column<T>) -> usize {
    column.iter().filter(|row| row.is_some()).count()
}

/// Rows about common tasks that both runs have, and how many of them are equal.
fn columns<T: PartialEq>(
    pairing: &Pairing,
    baseline: &BTreeMap<String, Column<T>>,
    other: &BTreeMap<String, Column<T>>,
) -> (usize, usize) {
    let both = baseline.iter().filter_map(|(name, own)| Some((own, other.get(name)?)));
    let pairs = both.flat_map(|(a, b)| {
        pairing.common.iter().filter_map(|task| Some((a[task.baseline].as_ref()?, b[task.other].as_ref()?)))
    });
    pairs.fold((0, 0), |(common, equal), (a, b)| (common + 1, equal + usize::from(a == b)))
}

fn keyed<R, K: Hash + Eq>(
    baseline: &[R],
    other: &[R],
    key: impl Fn(&R) -> K,
    equal: impl Fn(&R, &R) -> bool,
) -> (usize, usize) {
    let by_key: HashMap<K, &R> = baseline.iter().map(|row| (key(row), row)).collect();
    let pairs = other.iter().filter_map(|row| Some((*by_key.get(&key(row))?, row)));
    pairs.fold((0, 0), |(common, same), (a, b)| (common + 1, same + usize::from(equal(a, b))))
}
