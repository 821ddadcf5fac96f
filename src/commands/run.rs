//! `poq run`: every stage of an experiment, in the order of the data flow.

use super::context::{Context, gpu};
use super::open_run::Run;
use super::score::Mode;
use super::{generate, judge, profile, report, score, simulate, tasks};
use crate::cli::RunArguments;
use crate::exit_code::ExitCode;
use crate::model::registry::Role;
use crate::settings::{Settings, check_name};
use anyhow::{Result, bail};

/// Runs what is not done yet and prints the report.
pub fn command(context: &Context, arguments: &RunArguments) -> Result<ExitCode> {
    let mut experiment = Settings::from_file(&arguments.experiment)?;
    if let Some(share) = arguments.work.max_failed_share {
        experiment.settings.max_failed_share = share;
        experiment.settings.judge.max_failed_share = None;
        experiment.settings.check()?;
    }
    let name = arguments.run.as_deref().unwrap_or(&experiment.settings.name).to_owned();
    check_name("--run", &name)?;
    let mut run = Run::create(&context.results.join(&name), experiment, arguments.update)?;
    check_models(context, &mut run, arguments.work.skip_missing)?;
    let mut stages = vec![
        tasks::stage(context, &mut run)?,
        generate::stage(context, &mut run, arguments.work)?,
        score::stage(context, &mut run, Mode { work: arguments.work, ..Mode::default() })?,
    ];
    let asked = &run.record.settings.judge;
    if asked.judges() && judge::is_left_out(&run) {
        context.printer.warning(&format!(
            "judge: left out, for there is no key in `{}`; with one, the same command adds the grades of `{}`",
            asked.key_env, asked.model
        ));
    } else if asked.judges() {
        match judge::stage(context, &mut run, arguments.work, None) {
            Ok(summary) => stages.push(summary),
            Err(error) => {
                let Some(why) = judge::leave_out(&mut run, &error)? else { return Err(error) };
                let judge = &run.record.settings.judge.model;
                context.printer.warning(&format!(
                    "judge: left out: {why}; with a key that is accepted, the same command adds the grades of `{judge}`"
                ));
            }
        }
    }
    stages.push(profile::stage(context, &mut run, arguments.work.skip_missing)?);
    stages.push(simulate::stage(context, &mut run)?);
    let (report, _) = report::stage(context, &mut run)?;
    report::print(context, &report)?;
    let settings = &run.record.settings;
    let failing: Vec<String> = stages
        .iter()
        .filter(|stage| stage.exit_code(settings) == ExitCode::TooManyFailures)
        .map(|stage| format!("{} ({})", stage.stage, settings.allowed_failures(stage.stage)))
        .collect();
    if failing.is_empty() {
        return Ok(ExitCode::Done);
    }
    context.printer.warning(&format!(
        "more rows failed than `max_failed_share` allows in: {}; their errors stand in the tables",
        failing.join(", ")
    ));
    Ok(ExitCode::TooManyFailures)
}

/// Refuses before anything is computed what a later stage would refuse after hours: models that are not exported, a K that the
/// evaluators that are there cannot honour, and a GPU that is not there. The stages note for themselves who is skipped.
fn check_models(context: &Context, run: &mut Run, skip_missing: bool) -> Result<()> {
    let noted = (run.record.models.clone(), run.record.skipped_models.clone());
    generate::models(run, &run.generation_registry(context)?, skip_missing, &mut Vec::new())?;
    let registry = run.registry(context)?;
    let scoring = run.record.settings.scoring.clone();
    let scorers: Vec<String> = scoring.all_evaluators().cloned().collect();
    run.available(&registry, &scorers, Role::Evaluator, skip_missing, &mut Vec::new())?;
    if let (Some(first), true) = (scoring.evaluators.first(), run.evaluators().is_empty()) {
        let recipe = registry.get(first, Role::Evaluator)?.recipe();
        bail!("none of the evaluators in `scoring.evaluators` is exported\nhint: `{recipe}` exports them");
    }
    simulate::check_k(run)?;
    gpu(&run.record.settings)?;
    (run.record.models, run.record.skipped_models) = noted;
    Ok(())
}
