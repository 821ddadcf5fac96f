//! Sweeps: one mechanism after the other on the answers of a run, as one long table. Nothing is read, written or printed
//! here.
//!
//! `file` (what is asked for) → `cells` (the settings of every combination, `columns` what the table says of them) → `check` →
//! [`crate::simulate`] → `rows` (long form).

mod cells;
mod check;
mod columns;
mod file;
mod rows;

pub use cells::{Size, Sweep};
pub use check::check;
pub use columns::{Column, Kind};
pub use file::SweepFile;
pub use rows::{Alarms, COLUMNS, TABLE, batch};

use crate::settings::Simulation;
use crate::signals::Composite;
use crate::simulate::network::Network;
use crate::simulate::{Outcome, Watch, watched};
use anyhow::{Context, Result};
use toml::Value;

/// Scores that the closed form of a cell may look at, where its outcomes are too many to keep: some hundredths of a second's
/// worth. A single simulation takes its time (`simulate::STEPS`); a sweep does so thousands of times.
pub const STEPS: f64 = 2e6;

/// A cell that was simulated.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Its number.
    pub cell: usize,
    /// Its settings.
    pub settings: Simulation,
    /// What came out.
    pub outcome: Outcome,
}

/// Simulates a cell while somebody watches. Who asks for a stop throws away what comes back.
pub fn simulate_cell(sweep: &Sweep, network: &Network, cell: usize, watch: Watch) -> Result<Simulated> {
    let settings = sweep.settings(cell)?;
    let outcome = watched(network, &settings, STEPS, watch).with_context(|| sweep.describe(cell))?;
    Ok(Simulated { cell, settings, outcome })
}

/// The quality signals that inference nodes are paid for in some cell.
pub fn qualities(sweep: &Sweep) -> Result<Vec<Composite>> {
    let Some(column) = sweep.columns().iter().find(|column| column.path == "quality") else {
        return Ok(sweep.settings(0)?.quality.into_iter().collect());
    };
    let of_cell = |cell| sweep.value(cell, column).and_then(Value::as_str);
    let is_paid = |composite: &Composite| (0..sweep.size().cells).any(|cell| of_cell(cell) == Some(composite.name()));
    Ok(Composite::ALL.into_iter().filter(is_paid).collect())
}
