//! `poq run`: every stage of an experiment, in the order of the data flow.

use super::context::Context;
use super::open_run::Run;
use super::score::Mode;
use super::{generate, judge, profile, report, score, simulate, tasks};
use crate::cli::RunArguments;
use crate::exit_code::ExitCode;
use crate::settings::{Settings, check_name};
use anyhow::Result;

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
        stages.push(judge::stage(context, &mut run, arguments.work, None)?);
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
