//! The second pass: stored work to the rows of one evaluator, in the order of the pairs; and what scales them.

use super::Pair;
use super::identity::{Identity, Pieces};
use super::scale::{Fit, Method, Scale};
use crate::settings::Scope;
use crate::store::rows::ScoreRow;
use crate::store::work::{Trace, Work, WorkKey, WorkReader};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Turns pairs into rows of one evaluator.
pub struct Column<'a> {
    identity: &'a Identity,
    reader: WorkReader,
    /// The last work that was looked up first: the answers to one task share their reference.
    last: Option<(WorkKey, Rc<Work>)>,
}

impl<'a> Column<'a> {
    /// Reads from the work store as it is now.
    #[must_use]
    pub fn new(identity: &'a Identity, reader: WorkReader) -> Self {
        Self { identity, reader, last: None }
    }

    /// The row of a pair, without `normalized`.
    pub fn row(&mut self, pair: &Pair) -> Result<ScoreRow> {
        let pieces = self.identity.pieces(pair);
        let work_key = self.identity.work_key(&pieces);
        let (raw, trace) = match &pieces {
            Ok(pieces) => {
                let (raw, trace) = self.score(pieces)?;
                (raw, Some(trace))
            }
            Err(error) => (Err(error.clone()), None),
        };
        let mut row = pair.row(self.identity.key(), raw, work_key);
        row.truncated = trace.map(|trace| trace.truncated);
        row.tokens = trace.and_then(|trace| i32::try_from(trace.tokens).ok());
        row.tokenise_ms = trace.map(|trace| trace.tokenise_ms);
        row.queue_ms = trace.map(|trace| trace.queue_ms);
        row.infer_ms = trace.map(|trace| trace.infer_ms);
        Ok(row)
    }

    fn score(&mut self, pieces: &Pieces<'_>) -> Result<(Result<f64, String>, Trace)> {
        let mut works = Vec::with_capacity(2);
        for piece in pieces.iter() {
            works.push(self.work(piece.key, works.is_empty())?);
        }
        let trace = works.iter().map(|work| work.trace).reduce(both).unwrap_or_default();
        let returned: Result<Vec<&[f32]>, String> =
            works.iter().map(|work| work.result.as_deref().map_err(Clone::clone)).collect();
        let raw = returned.and_then(|values| self.identity.rule().score(&values).map_err(|error| format!("{error:#}")));
        Ok((raw, trace))
    }

    fn work(&mut self, key: WorkKey, is_first: bool) -> Result<Rc<Work>> {
        if let Some((last, work)) = &self.last
            && *last == key
        {
            return Ok(Rc::clone(work));
        }
        let work = Rc::new(self.reader.get(&key)?.context("a pair was not scored; this is a bug")?);
        if is_first {
            self.last = Some((key, Rc::clone(&work)));
        }
        Ok(work)
    }
}

/// What reading both texts of a pair took.
fn both(a: Trace, b: Trace) -> Trace {
    Trace {
        tokens: a.tokens.saturating_add(b.tokens),
        truncated: a.truncated || b.truncated,
        tokenise_ms: a.tokenise_ms + b.tokenise_ms,
        queue_ms: a.queue_ms.max(b.queue_ms),
        infer_ms: a.infer_ms + b.infer_ms,
    }
}

/// What normalisation did to one group of scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupScale {
    /// Task type, or `all`.
    pub group: String,
    /// Smallest raw score; null when there is none.
    pub min: Option<f64>,
    /// Largest raw score; null when there is none.
    pub max: Option<f64>,
    /// Raw score that becomes 0, where the scale is linear.
    pub low: Option<f64>,
    /// Raw score that becomes 10, where the scale is linear.
    pub high: Option<f64>,
    /// Scores in the group.
    pub n: usize,
    /// Whether the scale says nothing, so that every normalised score is 5.
    pub constant: bool,
}

/// The scales of one evaluator, group by group, while they are being fitted.
pub struct Fits {
    method: Method,
    scope: Scope,
    groups: BTreeMap<String, Fit>,
}

/// The fitted scales.
pub struct Scales {
    scope: Scope,
    groups: BTreeMap<String, (Scale, GroupScale)>,
}

impl Fits {
    /// No group yet.
    #[must_use]
    pub fn new(method: Method, scope: Scope) -> Self {
        Self { method, scope, groups: BTreeMap::new() }
    }

    /// Counts a row.
    pub fn see(&mut self, pair: &Pair, row: &ScoreRow) {
        let group = group(pair, self.scope);
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), Fit::new(self.method));
        }
        if let (Some(fit), Some(raw)) = (self.groups.get_mut(group), row.raw) {
            fit.see(raw);
        }
    }

    /// The scales.
    #[must_use]
    pub fn finish(self) -> Scales {
        let linear = self.method != Method::Rank;
        let finish = |(group, fit): (String, Fit)| {
            let (range, n) = (fit.range(), fit.count());
            let scale = fit.finish();
            let ends = scale.ends().filter(|_| linear);
            let said = GroupScale {
                group: group.clone(),
                min: range.map(|(min, _)| min),
                max: range.map(|(_, max)| max),
                low: ends.map(|(low, _)| low),
                high: ends.map(|(_, high)| high),
                n,
                constant: scale.is_constant(),
            };
            (group, (scale, said))
        };
        Scales { scope: self.scope, groups: self.groups.into_iter().map(finish).collect() }
    }
}

impl Scales {
    /// The normalised score of a row; null where there is none.
    #[must_use]
    pub fn normalized(&self, pair: &Pair, row: &ScoreRow) -> Option<f64> {
        let (scale, _) = self.groups.get(group(pair, self.scope))?;
        row.raw.map(|raw| scale.place(raw))
    }

    /// What the record says of them.
    #[must_use]
    pub fn said(&self) -> Vec<GroupScale> {
        self.groups.values().map(|(_, said)| said.clone()).collect()
    }
}

fn group(pair: &Pair, scope: Scope) -> &str {
    match scope {
        Scope::PerTask => &pair.task.task_type,
        Scope::Global => "all",
    }
}
