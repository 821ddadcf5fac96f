//! The cells of a sweep: every combination of its axes, each a configuration of its own. Only the axes are kept; a cell is
//! made when it is asked for, so that a sweep takes the same memory however large it is.

use super::file::{Axis, SweepFile, join};
use crate::settings::Simulation;
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
type Assignment = (String, Value);

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
}

/// A setting that the sweep changes, as a column of its table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Path below `[simulation]`.
    pub path: String,
    /// What its values are.
    pub kind: Kind,
    /// What cells have there whose list entry does not say; none where that is nothing.
    otherwise: Option<Value>,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, all of them.
    Number,
    /// True or false, all of them.
    Boolean,
    /// Texts, or whatever else, as compact JSON.
    Text,
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
        let base = settings.with(borrowed(&overrides)).context("`[simulation]`")?;
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
        }
        let cells = grid
            .iter()
            .try_fold(entries.len(), |cells, (_, values)| cells.checked_mul(values.len()))
            .context("the sweep has more cells than can be counted")?;
        let columns = columns(&held, &entries, &grid);
        let rounds = rounds(&base, &entries, &grid);
        Ok(Self { base, entries, grid, columns, size: Size { cells, rounds } })
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
        let set = self.assignments(cell).into_iter().find(|(path, _)| *path == column.path);
        set.map(|(_, value)| value).or(column.otherwise.as_ref())
    }

    /// The settings of a cell, checked. An error names the cell.
    pub fn settings(&self, cell: usize) -> Result<Simulation> {
        let checked = || -> Result<Simulation> {
            let settings = self.base.with(self.assignments(cell))?;
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

    /// The first cell, and those that differ from it along one axis.
    #[must_use]
    pub fn corners(&self) -> Vec<usize> {
        let (mut cells, mut stride) = (vec![0], 1);
        for length in self.grid.iter().rev().map(|(_, values)| values.len()).chain([self.entries.len()]) {
            cells.extend((1..length).map(|place| place * stride));
            stride *= length;
        }
        cells
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
            let begun =
                Fingerprint::new("cells of a sweep").value("columns", &columns)?.value("steps", &super::STEPS)?;
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
        let mut rest = cell;
        let mut of_grid = Vec::with_capacity(self.grid.len());
        for (path, values) in self.grid.iter().rev() {
            of_grid.push((path.as_str(), &values[rest % values.len()]));
            rest /= values.len();
        }
        borrowed(&self.entries[rest]).chain(of_grid.into_iter().rev()).collect()
    }
}

fn borrowed(assignments: &[Assignment]) -> impl Iterator<Item = (&str, &Value)> {
    assignments.iter().map(|(path, value)| (path.as_str(), value))
}

fn as_table(settings: &Simulation) -> Result<Table> {
    Table::try_from(settings).context("settings do not become TOML; this is a bug")
}

/// Paths and values of a table of settings, where `held` are the settings as they are.
fn assignments(table: &Table, held: &Table) -> Vec<Assignment> {
    let mut into = Vec::new();
    collect(table, Some(held), "", &mut into);
    into
}

/// A table is a longer path, unless the settings hold a single value in its place (`k = { min = 1, max = 3 }`) or it switches
/// something on and says nothing else (`congestion = {}`).
fn collect(table: &Table, held: Option<&Table>, prefix: &str, into: &mut Vec<Assignment>) {
    for (key, value) in table {
        let path = join(prefix, key);
        let there = held.and_then(|held| at(held, key));
        match (value, there) {
            (Value::Table(inner), Some(Value::Table(there))) => collect(inner, Some(there), &path, into),
            (Value::Table(inner), None) if !inner.is_empty() => collect(inner, None, &path, into),
            _ => into.push((path, value.clone())),
        }
    }
}

/// The value at a dotted path.
fn at<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((first, rest)) => at(table.get(first)?.as_table()?, rest),
    }
}

/// Refuses paths of which one holds the other.
fn check_apart(paths: &[&str]) -> Result<()> {
    for (place, path) in paths.iter().enumerate() {
        for other in &paths[..place] {
            ensure!(path != other, "`{path}` is given twice");
            let (outer, inner) = if path.len() < other.len() { (path, other) } else { (other, path) };
            let holds = inner.strip_prefix(*outer).is_some_and(|rest| rest.starts_with('.'));
            ensure!(
                !holds,
                "`{outer}` and `{inner}` are set in the same cell, where one would overwrite the other: leave one out"
            );
        }
    }
    Ok(())
}

fn columns(held: &Table, entries: &[Vec<Assignment>], grid: &[Axis]) -> Vec<Column> {
    let mut columns = Vec::<Column>::new();
    for (path, _) in entries.iter().flatten() {
        if columns.iter().any(|column| column.path == *path) {
            continue;
        }
        let otherwise = at(held, path);
        let values = entries
            .iter()
            .map(|entry| entry.iter().find(|(other, _)| other == path).map(|(_, value)| value).or(otherwise));
        let kind = Kind::of(&values.flatten().collect::<Vec<_>>());
        columns.push(Column { path: path.clone(), kind, otherwise: otherwise.cloned() });
    }
    let of_axis = |(path, values): &Axis| Column {
        path: path.clone(),
        kind: Kind::of(&values.iter().collect::<Vec<_>>()),
        otherwise: None,
    };
    columns.extend(grid.iter().map(of_axis));
    columns
}

impl Kind {
    fn of(values: &[&Value]) -> Self {
        if values.iter().all(|value| value.is_integer() || value.is_float()) {
            Self::Number
        } else if values.iter().all(|value| value.is_bool()) {
            Self::Boolean
        } else {
            Self::Text
        }
    }
}

/// A number of TOML.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|integer| integer as f64))
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
