//! `poq import`: answers made elsewhere become the `tasks` and `generations` of a run.

use super::context::Context;
use super::lineage;
use super::open_run::Run;
use crate::cli::ImportArguments;
use crate::digest::sha256_file;
use crate::exit_code::ExitCode;
use crate::import;
use crate::model::registry::Role;
use crate::settings::{Generation, Scoring, Settings, Simulation, check_name};
use crate::store::Fingerprint;
use crate::store::parts::{self, Group};
use crate::store::rows::GenerationRow;
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::{Result, ensure};
use std::collections::{BTreeMap, HashMap};

/// Pool whose evaluators score imported answers unless others are named.
const DEFAULT_POOL: &str = "quick";

/// Reads the file and makes the run.
pub fn command(context: &Context, arguments: &ImportArguments) -> Result<ExitCode> {
    check_name("--run", &arguments.run)?;
    let imported = import::read(&arguments.file, arguments.task_type.as_deref())?;
    let registry = context.registry()?;
    let evaluators = if arguments.evaluators.is_empty() {
        let pool = registry.models.iter().filter(|model| model.role == Role::Evaluator && model.pool == DEFAULT_POOL);
        let keys: Vec<String> = pool.map(|model| model.key.clone()).collect();
        ensure!(
            !keys.is_empty(),
            "the registry has no evaluator in the pool `{DEFAULT_POOL}`\nhint: name some with --evaluator KEY"
        );
        keys
    } else {
        for key in &arguments.evaluators {
            registry.get(key, Role::Evaluator)?;
        }
        arguments.evaluators.clone()
    };
    let mut answers: BTreeMap<String, Vec<GenerationRow>> = BTreeMap::new();
    for row in imported.generations {
        answers.entry(row.model.clone()).or_default().push(row);
    }
    // Later stages stream tasks and answers side by side: both stand in the order of the tasks.
    let places: HashMap<&str, usize> =
        imported.tasks.iter().enumerate().map(|(place, task)| (task.task_id.as_str(), place)).collect();
    for rows in answers.values_mut() {
        rows.sort_by_key(|row| places.get(row.task_id.as_str()));
    }
    let models: Vec<String> = answers.keys().cloned().collect();
    let k = Simulation::default().k.at_most(evaluators.len());
    let settings = Settings {
        name: arguments.run.clone(),
        generation: Generation { models: models.clone(), ..Generation::default() },
        scoring: Scoring { evaluators, ..Scoring::default() },
        simulation: Simulation { k, ..Simulation::default() },
        ..Settings::empty()
    };
    settings.check()?;
    let root = context.results.join(&arguments.run);
    let mut run = Run::import(&root, settings, &arguments.file.display().to_string(), arguments.update)?;
    run.record.imported_latency_ms = imported.latencies;
    run.record.datasets = [(arguments.file.display().to_string(), sha256_file(&arguments.file)?)].into();
    let summary = run.stage(context, "import", |run| {
        let tasks = Fingerprint::new("imported tasks").value("rows", &imported.tasks)?.finish();
        table::write(&run.dir.table("tasks"), &imported.tasks, &lineage::stamp(run, tasks.clone(), tasks))?;
        let inputs = lineage::of_generations(run)?;
        let (mut rows, mut failed) = (0, 0);
        for (model, answers) in &answers {
            let mut group: Group<GenerationRow> = Group::open(&run.dir.generations(), model, run.dir.name())?;
            group.finish(answers, &lineage::stamp(run, parts::content(answers), inputs.clone()))?;
            rows += answers.len();
            failed += answers.iter().filter(|row| row.error.is_some()).count();
        }
        parts::remove_other_groups(&run.dir.generations(), &models)?;
        let details = [("tasks".to_owned(), imported.tasks.len().into()), ("models".to_owned(), models.len().into())];
        Ok(StageRecord {
            rows,
            computed_rows: rows,
            failed,
            warnings: imported.warnings,
            details: details.into(),
            ..StageRecord::default()
        })
    })?;
    let directory = run.dir.root().display();
    context.printer.note(&format!(
        "next: poq score {directory} && poq profile {directory} && poq simulate {directory} && poq report {directory}"
    ));
    summary.print(context, &run.record.settings)
}
