//! `poq simulate`: scores and costs → `rewards.parquet` and `rounds.parquet`. Loads no model.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{lineage, profile, score};
use crate::cli::SimulateArguments;
use crate::exit_code::ExitCode;
use crate::settings::Simulation;
use crate::simulate;
use crate::store::rows::{RewardRow, ScoreRow};
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::{Context as _, Result};

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &SimulateArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_settings(|settings| {
        let s = &mut settings.simulation;
        s.rounds = arguments.rounds.unwrap_or(s.rounds);
        s.replicates = arguments.replicates.unwrap_or(s.replicates);
        s.seed = arguments.seed.unwrap_or(s.seed);
        s.k = arguments.k.unwrap_or(s.k);
        s.alpha_f = arguments.alpha_f.or(arguments.alpha).unwrap_or(s.alpha_f);
        s.alpha_m = arguments.alpha_m.or(arguments.alpha).unwrap_or(s.alpha_m);
        s.beta_f = arguments.beta_f.or(arguments.beta).unwrap_or(s.beta_f);
        s.beta_m = arguments.beta_m.or(arguments.beta).unwrap_or(s.beta_m);
    })?;
    stage(context, &mut run)?.print(context, &run.record.settings)
}

/// The scores without those of evaluators that take no part in the mechanism.
fn paid(run: &Run, mut scores: Vec<ScoreRow>) -> Vec<ScoreRow> {
    let unpaid = &run.record.settings.scoring.unpaid_evaluators;
    scores.retain(|row| !unpaid.contains(&row.scorer));
    scores
}

/// The stage.
pub fn stage(context: &Context, run: &mut Run) -> Result<StageSummary> {
    run.stage(context, "simulate", |run| {
        let (settings, reduced) = effective(run);
        let inputs = lineage::of_rewards(run)?;
        let stamp = lineage::stamp(run, inputs.clone(), inputs);
        let (rewards_path, rounds_path) = (run.dir.table("rewards"), run.dir.table("rounds"));
        // The rewards are written last, so a table of them means that the rounds are there too.
        if table::stamp(&rewards_path)?.as_ref() == Some(&stamp) {
            let previous = run.record.stages.get("simulate").cloned().unwrap_or_default();
            let rows = table::read::<RewardRow>(&rewards_path)?.len();
            return Ok(StageRecord { rows, computed_rows: 0, ..previous });
        }
        let outcome =
            simulate::run(&paid(run, score::read(run)?), &profile::read(run)?, &settings).with_context(|| {
                format!("hint: `poq simulate {} --help` lists what can be set", run.dir.root().display())
            })?;
        table::write(&rounds_path, &outcome.rounds, &stamp)?;
        table::write(&rewards_path, &outcome.rewards, &stamp)?;
        let details = [
            ("simulated_rounds".to_owned(), outcome.simulated_rounds.into()),
            ("void_rounds".to_owned(), outcome.void_rounds.into()),
            ("skipped_evaluators".to_owned(), outcome.skipped_evaluators.into()),
        ];
        Ok(StageRecord {
            rows: outcome.rewards.len(),
            computed_rows: outcome.rewards.len(),
            warnings: reduced.into_iter().chain(outcome.warnings).collect(),
            details: details.into(),
            ..StageRecord::default()
        })
    })
}

/// The settings of the simulation. Where `--skip-missing` left out an evaluator, K shrinks to the pool that is left,
/// with a warning; a K that the full pool could not honour is refused later, by name.
fn effective(run: &Run) -> (Simulation, Option<String>) {
    let settings = run.record.settings.simulation.clone();
    let (asked, pool) = (run.record.settings.scoring.evaluators.len(), run.evaluators().len());
    let (_, k) = settings.k.bounds();
    if k <= pool || k > asked || pool == 0 {
        return (settings, None);
    }
    let warning = format!("{k} evaluators per round were asked for, but {} were skipped: K is {pool}", asked - pool);
    (Simulation { k: settings.k.at_most(pool), ..settings }, Some(warning))
}
