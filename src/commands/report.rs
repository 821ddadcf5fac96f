//! `poq report`: every table → `metrics.parquet`, `report.md` and text on stdout. Loads no model.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{generate, judge, lineage, profile, score, tasks};
use crate::cli::StageArguments;
use crate::exit_code::ExitCode;
use crate::report::{self, Identity, Inputs, Report};
use crate::store::parts;
use crate::store::rows::RewardRow;
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::{Context as _, Result};

/// Runs the stage alone and prints the report.
pub fn command(context: &Context, arguments: &StageArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.run)?;
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
        let generations =
            if parts::finished_groups(&run.dir.generations())?.is_empty() { Vec::new() } else { generate::read(run)? };
        let scores = if parts::finished_groups(&run.dir.scores())?.is_empty() { Vec::new() } else { score::read(run)? };
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
        let report = report::build(&inputs)?;
        let computed = write_metrics(run, || report::metrics(&tasks, &generations, &scores, &judgements))?;
        let path = run.dir.root().join("report.md");
        std::fs::write(&path, report::to_markdown(&report))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
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

fn identity(run: &Run) -> Identity {
    let record = &run.record;
    let machine = &record.machine;
    Identity {
        name: record.name.clone(),
        directory: run.dir.root().display().to_string(),
        poq_version: record.poq_version.clone(),
        started: record.created.clone(),
        machine: format!("{}, {} cores, {} MB, {}", machine.cpu, machine.cores, machine.memory_mb, machine.system),
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
