//! `poq generate`: `tasks.parquet` → `generations/<model>.parquet`.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{lineage, tasks};
use crate::cli::{GenerateArguments, WorkArguments};
use crate::executor::Interrupted;
use crate::exit_code::ExitCode;
use crate::generate::outcome::Totals;
use crate::generate::{Batching, Generator, Prompter, Request};
use crate::model::registry::{Model, Registry, Role};
use crate::profile::machine;
use crate::store::parts::{self, Group, WorkRow};
use crate::store::rows::{GenerationRow, TaskRow};
use crate::store::run_record::StageRecord;
use crate::store::stream::Reader;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &GenerateArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_work(&arguments.work)?;
    run.override_settings(|settings| {
        let generation = &mut settings.generation;
        if !arguments.models.is_empty() {
            generation.models.clone_from(&arguments.models);
        }
        generation.max_new_tokens = arguments.max_new_tokens.unwrap_or(generation.max_new_tokens);
        generation.min_new_tokens = arguments.min_new_tokens.unwrap_or(generation.min_new_tokens);
        generation.temperature = arguments.temperature.unwrap_or(generation.temperature);
        generation.top_p = arguments.top_p.unwrap_or(generation.top_p);
        generation.top_k = arguments.top_k.unwrap_or(generation.top_k);
        generation.min_p = arguments.min_p.unwrap_or(generation.min_p);
        generation.repetition_penalty = arguments.repetition_penalty.unwrap_or(generation.repetition_penalty);
        generation.seed = arguments.seed.unwrap_or(generation.seed);
        generation.batch_size = arguments.batch_size.unwrap_or(generation.batch_size);
        generation.batch_tokens = arguments.batch_tokens.unwrap_or(generation.batch_tokens);
        generation.kv_cache_mb = arguments.kv_cache_mb.or(generation.kv_cache_mb);
        generation.cuda_graphs |= arguments.cuda_graphs;
        generation.provider = arguments.provider.unwrap_or(generation.provider);
    })?;
    stage(context, &mut run, arguments.work)?.print(context, &run.record.settings)
}

/// The stage.
pub fn stage(context: &Context, run: &mut Run, work: WorkArguments) -> Result<StageSummary> {
    run.stage(context, "generate", |run| {
        let settings = run.record.settings.generation.clone();
        if run.record.imported_from.is_some() {
            return imported(run);
        }
        let tasks = tasks::read(run)?;
        let registry = run.generation_registry(context)?;
        let mut record = StageRecord::default();
        let models = models(run, &registry, work.skip_missing, &mut record.warnings)?;
        let mut per_model = BTreeMap::new();
        let (mut truncated, mut empty) = (0, 0);
        for model in models {
            let outcome = answer_all(context, run, &registry, model, &tasks, work)
                .with_context(|| format!("model `{}`", model.key))?;
            record.computed_rows += outcome.computed;
            record.rows += outcome.rows;
            record.failed += outcome.failed;
            truncated += outcome.truncated;
            empty += outcome.empty;
            if let Some(shrunk) = outcome.shrunk {
                record.warnings.push(format!("`{}`: {shrunk}", model.key));
            }
            if let Some(figures) = outcome.figures {
                per_model.insert(model.key.clone(), figures);
            }
        }
        let removed = parts::remove_other_groups(&run.dir.generations(), &settings.models)?;
        if !removed.is_empty() {
            record.warnings.push(format!("removed the answers of models that left the run: {}", removed.join(", ")));
        }
        if truncated > 0 {
            let what = "were cut at the end of their passage or article to fit the model (`prompt_truncated`)";
            record.warnings.push(format!("{truncated} prompts {what}"));
        }
        if empty > 0 {
            record.warnings.push(format!("{empty} answers are empty; they are scored as they are"));
        }
        record.details.insert("models".into(), json!(per_model));
        Ok(record)
    })
}

/// The models that answer; at least one.
pub(super) fn models<'r>(
    run: &mut Run,
    registry: &'r Registry,
    skip_missing: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<&'r Model>> {
    let keys = run.record.settings.generation.models.clone();
    let first = keys.first().context("`generation.models` is empty: nobody answers")?;
    let models = run.available(registry, &keys, Role::Inference, skip_missing, warnings)?;
    ensure!(
        !models.is_empty(),
        "none of the models in `generation.models` is exported\nhint: `{}` exports them",
        registry.get(first, Role::Inference)?.recipe()
    );
    Ok(models)
}

struct Outcome {
    rows: usize,
    failed: usize,
    computed: usize,
    /// Prompts that were cut.
    truncated: usize,
    /// Answers without a word.
    empty: usize,
    figures: Option<serde_json::Value>,
    /// What was done because memory ran out.
    shrunk: Option<String>,
}

/// Answers every task that has no row of this model and these settings yet, then writes the finished table.
fn answer_all(
    context: &Context,
    run: &mut Run,
    registry: &Registry,
    model: &Model,
    tasks: &[TaskRow],
    work: WorkArguments,
) -> Result<Outcome> {
    let settings = run.record.settings.generation.clone();
    let prompter = Prompter::open(registry, model, &settings)?;
    let requests: Vec<Request> = tasks.iter().map(|task| prompter.request(task)).collect::<Result<_>>()?;
    let mut group: Group<GenerationRow> = Group::open(&run.dir.generations(), &model.key, run.dir.name())?;
    let mut rows = group.existing()?;
    let wanted = |row: Option<&GenerationRow>| row.is_none_or(|row| work.retry_failed && row.failed());
    let missing: HashSet<String> =
        requests.iter().map(|request| request.work_key.clone()).filter(|key| wanted(rows.get(key))).collect();
    let (mut figures, mut shrunk) = (None, None);
    if !missing.is_empty() {
        context.prepare(run, registry, model)?;
        context.printer.note(&format!(
            "{}: {} {}, up to {} rows at once",
            model.key,
            model.provider.name(),
            model.arithmetic(),
            settings.batch_size
        ));
        let mut progress = context.printer.progress(&format!("generate {}", model.key), missing.len());
        let mut generator = Generator::open(registry, model, prompter, context.threads)?;
        let totals = generator.answer(
            &requests,
            |request| missing.contains(&request.work_key),
            Batching::of(&settings),
            &context.quit,
            |done| {
                progress.advance(done.len());
                rows.extend(done.iter().map(|row| (row.work_key.clone(), row.clone())));
                group.append(done)
            },
        );
        group.flush()?;
        progress.finish();
        let totals = totals?;
        if totals.interrupted {
            return Err(Interrupted.into());
        }
        let mut described = describe(&totals);
        if let Some(graphs) = generator.cuda_graphs() {
            described["cuda_graphs"] = json!(graphs);
        }
        figures = Some(described);
        shrunk = totals.shrunk_to.map(|bytes| {
            format!(
                "memory ran out, and the budget of the KV cache was halved to {} MB; the rows under way began again and none \
                 was lost (`generation.kv_cache_mb` and `generation.batch_tokens` ask for less from the start)",
                bytes >> 20
            )
        });
    }
    let finished: Vec<GenerationRow> = requests
        .iter()
        .map(|request| rows.get(&request.work_key).cloned().context("a task has no answer row; this is a bug"))
        .collect::<Result<_>>()?;
    let stamp = lineage::stamp(run, parts::content(&finished), lineage::of_generations(run)?);
    if !missing.is_empty() || !group.is_complete(&stamp)? {
        group.finish(&finished, &stamp)?;
    }
    group.remove_parts()?;
    let failed = finished.iter().filter(|row| row.failed()).count();
    let truncated = finished.iter().filter(|row| row.prompt_truncated == Some(true)).count();
    let empty = finished.iter().filter(|row| row.output.as_deref() == Some("")).count();
    Ok(Outcome { rows: finished.len(), failed, computed: missing.len(), truncated, empty, figures, shrunk })
}

/// The figures of a model that the run's record keeps.
fn describe(totals: &Totals) -> serde_json::Value {
    let seconds = totals.elapsed.as_secs_f64();
    json!({
        "rows": totals.rows,
        "seconds": seconds,
        "prefill_seconds": totals.prefill.as_secs_f64(),
        "decode_seconds": totals.decode.as_secs_f64(),
        "prompt_tokens": totals.prompt_tokens,
        "prompt_tokens_read": totals.read_tokens,
        "prefix_share": totals.shared(),
        "output_tokens": totals.output_tokens,
        "output_tokens_per_s": totals.output_tokens as f64 / seconds,
        "decode_steps": totals.steps,
        "slot_use": totals.slot_use(),
        "kv_cache_mb": machine::megabytes(totals.kv_bytes),
        "near_ties": totals.near_ties,
    })
}

/// Imported answers are there already.
fn imported(run: &Run) -> Result<StageRecord> {
    let rows = read(run)?;
    let failed = rows.iter().filter(|row| row.failed()).count();
    Ok(StageRecord { rows: rows.len(), failed, ..StageRecord::default() })
}

/// The answers of a run, model after model, in the settings' order.
pub fn read(run: &Run) -> Result<Vec<GenerationRow>> {
    check(run)?;
    parts::read_groups(&run.dir.generations(), &run.models())
}

/// The answers that a run has so far, for a report on one that was interrupted: those of models whose table is finished, in the
/// settings' order.
pub fn read_finished(run: &Run) -> Result<Vec<GenerationRow>> {
    let directory = run.dir.generations();
    let mut models = run.models();
    models.retain(|model| parts::group_path(&directory, model).exists());
    let paths = models.iter().map(|model| parts::group_path(&directory, model));
    lineage::check(run, paths, &lineage::of_generations(run)?, "generate")?;
    parts::read_groups(&directory, &models)
}

/// The tables of answers, one per model in the settings' order, once it is clear that they are there and are those that the
/// settings ask for.
pub fn check(run: &Run) -> Result<Vec<PathBuf>> {
    let (directory, models) = (run.dir.generations(), run.models());
    let paths: Vec<PathBuf> = models.iter().map(|model| parts::group_path(&directory, model)).collect();
    for path in &paths {
        Reader::<GenerationRow>::open(path).context("the answers are not there yet")?;
    }
    lineage::check(run, paths.iter().cloned(), &lineage::of_generations(run)?, "generate")?;
    Ok(paths)
}
