//! The binary: arguments in, exit code out.

use clap::Parser;
use poq::cli::Cli;
use poq::commands;
use std::process::ExitCode;

fn main() -> ExitCode {
    commands::run(&Cli::parse()).into()
}
