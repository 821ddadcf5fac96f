//! A sweep file: what it changes in the run's settings, and which values its axes take.

use crate::settings::check_name;
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use std::path::Path;
use toml::{Table, Value};

/// Values at a path of `[simulation]`.
pub type Axis = (String, Vec<Value>);

/// A sweep file, read.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepFile {
    /// Name of the table that it makes.
    pub name: String,
    /// What every cell has in place of the run's settings.
    pub simulation: Table,
    /// Axes of which every combination is a cell, in the file's order.
    pub grid: Vec<Axis>,
    /// Cells one by one, each with every combination of the grid.
    pub list: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    simulation: Table,
    #[serde(default)]
    grid: Table,
    #[serde(default)]
    list: Vec<Table>,
}

impl SweepFile {
    /// Reads a sweep file. Unknown fields are refused by name.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the sweep file `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("`{}` is not a valid sweep", path.display()))
    }

    /// Reads the text of a sweep file.
    pub fn parse(text: &str) -> Result<Self> {
        let Written { name, simulation, grid, list } = toml::from_str(text).map_err(|error| {
            let hint = crate::suggest::hint(error.message()).map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            anyhow!("{}{hint}", error.to_string().trim_end())
        })?;
        check_name("`name`", &name)?;
        ensure!(!name.contains('.'), "`name` must not contain a dot, for it names a table; it is `{name}`");
        let mut axes = Vec::new();
        collect_axes(grid, "", &mut axes)?;
        ensure!(
            !(axes.is_empty() && list.is_empty()),
            "there is nothing to sweep: `[grid]` gives settings lists of values, `[[list]]` gives cells one by one"
        );
        Ok(Self { name, simulation, grid: axes, list })
    }
}

/// The axes of a table: a table in it is a longer path, down to the lists of values.
fn collect_axes(table: Table, prefix: &str, axes: &mut Vec<Axis>) -> Result<()> {
    for (key, value) in table {
        let path = join(prefix, &key);
        match value {
            Value::Table(inner) if !inner.is_empty() => collect_axes(inner, &path, axes)?,
            Value::Array(values) => {
                ensure!(
                    !values.is_empty(),
                    "`grid.{path}` has no values, which leaves no cell: give it some or leave it out"
                );
                axes.push((path, values));
            }
            single => bail!(
                "`grid.{path}` must be a list of values, e.g. `[{single}]`; what all cells have in common belongs into \
                 `[simulation]`"
            ),
        }
    }
    Ok(())
}

/// A path and what follows.
pub(super) fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        format!("{:#}", SweepFile::parse(text).expect_err("refused"))
    }

    #[test]
    fn axes_keep_the_order_of_the_file_however_they_are_written() {
        let file = SweepFile::parse(
            "name = \"s\"\n[grid]\n\"pool.noise\" = [0.5]\nk = [3, 5]\nconsensus.rule = [\"mean\"]\n\
             [grid.consensus.trust]\nrate = [0.1, 0.2]\nmin = [0.1]\n[grid.audit]\npenalty = [1]\n",
        )
        .expect("valid");
        let paths: Vec<&str> = file.grid.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            ["pool.noise", "k", "consensus.rule", "consensus.trust.rate", "consensus.trust.min", "audit.penalty"]
        );
        assert_eq!(file.grid[1].1, [Value::Integer(3), Value::Integer(5)]);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_do() {
        let message = error("name = \"s\"\n[gird]\nk = [1]\n");
        assert!(message.contains("unknown field `gird`") && message.contains("did you mean `grid`?"), "{message}");
        assert!(error("name = \"s\"\n[grid]\nk = 3\n").contains("`grid.k` must be a list of values, e.g. `[3]`"));
        assert!(
            error("name = \"s\"\n[grid]\nconsensus.trust = {}\n").contains("must be a list of values, e.g. `[{}]`")
        );
        assert!(error("name = \"s\"\n[grid.consensus]\ntrim = []\n").contains("`grid.consensus.trim` has no values"));
        assert!(error("name = \"s\"\n[simulation]\nk = 3\n").contains("nothing to sweep"));
        assert!(error("name = \"../s\"\n[grid]\nk = [1]\n").contains("`name` must be letters"));
        assert!(error("name = \"a.parquet\"\n[grid]\nk = [1]\n").contains("must not contain a dot"));
        assert!(error("[grid]\nk = [1]\n").contains("missing field `name`"));
        assert!(error("name = \"s\"\n[grid\n").contains("line 2"));
    }
}
