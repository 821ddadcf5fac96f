//! The settings that a sweep changes, as columns of its table: what each cell has there, whoever said so.

use super::cells::{Assignment, as_table};
use super::file::Axis;
use crate::settings::Simulation;
use crate::settings::paths::segments;
use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

/// A setting that the sweep changes, as a column of its table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Path below `[simulation]`.
    pub path: String,
    /// What its values are.
    pub kind: Kind,
    /// What the cells of each entry of the list have there; none where that is nothing. Empty for an axis of the grid, which
    /// says so itself.
    pub(super) by_entry: Vec<Option<Value>>,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers, all of them.
    Integer,
    /// Numbers, all of them.
    Number,
    /// True or false, all of them.
    Boolean,
    /// Texts, or whatever else, as compact JSON.
    Text,
}

impl Kind {
    /// The narrowest that all of some values are of.
    pub(super) fn of(values: &[&Value]) -> Self {
        if values.iter().all(|value| value.is_integer()) {
            Self::Integer
        } else if values.iter().all(|value| value.is_integer() || value.is_float()) {
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

/// The value at a path.
pub(super) fn at<'t>(table: &'t Table, path: &str) -> Option<&'t Value> {
    let keys = segments(path);
    let (last, tables) = keys.split_last()?;
    tables.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?.get(*last)
}

/// Whether one of two paths holds the other, or they are the same.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (segments(one), segments(other));
    one.starts_with(&other) || other.starts_with(&one)
}

/// Refuses paths of which one holds the other.
pub(super) fn check_apart(paths: &[&str]) -> Result<()> {
    for (place, path) in paths.iter().enumerate() {
        for other in &paths[..place] {
            ensure!(path != other, "`{path}` is given twice");
            let (outer, inner) = if path.len() < other.len() { (path, other) } else { (other, path) };
            ensure!(
                !overlap(path, other),
                "`{outer}` and `{inner}` are set in the same cell, where one would overwrite the other: leave one out"
            );
        }
    }
    Ok(())
}

/// The columns: settings of the list, then those of the grid. `held` is the base as a table.
pub(super) fn columns(
    base: &Simulation,
    held: &Table,
    entries: &[Vec<Assignment>],
    grid: &[Axis],
) -> Result<Vec<Column>> {
    let mut columns = Vec::<Column>::new();
    for (path, _) in entries.iter().flatten() {
        if columns.iter().any(|column| column.path == *path) {
            continue;
        }
        let by_entry: Vec<Option<Value>> =
            entries.iter().map(|entry| of_entry(base, held, entry, path)).collect::<Result<_>>()?;
        let kind = Kind::of(&by_entry.iter().flatten().collect::<Vec<_>>());
        columns.push(Column { path: path.clone(), kind, by_entry });
    }
    let of_axis = |(path, values): &Axis| Column {
        path: path.clone(),
        kind: Kind::of(&values.iter().collect::<Vec<_>>()),
        by_entry: Vec::new(),
    };
    columns.extend(grid.iter().map(of_axis));
    Ok(columns)
}

/// What the cells of an entry have at a path of the list. Where the entry says nothing there but something above or below,
/// that is what its settings come to; the grid has no say, for its paths are apart from all of the list.
fn of_entry(base: &Simulation, held: &Table, entry: &[Assignment], path: &str) -> Result<Option<Value>> {
    if let Some((_, value)) = entry.iter().find(|(other, _)| other == path) {
        return Ok(Some(value.clone()));
    }
    if !entry.iter().any(|(other, _)| overlap(other, path)) {
        return Ok(at(held, path).cloned());
    }
    let resolved = base.with(entry.iter().map(|(path, value)| (path.as_str(), value))).context("`[[list]]`")?;
    Ok(at(&as_table(&resolved)?, path).cloned())
}
