//! One file per command: options in, one stage, tables out, a summary line.
//!
//! The stages in the order of the data flow: [`tasks`] → [`generate`] → [`score`] → [`judge`] → [`profile`] →
//! [`simulate`] → [`report`]. Each reads tables, writes its own and does nothing when that table already says it was made from these
//! settings and inputs.
//!
//! [`signals`] stands beside them: it reads what [`simulate`] reads, and `poq run` leaves it out.

pub mod bench;
pub mod bench_cell;
pub mod compare;
pub mod context;
mod execution;
mod figures;
pub mod generate;
pub mod import;
mod infer;
pub mod judge;
mod lineage;
pub mod models;
pub mod open_run;
pub mod profile;
pub mod report;
pub mod run;
pub mod schema;
pub mod score;
pub mod signals;
pub mod simulate;
pub mod summary;
pub mod sweep;
pub mod tasks;

use crate::cli::{Cli, Command};
use crate::executor::Interrupted;
use crate::exit_code::ExitCode;
use anyhow::Result;
use context::Context;

/// Runs the command and says how the process should end.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    let context = match Context::new(&cli.global) {
        Ok(context) => context,
        Err(error) => {
            crate::output::Printer::new(cli.global.quiet, cli.global.format).error(&error);
            return ExitCode::CouldNotRun;
        }
    };
    match dispatch(&context, &cli.command) {
        Ok(code) => code,
        Err(error) if error.is::<Interrupted>() => {
            context.printer.warning("interrupted; what was finished is kept, the same command goes on from there");
            ExitCode::Interrupted
        }
        Err(error) => {
            context.printer.error(&error);
            ExitCode::CouldNotRun
        }
    }
}

fn dispatch(context: &Context, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Run(arguments) => run::command(context, arguments),
        Command::Tasks(arguments) => tasks::command(context, arguments),
        Command::Generate(arguments) => generate::command(context, arguments),
        Command::Score(arguments) => score::command(context, arguments),
        Command::Judge(arguments) => judge::command(context, arguments),
        Command::Profile(arguments) => profile::command(context, arguments),
        Command::Signals(arguments) => signals::command(context, arguments),
        Command::Simulate(arguments) => simulate::command(context, arguments),
        Command::Sweep(arguments) => sweep::command(context, arguments),
        Command::Report(arguments) => report::command(context, arguments),
        Command::Import(arguments) => import::command(context, arguments),
        Command::Models(command) => models::command(context, command),
        Command::Schema => schema::command(context),
        Command::Bench(arguments) => bench::command(context, arguments),
        Command::BenchCell(arguments) => bench_cell::command(context, arguments),
    }
}
