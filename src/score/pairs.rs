//! The (reference, output) pairs that every scorer reads, made from tasks and generations.

use super::{EXACT_MATCH, F1, f1};
use crate::settings::{F1References, Scope};
use crate::store::Fingerprint;
use crate::store::rows::{GenerationRow, ScoreRow, TaskRow};
use anyhow::{Result, anyhow};
use std::collections::{BTreeMap, HashMap};

/// One answer beside what it is compared with.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The task.
    pub task_id: String,
    /// Its type: the group of per-task normalisation.
    pub task_type: String,
    /// Who answered.
    pub model: String,
    /// First accepted answer, or the highlights.
    pub reference: String,
    /// All accepted answers.
    pub references: Vec<String>,
    /// The answer, or why there is none.
    pub output: Result<String, String>,
}

/// Pairs in the order of the generations.
pub fn pairs(tasks: &[TaskRow], generations: &[GenerationRow]) -> Result<Vec<Pair>> {
    let by_id: HashMap<&str, &TaskRow> = tasks.iter().map(|task| (task.task_id.as_str(), task)).collect();
    generations
        .iter()
        .map(|row| {
            let task = by_id.get(row.task_id.as_str()).ok_or_else(|| {
                anyhow!("model `{}` answered task `{}`, which is not among the tasks", row.model, row.task_id)
            })?;
            let output = match (&row.output, &row.error) {
                (Some(output), None) => Ok(output.clone()),
                (_, Some(error)) => Err(format!("there is no answer: {error}")),
                (None, None) => Err("there is no answer".to_owned()),
            };
            Ok(Pair {
                task_id: task.task_id.clone(),
                task_type: task.task_type.clone(),
                model: row.model.clone(),
                reference: task.reference.clone(),
                references: task.references.clone(),
                output,
            })
        })
        .collect()
}

impl Pair {
    /// A score row for this pair without timings.
    #[must_use]
    pub fn row(&self, scorer: &str, raw: Result<f64, String>, work_key: String) -> ScoreRow {
        let (raw, error) = match raw {
            Ok(raw) => (Some(raw), None),
            Err(error) => (None, Some(error)),
        };
        ScoreRow {
            task_id: self.task_id.clone(),
            model: self.model.clone(),
            scorer: scorer.to_owned(),
            raw,
            normalized: None,
            truncated: None,
            tokens: None,
            tokenise_ms: None,
            queue_ms: None,
            infer_ms: None,
            error,
            work_key,
        }
    }

    /// The two texts an evaluator reads, or why it cannot judge them.
    pub fn texts(&self) -> Result<(&str, &str), String> {
        let output = self.output.as_ref().map_err(Clone::clone)?;
        if self.reference.trim().is_empty() {
            return Err("the reference is empty: there is nothing to compare with".to_owned());
        }
        if output.trim().is_empty() {
            return Err("the output is empty: there is nothing to judge".to_owned());
        }
        Ok((&self.reference, output))
    }
}

/// F1 and exact match of every pair, in 0..1 and times ten.
pub fn text_scores(pairs: &[Pair], references: F1References) -> Result<BTreeMap<&'static str, Vec<ScoreRow>>> {
    let mut tables = BTreeMap::new();
    for (scorer, metric) in [(F1, f1::token_f1 as fn(&str, &[String]) -> f64), (EXACT_MATCH, f1::exact_match)] {
        let rows: Result<Vec<ScoreRow>> = pairs
            .iter()
            .map(|pair| {
                let accepted = match references {
                    F1References::Max => &pair.references[..],
                    F1References::First => &pair.references[..pair.references.len().min(1)],
                };
                let raw = pair.output.as_ref().map(|output| metric(output, accepted)).map_err(Clone::clone);
                let work_key = Fingerprint::new("text score")
                    .text("scorer", scorer)
                    .value("references", &accepted)?
                    .value("output", &pair.output)?
                    .key();
                let mut row = pair.row(scorer, raw, work_key);
                row.normalized = row.raw.map(|raw| raw * 10.0);
                Ok(row)
            })
            .collect();
        tables.insert(scorer, rows?);
    }
    Ok(tables)
}

/// What min-max did to one group of scores.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct GroupScale {
    /// Task type, or `all`.
    pub group: String,
    /// Smallest raw score.
    pub min: Option<f64>,
    /// Largest raw score.
    pub max: Option<f64>,
    /// Scores in the group.
    pub n: usize,
    /// Whether all scores are equal, so that every normalised score is 5.
    pub constant: bool,
}

/// Fills `normalized` by min-max over each group: per task type or over everything, always pooled over models. `rows`
/// stand in the order of `pairs`.
pub fn normalise_rows(rows: &mut [ScoreRow], pairs: &[Pair], scope: Scope) -> Vec<GroupScale> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, pair) in pairs.iter().enumerate() {
        let group = match scope {
            Scope::PerTask => pair.task_type.as_str(),
            Scope::Global => "all",
        };
        groups.entry(group).or_default().push(i);
    }
    let scale = |(group, members): (&str, Vec<usize>)| {
        let raw: Vec<Option<f64>> = members.iter().map(|&i| rows[i].raw).collect();
        let scaled = super::min_max::scale(&raw);
        for (&i, value) in members.iter().zip(&scaled.normalized) {
            rows[i].normalized = *value;
        }
        GroupScale { group: group.to_owned(), min: scaled.min, max: scaled.max, n: scaled.n, constant: scaled.constant }
    };
    groups.into_iter().map(scale).collect()
}
