//! `poq simulate`: scores and costs → `rewards.parquet` and `rounds.parquet`. Loads no model.

use super::context::{Context, Run, StageSummary};
use super::{lineage, profile, score};
use crate::cli::SimulateArguments;
use crate::exit_code::ExitCode;
use crate::simulate;
use crate::store::Fingerprint;
use crate::store::parts;
use crate::store::rows::RewardRow;
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::Result;

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

/// The stage.
pub fn stage(context: &Context, run: &mut Run) -> Result<StageSummary> {
    run.stage(context, "simulate", |run| {
        let settings = &run.record.settings.simulation;
        let mut fingerprint =
            Fingerprint::new("simulation").value("settings", settings)?.file("profile", &run.dir.table("profile"))?;
        for group in parts::finished_groups(&run.dir.scores())? {
            fingerprint = fingerprint.file(&group, &run.dir.scores().join(format!("{group}.parquet")))?;
        }
        let fingerprint = fingerprint.finish();
        let (rewards_path, rounds_path) = (run.dir.table("rewards"), run.dir.table("rounds"));
        // The rewards are written last, so a table of them means that the rounds are there too.
        if table::stamp(&rewards_path)?.is_some_and(|stamp| stamp.fingerprint == fingerprint) {
            let previous = run.record.stages.get("simulate").cloned().unwrap_or_default();
            let rows = table::read::<RewardRow>(&rewards_path)?.len();
            let mut record = StageRecord { rows, seconds: 0.0, ..previous };
            record.details.insert("computed_rows".into(), 0.into());
            return Ok(record);
        }
        let outcome = simulate::run(&score::read(run)?, &profile::read(run)?, settings)?;
        let stamp = lineage::stamp(run, fingerprint.clone(), fingerprint);
        table::write(&rounds_path, &outcome.rounds, &stamp)?;
        table::write(&rewards_path, &outcome.rewards, &stamp)?;
        let details = [
            ("computed_rows".to_owned(), outcome.rewards.len().into()),
            ("simulated_rounds".to_owned(), outcome.simulated_rounds.into()),
            ("void_rounds".to_owned(), outcome.void_rounds.into()),
            ("skipped_evaluators".to_owned(), outcome.skipped_evaluators.into()),
        ];
        Ok(StageRecord {
            rows: outcome.rewards.len(),
            warnings: outcome.warnings,
            details: details.into(),
            ..StageRecord::default()
        })
    })
}
