//! `poq report`: every table → `metrics.parquet`, `report.md`, `report.html`, `figures/` and text on stdout. Loads no model.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{compare, generate, judge, lineage, profile, score, tasks};
use crate::cli::ReportArguments;
use crate::exit_code::ExitCode;
use crate::report::format::count;
use crate::report::html::{self, Page, Provenance, Stage, SweepTable};
use crate::report::{self, Identity, Inputs, Report};
use crate::store::rows::RewardRow;
use crate::store::run_record::StageRecord;
use crate::store::table;
use crate::store::{batches, parts};
use anyhow::{Context as _, Result};
use std::path::Path;

/// Runs the stage alone and prints the report, or, where other runs are named, how they differ.
pub fn command(context: &Context, arguments: &ReportArguments) -> Result<ExitCode> {
    if !arguments.compare.is_empty() {
        return compare::command(context, &arguments.stage.run, &arguments.compare);
    }
    let mut run = Run::open(&arguments.stage.run)?;
    let (report, _) = stage(context, &mut run)?;
    print(context, &report)?;
    Ok(ExitCode::Done)
}

/// The report on stdout.
pub fn print(context: &Context, report: &Report) -> Result<()> {
    context.printer.data(&report::to_text(report), report)
}

/// The stage. Tables that are not there yet are empty to the report, which says what is missing.
pub fn stage(context: &Context, run: &mut Run) -> Result<(Report, StageSummary)> {
    let mut built = None;
    let summary = run.stage(context, "report", |run| {
        let tasks = tasks::read(run)?;
        let generations = generate::read_finished(run)?;
        let scores = score::read_finished(run)?;
        let costs = if run.dir.table("profile").exists() { profile::read(run)? } else { Vec::new() };
        let rewards = read_rewards(run)?;
        let (judgements, judge_checks) = judge::read(run)?;
        let identity = identity(run);
        let inputs = Inputs {
            identity: &identity,
            settings: &run.record.settings,
            tasks: &tasks,
            generations: &generations,
            scores: &scores,
            judgements: &judgements,
            judge_checks: &judge_checks,
            profile: &costs,
            rewards: &rewards,
        };
        let joined = inputs.join()?;
        let report = report::build(&inputs, &joined);
        let computed = write_metrics(run, || report::metrics(&joined))?;
        write(&run.dir.root().join("report.md"), &report::to_markdown(&report))?;
        write_page(run, &html::page(&report, &inputs, &joined, &read_sweeps(run)?, &provenance(run)?)?)?;
        built = Some(report);
        let computed_rows = if computed { generations.len() } else { 0 };
        Ok(StageRecord { rows: generations.len(), computed_rows, ..StageRecord::default() })
    })?;
    let report = built.context("the stage ended without a report; this is a bug")?;
    Ok((report, summary))
}

/// Writes the wide join unless it is there already; returns whether it wrote.
fn write_metrics(run: &Run, metrics: impl FnOnce() -> Result<arrow::array::RecordBatch>) -> Result<bool> {
    let inputs = lineage::of_metrics(run)?;
    let stamp = lineage::stamp(run, inputs.clone(), inputs);
    let path = run.dir.table("metrics");
    if table::stamp(&path)?.as_ref() == Some(&stamp) {
        return Ok(false);
    }
    table::write_batch(&path, "metrics", &metrics()?, &stamp)?;
    Ok(true)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// `report.html` and `figures/`; figures of an earlier report, which this one need not have, go.
fn write_page(run: &Run, page: &Page) -> Result<()> {
    let directory = run.dir.figures();
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot create `{}`", directory.display()))?;
    let entries = std::fs::read_dir(&directory).with_context(|| format!("cannot list `{}`", directory.display()))?;
    for path in entries.map_while(Result::ok).map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "svg") {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    for (name, svg) in &page.figures {
        write(&directory.join(name), svg)?;
    }
    write(&run.dir.root().join("report.html"), &page.html)
}

/// What the page shows of every finished sweep.
fn read_sweeps(run: &Run) -> Result<Vec<SweepTable>> {
    let mut sweeps = Vec::new();
    for name in parts::finished_groups(&run.dir.sweeps())? {
        let made_from = table::stamp(&run.dir.sweep(&name))?.map(|stamp| stamp.inputs);
        // A sweep that pays for no composite does not depend on them.
        let now = [Some(lineage::of_network(run, false)?), Some(lineage::of_network(run, true)?)];
        if !now.contains(&made_from) {
            sweeps.push(SweepTable::stale(&name));
            continue;
        }
        let mut sweep = SweepTable::new(&name);
        batches::for_each_whole(&run.dir.sweep(&name), |batch| sweep.see(batch))?;
        sweeps.push(sweep);
    }
    Ok(sweeps)
}

/// What it takes to make the run again, from its record.
fn provenance(run: &Run) -> Result<Provenance> {
    let record = &run.record;
    let hashes = record.datasets.iter().chain(&record.models);
    let stage = |(name, stage): (&String, &StageRecord)| Stage {
        name: name.clone(),
        seconds: format!("{:.1}", stage.seconds),
        rows: count(stage.rows as u64),
        failed: count(stage.failed as u64),
    };
    Ok(Provenance {
        commit: record.git_commit.clone(),
        dirty: record.git_dirty,
        experiment: record.experiment.as_ref().and_then(|experiment| toml::to_string(experiment).ok()),
        settings: toml::to_string(&record.settings).context("the settings do not become TOML; this is a bug")?,
        imported_from: record.imported_from.clone(),
        hashes: hashes.map(|(name, hash)| (name.clone(), hash.clone())).collect(),
        stages: record.stages.iter().filter(|(name, _)| *name != "report").map(stage).collect(),
    })
}

fn identity(run: &Run) -> Identity {
    let record = &run.record;
    let machine = &record.machine;
    Identity {
        name: record.name.clone(),
        directory: run.dir.root().display().to_string(),
        poq_version: record.poq_version.clone(),
        started: record.created.clone(),
        machine: format!(
            "{}{}, {} cores, {} MB, {}",
            machine.gpu.as_ref().map(|gpu| format!("{gpu}; ")).unwrap_or_default(),
            machine.cpu,
            machine.cores,
            machine.memory_mb,
            machine.system
        ),
        runtime: record.runtime.as_ref().map_or_else(
            || "no model was loaded".to_owned(),
            |runtime| format!("ONNX Runtime {}, {}", runtime.version, runtime.provider),
        ),
        seed: record.settings.generation.seed,
    }
}

/// The rewards of a run; none before it was simulated.
pub(super) fn read_rewards(run: &Run) -> Result<Vec<RewardRow>> {
    let path = run.dir.table("rewards");
    if !path.exists() {
        return Ok(Vec::new());
    }
    lineage::check(run, [path.clone()], &lineage::of_rewards(run)?, "simulate")?;
    table::read(&path)
}
