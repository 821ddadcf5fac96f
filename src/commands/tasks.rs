//! `poq tasks`: data sets → `tasks.parquet`.

use super::context::Context;
use super::lineage;
use super::open_run::Run;
use super::summary::StageSummary;
use crate::cli::TasksArguments;
use crate::dataset;
use crate::exit_code::ExitCode;
use crate::settings::Settings;
use crate::store::rows::TaskRow;
use crate::store::run_record::StageRecord;
use crate::store::stream::Reader;
use crate::store::table;
use anyhow::{Context as _, Result, ensure};

/// Runs the stage alone; with an experiment file it may begin the run.
pub fn command(context: &Context, arguments: &TasksArguments) -> Result<ExitCode> {
    let mut run = match &arguments.experiment {
        Some(file) => {
            let mut experiment = Settings::from_file(file)?;
            experiment.settings.data.seed = arguments.seed.unwrap_or(experiment.settings.data.seed);
            Run::create(&arguments.stage.run, experiment, false)?
        }
        None => Run::open(&arguments.stage.run)?,
    };
    run.override_settings(|settings| {
        if let Some(seed) = arguments.seed {
            settings.data.seed = seed;
        }
    })?;
    stage(context, &mut run)?.print(context, &run.record.settings)
}

/// The stage.
pub fn stage(context: &Context, run: &mut Run) -> Result<StageSummary> {
    run.stage(context, "tasks", |run| {
        let path = run.dir.table("tasks");
        if run.record.imported_from.is_some() {
            let rows = table::read::<TaskRow>(&path)?;
            return Ok(record(rows.len(), 0));
        }
        let data = &run.record.settings.data;
        ensure!(!data.sets.is_empty(), "`data.sets` is empty: there is nothing to ask");
        let registry = dataset::registry::Registry::open(&context.datasets)?;
        let hashes = registry.hashes(data)?;
        run.record.datasets = hashes;
        let inputs = lineage::of_tasks(run)?;
        let stamp = lineage::stamp(run, inputs.clone(), inputs);
        if table::stamp(&path)?.as_ref() == Some(&stamp) {
            return Ok(record(table::read::<TaskRow>(&path)?.len(), 0));
        }
        let tasks = dataset::load(&registry, &run.record.settings.data)?;
        table::write(&path, &tasks, &stamp)?;
        Ok(record(tasks.len(), tasks.len()))
    })
}

fn record(rows: usize, computed: usize) -> StageRecord {
    StageRecord { rows, computed_rows: computed, ..StageRecord::default() }
}

/// Whether the tasks are there and are those that the settings ask for.
pub fn check(run: &Run) -> Result<()> {
    let path = run.dir.table("tasks");
    Reader::<TaskRow>::open(&path).context("the tasks are not there yet")?;
    lineage::check(run, [path], &lineage::of_tasks(run)?, "tasks")
}

/// The tasks of a run.
pub fn read(run: &Run) -> Result<Vec<TaskRow>> {
    check(run)?;
    let path = run.dir.table("tasks");
    let tasks: Vec<TaskRow> = table::read(&path)?;
    ensure!(!tasks.is_empty(), "`{}` has no rows", path.display());
    Ok(tasks)
}
