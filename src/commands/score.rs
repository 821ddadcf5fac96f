//! `poq score`: `generations/` → `scores/<scorer>.parquet`.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{generate, lineage, tasks};
use crate::cli::{ScoreArguments, WorkArguments};
use crate::executor::{Interrupted, Limits};
use crate::exit_code::ExitCode;
use crate::model::registry::{Model, Registry, Role};
use crate::score::evaluator::{Identity, Parallelism};
use crate::score::pairs::{self, Pair};
use crate::score::{EXACT_MATCH, Evaluator, F1, text_scores};
use crate::store::parts::{self, Group, WorkRow};
use crate::store::rows::ScoreRow;
use crate::store::run_record::StageRecord;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};

/// Sessions of one evaluator at most: its weights are in memory once per session.
const MOST_SESSIONS: usize = 4;

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &ScoreArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_work(&arguments.work)?;
    run.override_settings(|settings| {
        if !arguments.evaluators.is_empty() {
            settings.scoring.evaluators.clone_from(&arguments.evaluators);
        }
        settings.scoring.batch_size = arguments.batch_size.unwrap_or(settings.scoring.batch_size);
    })?;
    stage(context, &mut run, arguments.work)?.print(context, &run.record.settings)
}

/// The stage.
pub fn stage(context: &Context, run: &mut Run, work: WorkArguments) -> Result<StageSummary> {
    run.stage(context, "score", |run| {
        let pairs = pairs::pairs(&tasks::read(run)?, &generate::read(run)?)?;
        ensure!(!pairs.is_empty(), "there are no answers to score");
        let settings = run.record.settings.scoring.clone();
        let mut record = StageRecord::default();
        let mut add = |outcome: &Outcome| {
            record.computed_rows += outcome.computed;
            record.rows += outcome.rows;
            record.failed += outcome.failed;
        };
        for (scorer, rows) in text_scores(&pairs, settings.f1_references)? {
            add(&write_text_scores(run, scorer, &rows)?);
        }
        let registry = context.registry()?;
        let mut warnings = Vec::new();
        let evaluators =
            run.available(&registry, &settings.evaluators, Role::Evaluator, work.skip_missing, &mut warnings)?;
        let keys: Vec<String> =
            [F1.to_owned(), EXACT_MATCH.to_owned()].into_iter().chain(settings.evaluators.iter().cloned()).collect();
        let mut per_evaluator = BTreeMap::new();
        for model in evaluators {
            let outcome = score_all(context, run, &registry, model, &pairs, work)
                .with_context(|| format!("evaluator `{}`", model.key))?;
            add(&outcome);
            warnings.extend(outcome.warnings);
            per_evaluator.insert(model.key.clone(), outcome.figures);
        }
        let removed = parts::remove_other_groups(&run.dir.scores(), &keys)?;
        if !removed.is_empty() {
            warnings.push(format!("removed the scores of scorers that left the run: {}", removed.join(", ")));
        }
        record.warnings = warnings;
        record.details.insert("evaluators".into(), json!(per_evaluator));
        Ok(record)
    })
}

#[derive(Default)]
struct Outcome {
    rows: usize,
    failed: usize,
    computed: usize,
    warnings: Vec<String>,
    figures: serde_json::Value,
}

fn write_text_scores(run: &Run, scorer: &str, rows: &[ScoreRow]) -> Result<Outcome> {
    let mut group: Group<ScoreRow> = Group::open(&run.dir.scores(), scorer, run.dir.name())?;
    let stamp = lineage::stamp(run, parts::content(rows)?, lineage::of_scores(run)?);
    let done = group.is_complete(&stamp)?;
    if !done {
        group.finish(rows, &stamp)?;
    }
    let failed = rows.iter().filter(|row| row.failed()).count();
    Ok(Outcome { rows: rows.len(), failed, computed: if done { 0 } else { rows.len() }, ..Outcome::default() })
}

/// Scores every pair whose texts this evaluator has not scored yet, then normalises and writes the whole column.
fn score_all(
    context: &Context,
    run: &mut Run,
    registry: &Registry,
    model: &Model,
    pairs: &[Pair],
    work: WorkArguments,
) -> Result<Outcome> {
    let settings = run.record.settings.scoring.clone();
    let identity = Identity::open(registry, model)?;
    let keys: Vec<String> = pairs.iter().map(|pair| identity.work_key(pair)).collect();
    let mut group: Group<ScoreRow> = Group::open(&run.dir.scores(), &model.key, run.dir.name())?;
    let mut known = group.existing()?;
    let wanted = |key: &str| known.get(key).is_none_or(|row| work.retry_failed && row.failed());
    let computed = keys.iter().filter(|key| wanted(key)).count();
    let missing = missing_pairs(pairs, &keys, wanted);
    let mut figures = serde_json::Value::Null;
    if !missing.is_empty() {
        context.prepare(run, registry, model)?;
        let mut progress = context.printer.progress(&format!("score {}", model.key), missing.len());
        let parallelism = parallelism(context.threads, missing.len(), settings.batch_size);
        let mut evaluator = Evaluator::open(registry, model, parallelism)?;
        let limits = Limits { rows: settings.batch_size, tokens: settings.batch_tokens };
        let totals = evaluator.score(&missing, limits, &context.quit, |rows| {
            progress.advance(rows.len());
            known.extend(rows.iter().map(|row| (row.work_key.clone(), row.clone())));
            group.append(rows)
        });
        group.flush()?;
        progress.finish();
        let totals = totals?;
        if totals.interrupted {
            return Err(Interrupted.into());
        }
        figures = json!({
            "seconds": totals.elapsed.as_secs_f64(),
            "workers": totals.workers,
            "tokens": totals.tokens,
            "padding_waste": totals.padding_waste(),
            "busy_share": totals.busy_share(),
        });
    }
    // Rows with equal texts share one piece of work; each gets its own row.
    let mut rows: Vec<ScoreRow> = pairs
        .iter()
        .zip(&keys)
        .map(|(pair, key)| {
            let row = known.get(key).cloned().context("a pair has no score row; this is a bug")?;
            Ok(ScoreRow { task_id: pair.task_id.clone(), model: pair.model.clone(), normalized: None, ..row })
        })
        .collect::<Result<_>>()?;
    let scales = pairs::normalise_rows(&mut rows, pairs, settings.normalize_scope);
    let stamp = lineage::stamp(run, parts::content(&rows)?, lineage::of_scores(run)?);
    if !missing.is_empty() || !group.is_complete(&stamp)? {
        group.finish(&rows, &stamp)?;
    }
    group.remove_parts()?;
    let constant = scales.iter().filter(|scale| scale.constant && scale.n > 0);
    let warnings = constant
        .map(|scale| {
            format!(
                "evaluator `{}` gave all {} `{}` rows the same score: normalised to 5",
                model.key, scale.n, scale.group
            )
        })
        .collect();
    let failed = rows.iter().filter(|row| row.failed()).count();
    let figures = json!({ "inference": figures, "normalization": scales });
    Ok(Outcome { rows: rows.len(), failed, computed, warnings, figures })
}

/// Small graphs gain more from several sessions than from several threads in one, but each session holds the weights:
/// a few sessions, no more than there are batches, share the threads.
fn parallelism(threads: usize, pairs: usize, batch_size: usize) -> Parallelism {
    let workers = threads.min(MOST_SESSIONS).min(pairs.div_ceil(batch_size)).max(1);
    Parallelism { workers, threads: (threads / workers).max(1) }
}

/// Pairs to score, each piece of work once, task by task so that pairs with the same reference meet in one chunk.
fn missing_pairs<'p>(pairs: &'p [Pair], keys: &[String], wanted: impl Fn(&str) -> bool) -> Vec<&'p Pair> {
    let mut seen = HashSet::new();
    let mut missing: Vec<&Pair> = pairs
        .iter()
        .zip(keys)
        .filter(|(_, key)| wanted(key) && seen.insert(key.as_str()))
        .map(|(pair, _)| pair)
        .collect();
    missing.sort_by(|a, b| a.task_id.cmp(&b.task_id));
    missing
}

/// The scores of a run: F1 and exact match first, then the evaluators in the settings' order.
pub fn read(run: &Run) -> Result<Vec<ScoreRow>> {
    let directory = run.dir.scores();
    let scorers: Vec<String> = [F1.to_owned(), EXACT_MATCH.to_owned()].into_iter().chain(run.evaluators()).collect();
    let rows = parts::read_groups(&directory, &scorers).context("the scores are not there yet")?;
    let paths = scorers.iter().map(|scorer| parts::group_path(&directory, scorer));
    lineage::check(run, paths, &lineage::of_scores(run)?, "score")?;
    Ok(rows)
}
