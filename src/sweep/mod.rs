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
use crate::simulate::network::Network;
use crate::simulate::{Outcome, Watch, watched};
use anyhow::{Context, Result};

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
