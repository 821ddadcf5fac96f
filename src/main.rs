//! The binary: arguments in, exit code out.

use clap::Parser;
use poq::cli::Cli;
use poq::commands;
use std::process::ExitCode;

fn main() -> ExitCode {
    poq::memory::bound_arenas();
    commands::run(&Cli::parse()).into()
}
