//! `poq signals`: tasks, answers, scores and costs → `signals.parquet`, `signal_audit.parquet` and `cascade.parquet`.
//! Loads no model; the model registry says how each evaluator reads.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{generate, lineage, profile, score, tasks};
use crate::cli::SignalsArguments;
use crate::exit_code::ExitCode;
use crate::model::registry::{Against, Architecture, Role};
use crate::signals::{self, Composite, Evaluator, Inputs};
use crate::simulate::Watch;
use crate::store::rows::{SignalRow, SignalValue};
use crate::store::run_record::StageRecord;
use crate::store::stream::{Reader, Writer};
use crate::store::table;
use anyhow::{Result, bail};
use std::collections::HashMap;

/// Name of the stage, and of the table that is written last.
const STAGE: &str = "signals";

/// The tables beside it.
const OTHERS: [&str; 2] = ["signal_audit", "cascade"];

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &SignalsArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_settings(|settings| {
        let s = &mut settings.signals;
        for &(dimension, weight) in &arguments.weights {
            s.weights.set(dimension, weight);
        }
        s.theta = arguments.theta.unwrap_or(s.theta);
        s.reference = arguments.reference.unwrap_or(s.reference);
        s.seed = arguments.seed.unwrap_or(s.seed);
        if !arguments.cascade.is_empty() {
            s.cascade.evaluators.clone_from(&arguments.cascade);
        }
        if !arguments.thresholds.is_empty() {
            s.cascade.thresholds.clone_from(&arguments.thresholds);
        }
        s.cascade.middle = arguments.middle.unwrap_or(s.cascade.middle);
        s.cascade.verdict = arguments.verdict.unwrap_or(s.cascade.verdict);
    })?;
    stage(context, &mut run)?.print(context, &run.record.settings)
}

/// The stage.
pub fn stage(context: &Context, run: &mut Run) -> Result<StageSummary> {
    run.stage(context, STAGE, |run| {
        let inputs = lineage::of_signals(run)?;
        let stamp = lineage::stamp(run, inputs.clone(), inputs);
        if finished(run, &stamp)? {
            let previous = run.record.stages.get(STAGE).cloned().unwrap_or_default();
            let rows = Reader::<SignalRow>::open(&run.dir.table(STAGE))?.total();
            return Ok(StageRecord { rows, computed_rows: 0, ..previous });
        }
        let (tasks, generations) = (tasks::read(run)?, generate::read(run)?);
        let (scores, profile) = (score::read(run)?, profile::read(run)?);
        let evaluators = evaluators(context, run)?;
        let inputs = Inputs {
            tasks: &tasks,
            generations: &generations,
            scores: &scores,
            profile: &profile,
            evaluators: &evaluators,
            settings: &run.record.settings.signals,
        };
        let stopped = || context.quit.requested();
        let outcome = signals::build(&inputs, Watch { stopped: &stopped, ..Watch::NOBODY });
        context.check_quit()?;
        let outcome = outcome?;
        table::write(&run.dir.table(OTHERS[0]), &outcome.audit, &stamp)?;
        table::write(&run.dir.table(OTHERS[1]), &outcome.cascade, &stamp)?;
        let mut writer = Writer::create(&run.dir.table(STAGE))?;
        outcome.signals.rows().try_for_each(|row| writer.push(row))?;
        writer.finish(&stamp)?;
        let rows = outcome.signals.count();
        let details = [
            ("missing_values".to_owned(), outcome.signals.missing().into()),
            ("audit_rows".to_owned(), outcome.audit.len().into()),
            ("cascade_rows".to_owned(), outcome.cascade.len().into()),
        ];
        Ok(StageRecord {
            rows,
            computed_rows: rows,
            warnings: outcome.warnings,
            notes: outcome.notes,
            details: details.into(),
            ..StageRecord::default()
        })
    })
}

/// Whether every table of the stage is there and was made from exactly this.
fn finished(run: &Run, stamp: &table::Stamp) -> Result<bool> {
    for name in OTHERS.into_iter().chain([STAGE]) {
        if table::stamp(&run.dir.table(name))?.as_ref() != Some(stamp) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Everybody who scores, and how each reads.
fn evaluators(context: &Context, run: &Run) -> Result<Vec<Evaluator>> {
    let (registry, paid) = (run.registry(context)?, run.evaluators());
    let evaluator = |key: String| {
        let model = registry.get(&key, Role::Evaluator)?;
        Ok(Evaluator {
            bi_encoder: model.architecture == Architecture::BiEncoder,
            reads_input: model.scoring_facts()?.against == Against::Input,
            paid: paid.contains(&key),
            key,
        })
    };
    run.scorers().into_iter().map(evaluator).collect()
}

/// Q in [0, 1] by task and node key of the inference node.
pub type Quality = HashMap<(String, String), f64>;

/// Composites of a run as its quality, in the order in which they are asked for. An answer for which one could not be
/// computed is absent. Refuses a table that the run's settings and tables would not make now; where nothing is asked for,
/// no table is looked at.
pub fn read_quality(run: &Run, composites: &[Composite]) -> Result<Vec<Quality>> {
    let Some(first) = composites.first() else { return Ok(Vec::new()) };
    let (path, root) = (run.dir.table(STAGE), run.dir.root().display());
    if !path.exists() {
        bail!(
            "`{}` does not exist: `{}` is one of its signals\nhint: `poq signals {root}` makes it",
            path.display(),
            first.name()
        );
    }
    lineage::check(run, [path.clone()], &lineage::of_signals(run)?, STAGE)?;
    let mut qualities = vec![Quality::new(); composites.len()];
    for row in Reader::<SignalValue>::open(&path)? {
        let row = row?;
        let place = composites.iter().position(|composite| composite.name() == row.signal);
        if let (Some(place), Some(value)) = (place, row.value) {
            qualities[place].insert((row.task_id, row.model), value);
        }
    }
    Ok(qualities)
}
