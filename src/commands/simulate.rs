//! `poq simulate`: scores and costs → `rewards.parquet`, `network.parquet` and `rounds.parquet`. Loads no model.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{infer, judge, lineage, profile, score, signals, tasks};
use crate::cli::SimulateArguments;
use crate::exit_code::ExitCode;
use crate::settings::{EvaluatorsPerRound, RoundLog, Simulation};
use crate::signals::Composite;
use crate::simulate::network::{Network, Tables};
use crate::simulate::{self, Outcome, Watch};
use crate::store::rows::{RewardRow, ScoreRow};
use crate::store::run_record::StageRecord;
use crate::store::stream::Writer;
use crate::store::table::{self, Stamp};
use anyhow::{Context as _, Result, bail};
use std::path::Path;
use std::sync::Mutex;

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &SimulateArguments) -> Result<ExitCode> {
    if arguments.infer_coefficients {
        return infer::command(context, arguments.run.as_deref());
    }
    let Some(path) = &arguments.run else {
        bail!(
            "`poq simulate` needs the directory of a run\n\
             hint: `poq simulate RUN`, or `poq simulate --infer-coefficients` for the paper's Table 4"
        );
    };
    let mut run = Run::open(path)?;
    let assignments = arguments.set.iter().map(|(path, value)| (path.as_str(), value));
    let set = run.record.settings.simulation.with(assignments)?;
    run.override_settings(|settings| {
        settings.simulation = set;
        let s = &mut settings.simulation;
        s.rounds = arguments.rounds.unwrap_or(s.rounds);
        s.replicates = arguments.replicates.unwrap_or(s.replicates);
        s.seed = arguments.seed.unwrap_or(s.seed);
        s.k = arguments.k.unwrap_or(s.k);
        s.consensus.rule = arguments.rule.unwrap_or(s.consensus.rule);
        s.deviation = arguments.deviation.unwrap_or(s.deviation);
        s.round_log = arguments.round_log.unwrap_or(s.round_log);
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
        let of_network = lineage::of_network_table(run, &stamp.inputs)?;
        let network_stamp = lineage::stamp(run, of_network.clone(), of_network);
        let network_path = run.dir.table("network");
        let is = |path: &Path, stamp: &Stamp| Ok::<_, anyhow::Error>(table::stamp(path)?.as_ref() == Some(stamp));
        if is(&rewards_path, &stamp)? && is(&network_path, &network_stamp)? {
            let previous = run.record.stages.get("simulate").cloned().unwrap_or_default();
            let rows = table::read::<RewardRow>(&rewards_path)?.len();
            return Ok(StageRecord { rows, computed_rows: 0, ..previous });
        }
        let network = network(run, settings.quality.as_slice())?;
        let hint = || format!("hint: `poq simulate {} --help` lists what can be set", run.dir.root().display());
        let outcome = watched(context, &network, &settings).with_context(hint);
        context.check_quit()?;
        let outcome = outcome?;
        write_rounds(context, &network, &settings, &rounds_path, &stamp)?;
        table::write(&network_path, &outcome.network, &network_stamp)?;
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

/// The network that the run's tables describe, evaluators that take no part left out, with the quality signals that inference
/// nodes are to be paid for.
pub fn network(run: &Run, qualities: &[Composite]) -> Result<Network> {
    let scores = paid(run, score::read(run)?);
    let tables = Tables { scores: &scores, profile: &profile::read(run)?, tasks: &tasks::read(run)? };
    let mut network = Network::from_rows(tables)?;
    network.add_judge(&judge::read(run)?.0);
    for (signal, quality) in qualities.iter().zip(signals::read_quality(run, qualities)?) {
        network.add_signal(*signal, &quality);
    }
    Ok(network)
}

/// Simulates with progress; after Ctrl-C the outcome is not whole.
fn watched(context: &Context, network: &Network, settings: &Simulation) -> Result<Outcome> {
    let total = settings.rounds.saturating_mul(u64::from(settings.replicates));
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    let progress = Mutex::new(context.printer.progress_of("simulate", total, "rounds"));
    let advance = |rounds: u64| {
        if let Ok(mut progress) = progress.lock() {
            progress.advance(rounds as usize);
        }
    };
    let stopped = || context.quit.requested();
    let outcome = simulate::watched(network, settings, simulate::STEPS, Watch { advance: &advance, stopped: &stopped });
    if let Ok(progress) = progress.into_inner() {
        progress.finish();
    }
    outcome
}

/// Writes the log of rounds row by row, or takes away that of an earlier simulation where none is asked for.
fn write_rounds(context: &Context, network: &Network, settings: &Simulation, path: &Path, stamp: &Stamp) -> Result<()> {
    if settings.round_log == RoundLog::None {
        return match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
            }
            _ => Ok(()),
        };
    }
    let mut writer = Writer::create(path)?;
    simulate::log_rounds(network, settings, |row| {
        if row.round % 4096 == 0 {
            context.check_quit()?;
        }
        writer.push(row)
    })?;
    writer.finish(stamp)
}

/// The settings of the simulation. Where `--skip-missing` left out an evaluator, K shrinks to the pool that is left,
/// with a warning; a K that the full pool could not honour is refused later, by name.
fn effective(run: &Run) -> (Simulation, Option<String>) {
    let (settings, (asked, left)) = (run.record.settings.simulation.clone(), evaluators(run));
    match settings.k_among(asked, left) {
        Some(k) => (Simulation { k, ..settings }, Some(shrunk(run, k))),
        None => (settings, None),
    }
}

/// Refuses a K that the evaluators of the run cannot honour, as the simulation would.
pub(super) fn check_k(run: &Run) -> Result<()> {
    let (settings, _) = effective(run);
    let left = run.evaluators().len();
    settings.check_k(settings.pool.as_ref().map_or(left, |pool| pool.evaluators))
}

/// How many evaluators the run asks for, and how many of them are there.
pub(super) fn evaluators(run: &Run) -> (usize, usize) {
    (run.record.settings.scoring.evaluators.len(), run.evaluators().len())
}

/// Says that K is less than the run asks for.
pub(super) fn shrunk(run: &Run, k: EvaluatorsPerRound) -> String {
    let ((_, wanted), (_, k)) = (run.record.settings.simulation.k.bounds(), k.bounds());
    let (asked, left) = evaluators(run);
    format!("{wanted} evaluators per round were asked for, but {} were skipped: K is {k}", asked - left)
}
