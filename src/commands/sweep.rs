//! `poq sweep`: scores, costs and a sweep file → `sweeps/<name>.parquet`. Loads no model.
//!
//! Cells are simulated in chunks, each written as a part before the next begins, so that memory does not grow with the sweep
//! and a kill loses one chunk. The number of threads, the chunks and restarts change no row.

use super::context::Context;
use super::open_run::Run;
use super::{lineage, simulate};
use crate::cli::SweepArguments;
use crate::exit_code::ExitCode;
use crate::output::Progress;
use crate::report::format::count;
use crate::signals::Composite;
use crate::simulate::Watch;
use crate::simulate::network::Network;
use crate::store::Fingerprint;
use crate::store::batches::{self, Parts};
use crate::store::run_record::StageRecord;
use crate::store::table;
use crate::sweep::{self, Alarms, Simulated, Size, Sweep, SweepFile};
use anyhow::{Context as _, Result, ensure};
use rayon::prelude::*;
use serde::Serialize;
use std::ops::Range;
use std::sync::Mutex;

/// Cells beyond which a sweep has to be meant: hours of work, and a table of some ten million rows.
const MOST_CELLS: usize = 100_000;

/// Rounds over all cells and replicates beyond which it has to be meant: hours where rounds are counted, days where they are
/// played one by one.
const MOST_ROUNDS: f64 = 2e12;

/// Cells that a warning names.
const NAMED_CELLS: usize = 20;

/// What a sweep left behind, for programs.
#[derive(Debug, Serialize)]
struct Summary {
    sweep: String,
    table: String,
    rows: usize,
    cells: usize,
    /// Cells that this call simulated.
    simulated_cells: usize,
    /// Rounds over all cells and replicates.
    rounds: f64,
    /// Rewards that have a closed form, which they were held against.
    compared: usize,
    /// Cells in which one of them is too far from it to be chance.
    cells_far_off: Vec<i64>,
    /// What a reader of the table should know.
    warnings: Vec<String>,
}

/// Runs a sweep, or what is left of it.
pub fn command(context: &Context, arguments: &SweepArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    let file = SweepFile::read(&arguments.sweep)?;
    let refused = || format!("`{}` cannot be swept", arguments.sweep.display());
    let (asked, left) = simulate::evaluators(&run);
    let of_file = Sweep::new(&file, &run.record.settings.simulation);
    let sweep = of_file.and_then(|sweep| sweep.among(asked, left)).with_context(refused)?;
    if !arguments.yes {
        refuse_absurd(sweep.size()).with_context(refused)?;
    }
    let fingerprints = sweep.fingerprints().with_context(refused)?;
    let mut summary = None;
    run.stage(context, "sweep", |run| {
        let work =
            Work { context, name: &file.name, sweep: &sweep, fingerprints, qualities: sweep::qualities(&sweep)? };
        let (record, told) = work.finish(run)?;
        summary = Some(told);
        Ok(record)
    })?;
    let summary = summary.context("the stage ended without a summary; this is a bug")?;
    context.printer.data(&summary.text(), &summary)?;
    Ok(ExitCode::Done)
}

fn refuse_absurd(Size { cells, rounds }: Size) -> Result<()> {
    ensure!(
        cells <= MOST_CELLS && rounds <= MOST_ROUNDS,
        "it has {} cells and {} rounds over all cells and replicates; beyond {} cells or {} rounds poq asks first\n\
         hint: `--yes` runs it all the same; fewer values, `rounds` or `replicates` make it smaller",
        count(cells as u64),
        count(rounds as u64),
        count(MOST_CELLS as u64),
        count(MOST_ROUNDS as u64)
    );
    Ok(())
}

/// A sweep to be finished in a run.
struct Work<'w> {
    context: &'w Context,
    name: &'w str,
    sweep: &'w Sweep,
    /// What each chunk of cells is made from.
    fingerprints: Vec<String>,
    /// The quality signals that cells pay for.
    qualities: Vec<Composite>,
}

impl Work<'_> {
    fn finish(self, run: &Run) -> Result<(StageRecord, Summary)> {
        let inputs = lineage::of_network(run, !self.qualities.is_empty())?;
        let of_all = |all: Fingerprint, chunk: &String| all.text("cells", chunk);
        let whole = self.fingerprints.iter().fold(Fingerprint::new("sweep"), of_all).finish();
        let stamp = lineage::stamp(run, whole, inputs.clone());
        let (path, directory) = (run.dir.sweep(self.name), run.dir.sweep_parts(self.name));
        let there = table::stamp(&path)?.as_ref() == Some(&stamp);
        let (mut simulated_cells, mut told) = (0, Vec::new());
        if there {
            batches::remove(&directory)?;
        } else {
            let network = self.network(run)?;
            told.extend(self.qualities.iter().filter_map(|signal| network.signal_warning(*signal)));
            let of_chunk = |chunk: &String| lineage::stamp(run, chunk.clone(), inputs.clone());
            let mut parts = Parts::open(&directory, self.fingerprints.iter().map(of_chunk).collect())?;
            simulated_cells = self.compute(run, &network, &mut parts)?;
            parts.join(&path, sweep::TABLE, &stamp)?;
        }
        let mut alarms = Alarms::default();
        batches::for_each(&path, &Alarms::COLUMNS, |batch| alarms.see(batch))?;
        let Size { cells, rounds } = self.sweep.size();
        let reduced = self.sweep.shrunk().map(|k| simulate::shrunk(run, k));
        let mut summary = Summary {
            sweep: self.name.to_owned(),
            table: path.display().to_string(),
            rows: alarms.rows,
            cells,
            simulated_cells,
            rounds,
            compared: alarms.compared,
            cells_far_off: alarms.cells,
            warnings: Vec::new(),
        };
        summary.warnings = reduced.into_iter().chain(told).chain(summary.alarm()).collect();
        let mut details = run.record.stages.get("sweep").map(|stage| stage.details.clone()).unwrap_or_default();
        details.insert(self.name.to_owned(), serde_json::to_value(&summary)?);
        let record = StageRecord {
            rows: summary.rows,
            computed_rows: if there { 0 } else { summary.rows },
            warnings: details.iter().flat_map(|(name, summary)| warnings(name, summary)).collect(),
            details,
            ..StageRecord::default()
        };
        Ok((record, summary))
    }

    /// What the cells are simulated over, once every cell has been held against it.
    fn network(&self, run: &Run) -> Result<Network> {
        let network = simulate::network(run, &self.qualities)?;
        let stopped = || self.context.quit.requested();
        let watch = Watch { stopped: &stopped, ..Watch::NOBODY };
        let checked = sweep::check(self.sweep, &network, watch);
        self.context.check_quit()?;
        checked.with_context(|| format!("sweep `{}`", self.name))?;
        Ok(network)
    }

    /// Simulates the chunks that are missing; returns how many cells those are.
    fn compute(&self, run: &Run, network: &Network, parts: &mut Parts) -> Result<usize> {
        let chunks = self.sweep.chunks();
        let missing: Vec<usize> = (0..chunks.len()).filter(|&chunk| !parts.is_finished(chunk)).collect();
        let cells: usize = missing.iter().map(|&chunk| chunks[chunk].len()).sum();
        let all = self.sweep.size().cells;
        if cells < all {
            let (before, all) = (count((all - cells) as u64), count(all as u64));
            self.context.printer.note(&format!("sweep `{}`: {before} of {all} cells were simulated before", self.name));
        }
        let label = format!("sweep {}", self.name);
        let progress = Mutex::new(self.context.printer.progress_of(&label, cells, "cells"));
        for chunk in missing {
            self.context.check_quit()?;
            let simulated = self.simulate(network, chunks[chunk].clone(), &progress);
            // Once asked to stop, cells come back early.
            self.context.check_quit()?;
            let simulated = simulated?;
            parts.write(chunk, sweep::TABLE, &sweep::batch(self.sweep, run.dir.name(), &simulated)?)?;
        }
        if let Ok(progress) = progress.into_inner() {
            progress.finish();
        }
        Ok(cells)
    }

    /// Simulates cells side by side; they stand in their order whatever the order they were finished in.
    fn simulate(&self, network: &Network, cells: Range<usize>, progress: &Mutex<Progress>) -> Result<Vec<Simulated>> {
        let stopped = || self.context.quit.requested();
        let watch = Watch { stopped: &stopped, ..Watch::NOBODY };
        let of_cell = |cell| {
            let simulated = sweep::simulate_cell(self.sweep, network, cell, watch);
            if let Ok(mut progress) = progress.lock() {
                progress.advance(1);
            }
            simulated
        };
        let simulated: Vec<Result<Simulated>> = cells.into_par_iter().map(of_cell).collect();
        simulated.into_iter().collect()
    }
}

/// What the record says of a sweep that a reader of its table should know.
fn warnings(sweep: &str, summary: &serde_json::Value) -> Vec<String> {
    let warnings = summary["warnings"].as_array().into_iter().flatten();
    warnings.filter_map(|warning| Some(format!("sweep `{sweep}`: {}", warning.as_str()?))).collect()
}

impl Summary {
    fn text(&self) -> String {
        let Self { sweep, table, .. } = self;
        let (cells, rows, compared) = (count(self.cells as u64), count(self.rows as u64), count(self.compared as u64));
        let said = if self.cells_far_off.is_empty() {
            format!(
                "{compared} rewards have a closed form, and none of at least 1,000 jobs is more than 5 standard errors from it"
            )
        } else {
            let far = count(self.cells_far_off.len() as u64);
            format!("SIMULATION AND CLOSED FORM DISAGREE in {far} cells, see the warning")
        };
        format!("sweep `{sweep}`: {cells} cells, {rows} rows in `{table}`\n{said}")
    }

    fn alarm(&self) -> Option<String> {
        if self.cells_far_off.is_empty() {
            return None;
        }
        let named: Vec<String> = self.cells_far_off.iter().take(NAMED_CELLS).map(ToString::to_string).collect();
        let more = if self.cells_far_off.len() > NAMED_CELLS { ", …" } else { "" };
        Some(format!(
            "SIMULATION AND CLOSED FORM DISAGREE by more than 5 standard errors in {} of {} cells ({} rewards compared): \
             do not use cells {}{more}, unless so few of so many are chance; otherwise this is a bug, please report it with \
             run.json and the sweep file",
            count(self.cells_far_off.len() as u64),
            count(self.cells as u64),
            count(self.compared as u64),
            named.join(", "),
        ))
    }
}
