//! The cells of a sweep: every combination of its axes, each a configuration of its own. Only the axes are kept; a cell is
//! made when it is asked for, so that a sweep takes the same memory however large it is.

use super::columns::{Column, at, check_apart, columns, number};
use super::file::{Axis, SweepFile, join};
use crate::settings::paths::{MAPS, NONE, segments};
use crate::settings::{EvaluatorsPerRound, RoundLog, Simulation};
use crate::simulate::VERSION;
use crate::store::Fingerprint;
use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use std::ops::Range;
use toml::{Table, Value};

/// Most cells of a chunk: what is computed and written together.
const CHUNK_CELLS: usize = 64;

/// Rounds of a chunk, where its cells are large: some seconds' worth, which is what a kill loses.
const CHUNK_ROUNDS: f64 = (1_u32 << 25) as f64;

/// A value and the path of `[simulation]` that it is set at.
pub(super) type Assignment = (String, Value);

/// Every cell of a sweep over the settings of a run.
#[derive(Debug, Clone)]
pub struct Sweep {
    base: Simulation,
    /// `[[list]]`: the slowest axis. One entry without anything where there is no list.
    entries: Vec<Vec<Assignment>>,
    /// `[grid]`: the last axis changes fastest.
    grid: Vec<Axis>,
    columns: Vec<Column>,
    size: Size,
    /// Whether all cells are told their K by the file.
    names_k: bool,
    shrunk: Option<Shrunk>,
}

/// The run's own K among the evaluators that are left of those it asks for.
#[derive(Debug, Clone)]
struct Shrunk {
    k: EvaluatorsPerRound,
    /// The same as settings are written.
    table: Table,
}

/// How much a sweep asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    /// Cells.
    pub cells: usize,
    /// Rounds over all cells and replicates.
    pub rounds: f64,
}

impl Sweep {
    /// Lays out the cells of a file over the settings of a run. Every value is held against the setting that it is for; the
    /// combinations are not, which [`Sweep::fingerprints`] does.
    pub fn new(file: &SweepFile, settings: &Simulation) -> Result<Self> {
        let overrides = assignments(&file.simulation, &as_table(settings)?);
        let set = settings.with(borrowed(&overrides)).context("`[simulation]`")?;
        // Nothing is logged, so that what would be is no part of what a chunk was made from.
        let base = Simulation { round_log: RoundLog::None, ..set };
        let held = as_table(&base)?;
        let entries: Vec<Vec<Assignment>> = if file.list.is_empty() {
            vec![Vec::new()]
        } else {
            file.list.iter().map(|entry| assignments(entry, &held)).collect()
        };
        let grid = file.grid.clone();
        for (path, values) in &grid {
            for value in values {
                base.with([(path.as_str(), value)]).context("`[grid]`")?;
            }
        }
        for (number, entry) in entries.iter().enumerate() {
            let of_list = || format!("`[[list]]`, entry {}", number + 1);
            for (path, value) in entry {
                base.with([(path.as_str(), value)]).with_context(of_list)?;
            }
            let paths: Vec<&str> = entry
                .iter()
                .map(|(path, _)| path)
                .chain(grid.iter().map(|(path, _)| path))
                .map(String::as_str)
                .collect();
            check_apart(&paths)?;
            ensure!(
                !paths.contains(&"round_log"),
                "`round_log` changes no row of a sweep, which logs no rounds: leave it out"
            );
        }
        let cells = grid
            .iter()
            .try_fold(entries.len(), |cells, (_, values)| cells.checked_mul(values.len()))
            .context("the sweep has more cells than can be counted")?;
        let columns = columns(&base, &held, &entries, &grid)?;
        let rounds = rounds(&base, &entries, &grid);
        let names_k = overrides.iter().any(|(path, _)| is_below("k", path));
        Ok(Self { base, entries, grid, columns, size: Size { cells, rounds }, names_k, shrunk: None })
    }

    /// The same where `left` of `asked` evaluators are there: the run's own K shrinks to them in cells that neither say what K
    /// is nor have a pool of their own.
    pub fn among(self, asked: usize, left: usize) -> Result<Self> {
        let real = Simulation { pool: None, ..self.base.clone() };
        let Some(k) = real.k_among(asked, left).filter(|_| !self.names_k) else { return Ok(self) };
        let shrunk = Shrunk { k, table: as_table(&Simulation { k, ..real })? };
        Ok(Self { shrunk: Some(shrunk), ..self })
    }

    /// The K that some cells have in place of the run's, because evaluators were skipped.
    #[must_use]
    pub fn shrunk(&self) -> Option<EvaluatorsPerRound> {
        let shrunk = self.shrunk.as_ref()?;
        (0..self.size.cells).any(|cell| self.shrinks(cell)).then_some(shrunk.k)
    }

    /// How much it asks for.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The settings that it changes: those of the list, then those of the grid.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What a cell has in a column; none where that is nothing.
    #[must_use]
    pub fn value<'s>(&'s self, cell: usize, column: &'s Column) -> Option<&'s Value> {
        let (entry, of_grid) = self.place(cell);
        if column.by_entry.is_empty() {
            return of_grid.into_iter().find(|(path, _)| *path == column.path).map(|(_, value)| value);
        }
        match &self.shrunk {
            Some(shrunk) if is_below("k", &column.path) && self.shrinks(cell) => at(&shrunk.table, &column.path),
            _ => column.by_entry[entry].as_ref(),
        }
    }

    /// The settings of a cell, checked. An error names the cell.
    pub fn settings(&self, cell: usize) -> Result<Simulation> {
        let checked = || -> Result<Simulation> {
            let mut settings = self.base.with(self.assignments(cell))?;
            if let Some(shrunk) = self.shrunk.as_ref().filter(|_| self.shrinks(cell)) {
                settings.k = shrunk.k;
            }
            settings.check()?;
            Ok(settings)
        };
        checked().with_context(|| self.describe(cell))
    }

    /// A cell in words: its number and what is set in it.
    #[must_use]
    pub fn describe(&self, cell: usize) -> String {
        let set: Vec<String> = self.assignments(cell).iter().map(|(path, value)| format!("{path} = {value}")).collect();
        if set.is_empty() { format!("cell {cell}") } else { format!("cell {cell} ({})", set.join(", ")) }
    }

    /// The chunks in which cells are computed and written: as many cells each, the last one aside.
    #[must_use]
    pub fn chunks(&self) -> Vec<Range<usize>> {
        let Size { cells, rounds } = self.size;
        let length = (CHUNK_ROUNDS * cells as f64 / rounds).clamp(1.0, CHUNK_CELLS as f64) as usize;
        (0..cells).step_by(length).map(|first| first..(first + length).min(cells)).collect()
    }

    /// What each chunk holds, as a hash of its cells' settings, defaults included. Refuses the first cell whose settings do
    /// not go together.
    pub fn fingerprints(&self) -> Result<Vec<String>> {
        let columns: Vec<&str> = self.columns.iter().map(|column| column.path.as_str()).collect();
        let of_chunk = |cells: Range<usize>| -> Result<String> {
            let begun = Fingerprint::new("cells of a sweep")
                .value("version", &VERSION)?
                .value("columns", &columns)?
                .value("steps", &super::STEPS)?;
            let all = cells.into_iter().try_fold(begun, |fingerprint, cell| {
                let set: Vec<Option<&Value>> = self.columns.iter().map(|column| self.value(cell, column)).collect();
                fingerprint.value("cell", &(cell, set, self.settings(cell)?))
            });
            Ok(all?.finish())
        };
        let chunks: Vec<Result<String>> = self.chunks().into_par_iter().map(of_chunk).collect();
        chunks.into_iter().collect()
    }

    /// What is set in a cell: its list entry's values, then its grid's.
    fn assignments(&self, cell: usize) -> Vec<(&str, &Value)> {
        let (entry, of_grid) = self.place(cell);
        borrowed(&self.entries[entry]).chain(of_grid).collect()
    }

    /// The list entry of a cell, and its grid's values.
    fn place(&self, cell: usize) -> (usize, Vec<(&str, &Value)>) {
        let mut rest = cell;
        let mut of_grid = Vec::with_capacity(self.grid.len());
        for (path, values) in self.grid.iter().rev() {
            of_grid.push((path.as_str(), &values[rest % values.len()]));
            rest /= values.len();
        }
        of_grid.reverse();
        (rest, of_grid)
    }

    /// Whether a cell has the run's K, among evaluators that are fewer than it asks for.
    fn shrinks(&self, cell: usize) -> bool {
        if self.shrunk.is_none() {
            return false;
        }
        let set = self.assignments(cell);
        let pool = set.iter().find(|(path, _)| is_below("pool", path));
        let has_pool = match pool {
            Some((path, value)) => *path != "pool" || value.as_str() != Some(NONE),
            None => self.base.pool.is_some(),
        };
        !has_pool && !set.iter().any(|(path, _)| is_below("k", path))
    }
}

/// Whether a path is a setting or something in it.
fn is_below(setting: &str, path: &str) -> bool {
    segments(path).first() == Some(&setting)
}

fn borrowed(assignments: &[Assignment]) -> impl Iterator<Item = (&str, &Value)> {
    assignments.iter().map(|(path, value)| (path.as_str(), value))
}

/// Settings as they are written.
pub(super) fn as_table(settings: &Simulation) -> Result<Table> {
    Table::try_from(settings).context("settings do not become TOML; this is a bug")
}

/// Paths and values of a table of settings, where `held` are the settings as they are.
fn assignments(table: &Table, held: &Table) -> Vec<Assignment> {
    let mut into = Vec::new();
    collect(table, held, "", &mut into);
    into
}

/// A table is a longer path, unless the settings hold a single value in its place (`k = { min = 1, max = 3 }`), its keys are
/// names (`consensus.stakes`), or it is empty: that switches something on, or takes everything out.
fn collect(table: &Table, held: &Table, prefix: &str, into: &mut Vec<Assignment>) {
    for (key, value) in table {
        let path = join(prefix, key);
        let longer = match (value, at(held, &path)) {
            (Value::Table(inner), Some(Value::Table(_)) | None) => {
                Some(inner).filter(|inner| !inner.is_empty() && !MAPS.contains(&path.as_str()))
            }
            _ => None,
        };
        match longer {
            Some(inner) => collect(inner, held, &path, into),
            None => into.push((path, value.clone())),
        }
    }
}

/// Rounds over all cells and replicates, without looking at the cells one by one.
fn rounds(base: &Simulation, entries: &[Vec<Assignment>], grid: &[Axis]) -> f64 {
    let cells: f64 = grid.iter().map(|(_, values)| values.len() as f64).product();
    let mean = |entry: &[Assignment], setting: &str, otherwise: f64| -> f64 {
        let on_axis = grid.iter().find(|(path, _)| path == setting);
        if let Some((_, values)) = on_axis {
            return values.iter().filter_map(number).sum::<f64>() / values.len() as f64;
        }
        let listed = entry.iter().find(|(path, _)| path == setting);
        listed.and_then(|(_, value)| number(value)).unwrap_or(otherwise)
    };
    let of_entry = |entry: &Vec<Assignment>| {
        mean(entry, "rounds", base.rounds as f64) * mean(entry, "replicates", f64::from(base.replicates)) * cells
    };
    entries.iter().map(of_entry).sum()
}

#[cfg(test)]
#[path = "cells_tests.rs"]
mod tests;
