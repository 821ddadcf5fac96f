//! Cells as rows of a sweep's table: one row per figure, so that cells with other nodes, and figures that only some
//! mechanisms have, stand in the same columns.

use super::Simulated;
use super::cells::Sweep;
use super::columns::{Column, Kind, number};
use crate::simulate::disagrees;
use crate::simulate::player::has_memory;
use crate::store::catalogue::Described;
use crate::store::rows::{NetworkRow, RewardRow};
use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use std::iter::repeat_n;
use std::sync::Arc;
use toml::Value;

/// What the table is called in its metadata.
pub const TABLE: &str = "sweep";

/// The columns in their order, for `results/README.md`. `<setting>` stands for the path of each setting that the sweep
/// changes; it has the narrowest type that its values have.
pub const COLUMNS: [Described; 9] = [
    Described::new("run", "Utf8", "", "Name of the run."),
    Described::new("cell", "Int64", "number", "Number of the cell, from 0, in the order of the sweep's file."),
    Described::new(
        "<setting>",
        "Int64, Float64, Boolean or Utf8",
        "the setting's",
        "What the cell has there, below `[simulation]`, whoever set it: lists and tables are compact JSON; null where it \
         has nothing.",
    ),
    Described::new(
        "node_type",
        "Utf8",
        "",
        "`inference`, `evaluator`, or `network` for figures that belong to no node.",
    ),
    Described::new("node", "Utf8", "", "Node key; null for figures of the network."),
    Described::new("strategy", "Utf8", "", "`honest`, or what the node does instead; null for figures of the network."),
    Described::new(
        "metric",
        "Utf8",
        "",
        "What `value` is: a column of `rewards`, a metric of `network`, `void_rounds`, `skipped_evaluators`, or \
         `disagreements` (rewards that differ from their closed form by more than chance).",
    ),
    Described::new(
        "proxy",
        "Utf8",
        "",
        "What consensus is held against, as in `network`; null for metrics that need nothing.",
    ),
    Described::new("value", "Float64", "as `metric` says", "The figure; null where it cannot be computed."),
];

/// `node_type` of figures that belong to no node.
const NETWORK: &str = "network";

/// Mean reward of a node in closed form: a reward that has one is held against it.
const EXPECTED: &str = "expected_reward";

/// How many rewards of a cell differ from their closed form by more than chance.
const DISAGREEMENTS: &str = "disagreements";

/// One figure of a cell.
struct Line<'o> {
    node_type: &'o str,
    node: Option<&'o str>,
    strategy: Option<&'o str>,
    metric: &'o str,
    proxy: Option<&'o str>,
    value: Option<f64>,
}

/// The rows of some cells: `run`, `cell`, a column for every setting that the sweep changes, `node_type`, `node`,
/// `strategy`, `metric`, `proxy` and `value`. A value is null where a figure cannot be computed; figures that the mechanism of
/// a cell does not have at all are left out.
pub fn batch(sweep: &Sweep, run: &str, cells: &[Simulated]) -> Result<RecordBatch> {
    let by_cell: Vec<Vec<Line>> = cells.iter().map(lines).collect();
    let counts: Vec<usize> = by_cell.iter().map(Vec::len).collect();
    let lines: Vec<Line> = by_cell.into_iter().flatten().collect();
    let mut columns: Vec<(&str, ArrayRef, bool)> = Vec::new();
    let runs: StringArray = lines.iter().map(|_| Some(run)).collect();
    columns.push(("run", Arc::new(runs), false));
    let numbers: Int64Array =
        cells.iter().zip(&counts).flat_map(|(cell, &count)| repeat_n(cell.cell as i64, count)).collect();
    columns.push(("cell", Arc::new(numbers), false));
    for column in sweep.columns() {
        columns.push((&column.path, settings_of(sweep, column, cells, &counts)?, true));
    }
    let mut add = |name, read: for<'l, 'o> fn(&'l Line<'o>) -> Option<&'l str>, nullable| {
        columns.push((name, Arc::new(lines.iter().map(read).collect::<StringArray>()) as ArrayRef, nullable));
    };
    add("node_type", |line| Some(line.node_type), false);
    add("node", |line| line.node, true);
    add("strategy", |line| line.strategy, true);
    add("metric", |line| Some(line.metric), false);
    add("proxy", |line| line.proxy, true);
    let values: Float64Array = lines.iter().map(|line| line.value).collect();
    columns.push(("value", Arc::new(values), true));
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values, nullable)| Field::new(*name, values.data_type().clone(), *nullable))
        .collect();
    let arrays = columns.into_iter().map(|(_, values, _)| values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .context("the rows of a sweep cannot be built; this is a bug")
}

/// What cells have in a column, as often as they have rows.
fn settings_of(sweep: &Sweep, column: &Column, cells: &[Simulated], counts: &[usize]) -> Result<ArrayRef> {
    let values = cells.iter().map(|cell| sweep.value(cell.cell, column)).zip(counts);
    let array: ArrayRef = match column.kind {
        Kind::Integer => {
            let integers = values.flat_map(|(value, &count)| repeat_n(value.and_then(Value::as_integer), count));
            Arc::new(integers.collect::<Int64Array>())
        }
        Kind::Number => {
            let numbers = values.flat_map(|(value, &count)| repeat_n(value.and_then(number), count));
            Arc::new(numbers.collect::<Float64Array>())
        }
        Kind::Boolean => {
            let booleans = values.flat_map(|(value, &count)| repeat_n(value.and_then(Value::as_bool), count));
            Arc::new(booleans.collect::<BooleanArray>())
        }
        Kind::Text => {
            let texts = values.map(|(value, &count)| Ok((value.map(text).transpose()?, count)));
            let texts: Vec<(Option<String>, usize)> = texts.collect::<Result<_>>()?;
            let rows = texts.iter().flat_map(|(text, count)| repeat_n(text.as_deref(), *count));
            Arc::new(rows.collect::<StringArray>())
        }
    };
    Ok(array)
}

/// A text as it is, anything else as compact JSON.
fn text(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => serde_json::to_string(other).context("a value of TOML does not become JSON; this is a bug"),
    }
}

/// The figures of a cell.
fn lines(cell: &Simulated) -> Vec<Line<'_>> {
    let mut lines: Vec<Line> = cell.outcome.rewards.iter().flat_map(|row| of_node(cell, row)).collect();
    lines.extend(cell.outcome.network.iter().map(of_network));
    let outcome = &cell.outcome;
    let figures = [
        ("void_rounds", true, Some(outcome.void_rounds as f64)),
        ("skipped_evaluators", true, Some(outcome.skipped_evaluators as f64)),
        (DISAGREEMENTS, !has_memory(&cell.settings), disagreements(&outcome.rewards)),
    ];
    lines.extend(figures.into_iter().filter(|(_, applies, _)| *applies).map(|(metric, _, value)| Line {
        node_type: NETWORK,
        node: None,
        strategy: None,
        metric,
        proxy: None,
        value,
    }));
    lines
}

/// How many rewards differ from their closed form by more than chance; none where none has one.
fn disagreements(rewards: &[RewardRow]) -> Option<f64> {
    let compared = rewards.iter().any(|row| row.expected_reward.is_some());
    compared.then(|| rewards.iter().filter(|row| disagrees(row)).count() as f64)
}

fn of_node<'o>(cell: &Simulated, row: &'o RewardRow) -> impl Iterator<Item = Line<'o>> + use<'o> {
    let (has_attackers, has_closed_form) = (!cell.settings.is_honest(), !has_memory(&cell.settings));
    let figures = [
        ("jobs", true, Some(row.jobs as f64)),
        ("avg_reward", true, row.avg_reward),
        ("stderr", true, row.stderr),
        ("ci_low", true, row.ci_low),
        ("ci_high", true, row.ci_high),
        ("std_reward", true, row.std_reward),
        ("reward_p05", true, row.reward_p05),
        ("reward_p50", true, row.reward_p50),
        ("reward_p95", true, row.reward_p95),
        (EXPECTED, has_closed_form, row.expected_reward),
        ("expected_std", has_closed_form, row.expected_std),
        ("z", has_closed_form, row.z),
        ("honest_reward", has_attackers, row.honest_reward),
        ("trust_weight", row.trust_weight.is_some(), row.trust_weight),
    ];
    figures.into_iter().filter(|(_, applies, _)| *applies).map(|(metric, _, value)| Line {
        node_type: &row.node_type,
        node: Some(&row.node),
        strategy: Some(&row.strategy),
        metric,
        proxy: None,
        value,
    })
}

fn of_network(row: &NetworkRow) -> Line<'_> {
    Line {
        node_type: NETWORK,
        node: None,
        strategy: None,
        metric: &row.metric,
        proxy: row.proxy.as_deref(),
        value: row.value,
    }
}

/// What a finished table says of simulation and closed form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Rows of the table.
    pub rows: usize,
    /// Rewards that have a closed form, which they were held against.
    pub compared: usize,
    /// Cells in which one of them is too far off to be chance, as [`disagrees`] has it, in their order.
    pub cells: Vec<i64>,
}

impl Alarms {
    /// The columns that it looks at.
    pub const COLUMNS: [&'static str; 3] = ["cell", "metric", "value"];

    /// Looks at the next rows.
    pub fn see(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = column::<Int64Array>(batch, "cell")?;
        let metrics = column::<StringArray>(batch, "metric")?;
        let values = column::<Float64Array>(batch, "value")?;
        self.rows += batch.num_rows();
        for row in 0..batch.num_rows() {
            match metrics.value(row) {
                _ if values.is_null(row) => {}
                EXPECTED => self.compared += 1,
                DISAGREEMENTS if values.value(row) > 0.0 => self.cells.push(cells.value(row)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn column<'b, A: Array + 'static>(batch: &'b RecordBatch, name: &str) -> Result<&'b A> {
    batch
        .column_by_name(name)
        .and_then(|values| values.as_any().downcast_ref())
        .with_context(|| format!("the table of a sweep has no column `{name}` of its kind: run the sweep again"))
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
