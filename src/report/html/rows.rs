//! The answers for the page's browser: every text once, as JSON, compressed, in base64. A run that is too large for a page
//! loses the ends of its longest texts first and then whole tasks, and the page says so.

use crate::join::Joined;
use crate::report::Inputs;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use std::io::Write;

/// Bytes of base64 that the page has room for: with everything else it stays below 5 MB.
const ROOM: usize = 4_200_000;
/// Bytes of JSON that a browser takes in within a second.
const JSON: usize = 20_000_000;
/// Characters that are kept of a text, one try after the other.
const LENGTHS: [usize; 5] = [usize::MAX, 2_000, 1_000, 500, 250];
/// Bytes of an answer's row that are not text.
const ROW: usize = 90;

/// What the page carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Embedded {
    /// Base64 of gzip of JSON.
    pub data: String,
    /// Answers in it.
    pub rows: usize,
    /// Answers of the run.
    pub of: usize,
    /// Characters that are kept of a text; none where all are.
    pub cut: Option<usize>,
}

#[derive(Serialize)]
struct Data<'a> {
    models: Vec<&'a str>,
    types: Vec<&'a str>,
    scorers: Vec<&'a str>,
    /// Task id, index of its type, input, accepted references.
    tasks: Vec<(&'a str, usize, String, Vec<String>)>,
    rows: Vec<Row<'a>>,
}

/// Index of the task and the model, answer, error, tokens, finish reason, latency in ms, scores in 0..10, the judge's words.
type Row<'a> = (
    usize,
    usize,
    Option<String>,
    Option<String>,
    Option<i32>,
    Option<&'a str>,
    Option<f64>,
    Vec<Option<f64>>,
    Option<String>,
);

/// The answers of a run, as many and as whole as there is room for.
pub(super) fn embed(inputs: &Inputs, joined: &Joined) -> Result<Embedded> {
    let mut by_task: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    let known: std::collections::HashMap<&str, usize> =
        inputs.tasks.iter().enumerate().map(|(index, task)| (task.task_id.as_str(), index)).collect();
    for (row, answer) in joined.generations.iter().enumerate() {
        let Some(task) = known.get(answer.task_id.as_str()) else { continue };
        let place = *places.entry(*task).or_insert_with(|| {
            by_task.push((*task, Vec::new()));
            by_task.len() - 1
        });
        by_task[place].1.push(row);
    }
    let source = Source { inputs, joined, by_task };
    let (mut step, mut length) = (1, 0);
    loop {
        let limit = LENGTHS[length];
        if source.size(step, limit) <= JSON {
            let (data, rows) = source.data(step, limit)?;
            if data.len() <= ROOM {
                let cut = source.is_cut(step, limit).then_some(limit);
                return Ok(Embedded { data, rows, of: joined.generations.len(), cut });
            }
        }
        if length + 1 < LENGTHS.len() {
            length += 1;
        } else if step > source.by_task.len() {
            // Not even one task has room: the page says that there are none.
            return Ok(Embedded { data: String::new(), rows: 0, of: joined.generations.len(), cut: None });
        } else {
            step *= 2;
        }
    }
}

struct Source<'a> {
    inputs: &'a Inputs<'a>,
    joined: &'a Joined<'a>,
    /// Indices of a task and of its answers.
    by_task: Vec<(usize, Vec<usize>)>,
}

impl<'a> Source<'a> {
    /// Every text of some tasks and their answers.
    fn texts(&self, step: usize) -> impl Iterator<Item = &'a str> {
        let (inputs, joined) = (self.inputs, self.joined);
        self.by_task.iter().step_by(step).flat_map(move |(task, rows)| {
            let task = &inputs.tasks[*task];
            let of_task = std::iter::once(task.input.as_str()).chain(task.references.iter().map(String::as_str));
            let of_rows = rows.iter().flat_map(move |row| {
                let judged = joined.judged[*row].and_then(|row| row.justification.as_deref());
                let answer = &joined.generations[*row];
                [answer.output.as_deref(), answer.error.as_deref(), judged].into_iter().flatten()
            });
            of_task.chain(of_rows).collect::<Vec<_>>()
        })
    }

    /// About how large the JSON is.
    fn size(&self, step: usize, limit: usize) -> usize {
        let rows: usize = self.by_task.iter().step_by(step).map(|(_, rows)| rows.len() + 1).sum();
        self.texts(step).map(|text| text.len().min(limit)).sum::<usize>() + rows * (ROW + 8 * self.joined.scorers.len())
    }

    fn is_cut(&self, step: usize, limit: usize) -> bool {
        self.texts(step).any(|text| text.len() > limit && text.chars().count() > limit)
    }

    /// The compressed data, and how many answers it holds.
    fn data(&self, step: usize, limit: usize) -> Result<(String, usize)> {
        let (inputs, joined) = (self.inputs, self.joined);
        let models = joined.models();
        let types = inputs.task_types();
        let judge = joined.judge();
        let columns: Vec<Vec<Option<f64>>> =
            joined.scorers.iter().map(crate::join::ScorerColumn::normalized).chain(judge.clone()).collect();
        let mut scorers: Vec<&str> = joined.scorers.iter().map(|column| column.name).collect();
        scorers.extend(judge.as_ref().map(|_| "judge"));
        let place = |names: &[&str], name: &str| names.iter().position(|other| *other == name).unwrap_or_default();
        let mut data = Data { models, types, scorers, tasks: Vec::new(), rows: Vec::new() };
        let shorter = |text: &str| shorten(text, limit);
        for (task, rows) in self.by_task.iter().step_by(step) {
            let task = &inputs.tasks[*task];
            let references = task.references.iter().map(|text| shorter(text)).collect();
            data.tasks.push((&task.task_id, place(&data.types, &task.task_type), shorter(&task.input), references));
            for row in rows {
                let answer = &joined.generations[*row];
                data.rows.push((
                    data.tasks.len() - 1,
                    place(&data.models, &answer.model),
                    answer.output.as_deref().map(shorter),
                    answer.error.as_deref().map(shorter),
                    answer.output_tokens,
                    answer.finish_reason.as_deref(),
                    answer.latency_ms.map(|ms| rounded(ms, 10.0)),
                    columns.iter().map(|column| column[*row].map(|score| rounded(score, 1000.0))).collect(),
                    joined.judged[*row].and_then(|row| row.justification.as_deref()).map(shorter),
                ));
            }
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        serde_json::to_writer(&mut packed, &data).context("the answers do not become JSON; this is a bug")?;
        packed.flush()?;
        Ok((STANDARD.encode(packed.finish()?), data.rows.len()))
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// A text of at most so many characters; what was longer ends in dots.
fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}
