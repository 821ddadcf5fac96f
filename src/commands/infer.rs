//! `poq simulate --infer-coefficients`: the coefficients that fit the paper's Table 4, or the rewards of a run. Reads
//! only; nothing of a run changes.

use super::context::Context;
use super::open_run::Run;
use super::report::read_rewards;
use crate::exit_code::ExitCode;
use crate::report;
use crate::simulate::infer::{RewardTable, infer};
use anyhow::{Result, ensure};
use std::path::Path;

/// Infers from the rewards of the run, or from the paper when there is none.
pub fn command(context: &Context, run: Option<&Path>) -> Result<ExitCode> {
    let table = run.map_or_else(|| Ok(RewardTable::of_paper()), of_run)?;
    let inferred = infer(&table)?;
    context.printer.data(&report::coefficients_to_text(&inferred), &inferred)?;
    Ok(ExitCode::Done)
}

fn of_run(path: &Path) -> Result<RewardTable> {
    let run = Run::open(path)?;
    let rewards = read_rewards(&run)?;
    ensure!(
        !rewards.is_empty(),
        "run `{}` has no rewards yet\nhint: `poq simulate {}` makes them",
        run.dir.name(),
        path.display()
    );
    RewardTable::of_rewards(run.dir.name(), &rewards, &run.record.settings.simulation)
}
