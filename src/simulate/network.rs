//! The network of Section 3.1, read from the tables before: records, inference nodes, evaluators, their costs, and who
//! scored what. Everything that could be wrong with the tables is refused here, so that the rounds need not look.

use crate::score::METRICS;
use crate::signals::Composite;
use crate::simulate::table::ScoreTable;
use crate::store::rows::{JudgementRow, ProfileRow, ScoreRow, TaskRow};
use anyhow::{Result, bail, ensure};
use std::collections::{HashMap, HashSet};

/// A node that can earn.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Node key.
    pub key: String,
    /// Mean latency per sample, in ms; none when nobody knows it.
    pub latency_ms: Option<f64>,
    /// C in [0, 1], of the profile.
    pub cost: f64,
    /// The key of the real node that it is modelled on; its own, unless it is synthetic.
    pub template: String,
}

impl Node {
    /// A real node.
    #[must_use]
    pub fn new(key: &str, latency_ms: Option<f64>, cost: f64) -> Self {
        Self { key: key.to_owned(), latency_ms, cost, template: key.to_owned() }
    }
}

/// What consensus is held against and nobody is paid by: a metric that needs the reference, or a judge.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    /// `f1` or `judge`.
    pub name: &'static str,
    /// Values in [0, 10] by cell of the table; NaN where there is none.
    pub values: Vec<f64>,
}

/// The tables a network is read from.
#[derive(Debug, Clone, Copy)]
pub struct Tables<'a> {
    /// `scores`, metrics included.
    pub scores: &'a [ScoreRow],
    /// `profile`.
    pub profile: &'a [ProfileRow],
    /// `tasks`; may be empty where task types do not matter.
    pub tasks: &'a [TaskRow],
}

/// Everything a round draws from.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Keys of the records, in order of first appearance in the scores.
    pub tasks: Vec<String>,
    /// Task type of each record; empty where nobody said.
    pub task_types: Vec<String>,
    /// Inference nodes, in the order of the profile.
    pub models: Vec<Node>,
    /// Evaluators, in the order of the profile.
    pub evaluators: Vec<Node>,
    /// Normalized scores.
    pub table: ScoreTable,
    /// What consensus can be held against.
    pub proxies: Vec<Proxy>,
    /// Quality signals that can be paid for in place of the consensus: Q in [0, 1] by cell, NaN where there is none.
    pub signals: Vec<(Composite, Vec<f64>)>,
}

impl Network {
    /// Joins scores and profile. A node may have several profile rows (one per batch size): the first one is its cost.
    /// Every record counts, also one that no evaluator could score.
    pub fn from_rows(Tables { scores, profile, tasks: task_rows }: Tables) -> Result<Self> {
        let models = nodes(profile, "inference")?;
        let evaluators = nodes(profile, "evaluator")?;
        let model_index = index(models.iter().map(|node| node.key.as_str()));
        let evaluator_index = index(evaluators.iter().map(|node| node.key.as_str()));
        check_both_know("inference node", &model_index, scores.iter().map(|row| row.model.as_str()))?;
        let judged_by = scores.iter().map(|row| row.scorer.as_str()).filter(|scorer| !METRICS.contains(scorer));
        check_both_know("evaluator", &evaluator_index, judged_by)?;

        let mut tasks = Vec::new();
        let mut task_index = HashMap::new();
        for row in scores {
            task_index.entry(row.task_id.as_str()).or_insert_with(|| {
                tasks.push(row.task_id.clone());
                tasks.len() - 1
            });
        }
        let mut table = ScoreTable::new(tasks.len(), models.len(), evaluators.len());
        let mut f1 = vec![f64::NAN; table.cells()];
        let mut seen = HashSet::new();
        for row in scores {
            let (task, model) = (task_index[row.task_id.as_str()], model_index[row.model.as_str()]);
            if row.scorer == crate::score::F1 {
                f1[table.cell(task, model)] = row.normalized.unwrap_or(f64::NAN);
            }
            let Some(&evaluator) = evaluator_index.get(row.scorer.as_str()) else { continue };
            ensure!(
                seen.insert((task, model, evaluator)),
                "the scores hold two rows for task `{}`, model `{}` and scorer `{}`: run `poq score` again",
                row.task_id,
                row.model,
                row.scorer
            );
            if let Some(score) = row.normalized {
                ensure!(
                    (0.0..=10.0).contains(&score),
                    "the normalized score of task `{}`, model `{}` and scorer `{}` must lie in 0..10; it is {score}",
                    row.task_id,
                    row.model,
                    row.scorer
                );
                table.set(task, model, evaluator, score);
            }
        }
        let types: HashMap<&str, &str> =
            task_rows.iter().map(|task| (task.task_id.as_str(), task.task_type.as_str())).collect();
        let type_of = |task: &String| types.get(task.as_str()).copied().unwrap_or_default().to_owned();
        let task_types = tasks.iter().map(type_of).collect();
        let proxies = if f1.iter().all(|value| value.is_nan()) {
            Vec::new()
        } else {
            vec![Proxy { name: crate::score::F1, values: f1 }]
        };
        Ok(Self { tasks, task_types, models, evaluators, table, proxies, signals: Vec::new() })
    }

    /// Makes the grades of an LLM judge known, as something to hold consensus against.
    pub fn add_judge(&mut self, judgements: &[JudgementRow]) {
        let grades: HashMap<(&str, &str), f64> = judgements
            .iter()
            .filter_map(|row| Some(((row.task_id.as_str(), row.model.as_str()), row.score?)))
            .collect();
        let of_cell = |cell| {
            let (task, model) = self.table.task_and_model(cell);
            let key = (self.tasks[task].as_str(), self.models[model].key.as_str());
            grades.get(&key).copied().unwrap_or(f64::NAN)
        };
        let values: Vec<f64> = (0..self.table.cells()).map(of_cell).collect();
        if values.iter().any(|value| !value.is_nan()) {
            self.proxies.push(Proxy { name: "judge", values });
        }
    }

    /// Makes a quality signal known, in [0, 1] by (record, node).
    pub fn add_signal(&mut self, signal: Composite, quality: &HashMap<(String, String), f64>) {
        let of_cell = |cell| {
            let (task, model) = self.table.task_and_model(cell);
            let key = (self.tasks[task].clone(), self.models[model].key.clone());
            quality.get(&key).copied().unwrap_or(f64::NAN)
        };
        self.signals.push((signal, (0..self.table.cells()).map(of_cell).collect()));
    }

    /// A quality signal by cell, where it is known.
    #[must_use]
    pub fn signal(&self, signal: Composite) -> Option<&[f64]> {
        self.signals.iter().find(|(known, _)| *known == signal).map(|(_, quality)| quality.as_slice())
    }

    /// Answers that have a score and no value of this signal, and answers that have a score.
    #[must_use]
    pub fn without_signal(&self, quality: &[f64]) -> (usize, usize) {
        let has_score = |cell: &usize| (0..self.table.evaluators()).any(|m| !self.table.score(*cell, m).is_nan());
        let scored = (0..self.table.cells()).filter(has_score);
        scored.fold((0, 0), |(without, all), cell| (without + usize::from(quality[cell].is_nan()), all + 1))
    }

    /// What to know of a signal that some answers lack.
    #[must_use]
    pub fn signal_warning(&self, signal: Composite) -> Option<String> {
        let (without, all) = self.without_signal(self.signal(signal)?);
        let text =
            || format!("`{}` is null for {without} of {all} answers; they are paid by the consensus", signal.name());
        (without > 0).then(text)
    }
}

/// Nodes of one type, each from its first row.
fn nodes(profile: &[ProfileRow], node_type: &str) -> Result<Vec<Node>> {
    let mut nodes = Vec::<Node>::new();
    for row in profile.iter().filter(|row| row.node_type == node_type) {
        if nodes.iter().any(|node| node.key == row.node) {
            continue;
        }
        ensure!(
            (0.0..=1.0).contains(&row.cost_norm),
            "the cost of {node_type} node `{}` must lie in 0..1; it is {}: run `poq profile` again",
            row.node,
            row.cost_norm
        );
        nodes.push(Node::new(&row.node, row.latency_ms_mean, row.cost_norm));
    }
    ensure!(!nodes.is_empty(), "the profile holds no {node_type} node: run `poq profile`");
    Ok(nodes)
}

fn index<'a>(keys: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    keys.enumerate().map(|(i, key)| (key, i)).collect()
}

/// Refuses a node that has scores but no cost, or a cost but no scores.
fn check_both_know<'a>(
    kind: &str,
    profiled: &HashMap<&str, usize>,
    scored: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let mut found = vec![false; profiled.len()];
    for key in scored {
        match profiled.get(key) {
            Some(&node) => found[node] = true,
            None => bail!("{kind} `{key}` has scores but no cost: run `poq profile`"),
        }
    }
    let unscored = profiled.iter().filter(|&(_, &node)| !found[node]).map(|(key, _)| *key).min();
    if let Some(key) = unscored {
        bail!(
            "{kind} `{key}` has a cost but no scores: run `poq score`, or `poq profile` if the node has left the experiment"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::tests::profile_row;
    use crate::store::samples;

    fn profile() -> Vec<ProfileRow> {
        vec![
            profile_row("inference", "f0", 0.0),
            profile_row("inference", "f1", 1.0),
            profile_row("evaluator", "m0", 0.25),
        ]
    }

    fn scores() -> Vec<ScoreRow> {
        vec![
            samples::score("b", "f0", "m0", Some(3.0)),
            samples::score("a", "f1", "m0", None),
            samples::score("b", "f1", "f1", Some(9.0)),
            samples::score("c", "f1", "exact_match", Some(0.0)),
        ]
    }

    fn network(scores: &[ScoreRow], profile: &[ProfileRow]) -> Result<Network> {
        Network::from_rows(Tables {
            scores,
            profile,
            tasks: &[TaskRow { task_type: "summarization".into(), ..samples::task("a") }],
        })
    }

    fn error(scores: &[ScoreRow], profile: &[ProfileRow]) -> String {
        network(scores, profile).expect_err("the tables are wrong").to_string()
    }

    #[test]
    fn joins_scores_and_costs() {
        let mut profile = profile();
        profile.push(ProfileRow { batch_size: 8, ..profile_row("evaluator", "m0", 0.75) });
        let network = network(&scores(), &profile).expect("sound tables");
        assert_eq!(network.tasks, ["b", "a", "c"], "in order of first appearance, unscored records included");
        assert_eq!(network.task_types, ["", "summarization", ""]);
        let f1: Vec<Option<f64>> = network.proxies[0].values.iter().map(|&v| (!v.is_nan()).then_some(v)).collect();
        assert_eq!(f1, [None, Some(9.0), None, None, None, None]);
        let mut judged = network.clone();
        judged.add_judge(&[samples::judgement("b", "f0", None)]);
        assert_eq!(judged.proxies.len(), 1, "a judge without a grade is nothing to hold consensus against");
        judged.add_judge(&[samples::judgement("a", "f1", Some(7.0)), samples::judgement("z", "f1", Some(1.0))]);
        assert_eq!((judged.proxies[1].name, judged.proxies[1].values[3]), ("judge", 7.0));
        assert_eq!(judged.proxies[1].values.iter().filter(|grade| !grade.is_nan()).count(), 1);
        assert_eq!(network.evaluators.len(), 1);
        assert!((network.evaluators[0].cost - 0.25).abs() < 1e-15, "the first row is the cost");
        let scores: Vec<_> = (0..network.table.cells()).flat_map(|cell| network.table.present(cell, &[0])).collect();
        assert_eq!(scores, [(0, 3.0)], "metrics and null scores do not count");
    }

    #[test]
    fn names_the_node_that_one_table_lacks() {
        let unknown = |row: ScoreRow| error(&[scores(), vec![row]].concat(), &profile());
        let message = unknown(samples::score("a", "f9", "m0", Some(1.0)));
        assert_eq!(message, "inference node `f9` has scores but no cost: run `poq profile`");
        let message = unknown(samples::score("a", "f0", "m9", Some(1.0)));
        assert_eq!(message, "evaluator `m9` has scores but no cost: run `poq profile`");
        let message = error(&scores(), &[profile(), vec![profile_row("evaluator", "m1", 0.0)]].concat());
        assert!(message.starts_with("evaluator `m1` has a cost but no scores: run `poq score`"), "{message}");
        assert!(error(&[], &profile()).contains("inference node `f0` has a cost but no scores"));
        assert!(error(&scores(), &profile()[..2]).contains("no evaluator node: run `poq profile`"));
    }

    #[test]
    fn refuses_numbers_out_of_range_and_double_rows() {
        let with = |row: ScoreRow| error(&[scores(), vec![row]].concat(), &profile());
        assert!(with(samples::score("a", "f0", "m0", Some(10.1))).contains("must lie in 0..10; it is 10.1"));
        assert!(with(samples::score("a", "f0", "m0", Some(f64::NAN))).contains("it is NaN"));
        assert!(with(samples::score("b", "f0", "m0", Some(3.0))).contains("two rows for task `b`"));
        let dear = [&profile()[1..], &[profile_row("inference", "f0", 1.5)]].concat();
        assert!(error(&scores(), &dear).contains("cost of inference node `f0` must lie in 0..1; it is 1.5"));
    }
}
