//! The table of a sweep as charts need it: what its axes are, and some figures of every cell.

use anyhow::{Context, Result};
use arrow::array::{Array, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use std::collections::HashMap;

/// Figures of the network that are charted, in the order of preference.
pub(super) const NETWORK_METRICS: [&str; 3] = ["consensus_error", "honest_malicious_gap", "ranking_kendall"];
/// The figure of a node that is charted.
pub(super) const NODE_METRIC: &str = "avg_reward";
/// Figures that are kept: a chart with more has no reader.
const MOST_POINTS: usize = 300_000;
/// The column after the axes.
const AFTER_AXES: &str = "node_type";
/// Columns before the axes.
const BEFORE_AXES: usize = 2;

/// A setting that the sweep changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SweepAxis {
    /// Path below `[simulation]`.
    pub path: String,
    /// Its values, in order of first appearance.
    pub values: Vec<String>,
    /// The same as numbers, where all of them are.
    pub numbers: Option<Vec<f64>>,
}

/// One figure of a cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// Index of the value on every axis.
    pub at: Vec<usize>,
    /// Index of the node; none for the network.
    pub node: Option<usize>,
    /// Name of the figure.
    pub metric: &'static str,
    pub value: f64,
}

/// What is kept of a sweep.
#[derive(Debug, Clone, Default)]
pub struct SweepTable {
    /// Name of the sweep.
    pub(super) name: String,
    pub(super) axes: Vec<SweepAxis>,
    pub(super) nodes: Vec<String>,
    pub(super) points: Vec<Point>,
    /// Whether it was made from other tables than the run has now.
    pub(super) is_stale: bool,
    /// Whether there were more figures than are kept.
    pub(super) is_cut: bool,
    /// What the network's figures are held against: the first that occurs.
    pub(super) proxy: Option<String>,
    places: HashMap<(usize, String), usize>,
    node_places: HashMap<String, usize>,
}

impl SweepTable {
    /// An empty table.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// One that was made from other tables than the run has now: it is named, and not drawn.
    #[must_use]
    pub fn stale(name: &str) -> Self {
        Self { is_stale: true, ..Self::new(name) }
    }

    /// Takes the next rows in.
    pub fn see(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let end = schema.index_of(AFTER_AXES).context("the table of a sweep has no column `node_type`")?;
        let metrics: &StringArray = column(batch, "metric")?;
        let values: &Float64Array = column(batch, "value")?;
        let nodes: &StringArray = column(batch, "node")?;
        let proxies: &StringArray = column(batch, "proxy")?;
        if self.axes.is_empty() {
            let fields = schema.fields()[BEFORE_AXES.min(end)..end].iter();
            let axis = |path: &String| SweepAxis { path: path.clone(), values: Vec::new(), numbers: Some(Vec::new()) };
            self.axes = fields.map(|field| axis(field.name())).collect();
        }
        for row in 0..batch.num_rows() {
            if values.is_null(row) {
                continue;
            }
            let metric = metrics.value(row);
            let Some(metric) = NETWORK_METRICS.iter().chain([&NODE_METRIC]).find(|known| **known == metric) else {
                continue;
            };
            if !proxies.is_null(row) {
                let proxy = self.proxy.get_or_insert_with(|| proxies.value(row).to_owned());
                if proxy != proxies.value(row) {
                    continue;
                }
            }
            if self.points.len() == MOST_POINTS {
                self.is_cut = true;
                return Ok(());
            }
            let at = (BEFORE_AXES.min(end)..end)
                .map(|index| self.place(index - BEFORE_AXES, &text(batch.column(index).as_ref(), row)))
                .collect();
            let node = (!nodes.is_null(row)).then(|| self.node(nodes.value(row)));
            self.points.push(Point { at, node, metric, value: values.value(row) });
        }
        Ok(())
    }

    fn place(&mut self, axis: usize, value: &str) -> usize {
        if let Some(place) = self.places.get(&(axis, value.to_owned())) {
            return *place;
        }
        let own = &mut self.axes[axis];
        own.values.push(value.to_owned());
        match (value.parse::<f64>(), own.numbers.as_mut()) {
            (Ok(number), Some(numbers)) => numbers.push(number),
            _ => own.numbers = None,
        }
        self.places.insert((axis, value.to_owned()), own.values.len() - 1);
        own.values.len() - 1
    }

    fn node(&mut self, name: &str) -> usize {
        if let Some(place) = self.node_places.get(name) {
            return *place;
        }
        self.nodes.push(name.to_owned());
        self.node_places.insert(name.to_owned(), self.nodes.len() - 1);
        self.nodes.len() - 1
    }
}

fn column<'b, A: 'static>(batch: &'b RecordBatch, name: &str) -> Result<&'b A> {
    let values = batch.column_by_name(name).and_then(|values| values.as_any().downcast_ref());
    values.with_context(|| format!("the table of a sweep has no column `{name}` of its kind: run the sweep again"))
}

/// A value of an axis as text.
fn text(values: &dyn Array, row: usize) -> String {
    if values.is_null(row) {
        return "none".into();
    }
    let values = values.as_any();
    if let Some(texts) = values.downcast_ref::<StringArray>() {
        return readable(texts.value(row));
    }
    if let Some(numbers) = values.downcast_ref::<Float64Array>() {
        return numbers.value(row).to_string();
    }
    if let Some(integers) = values.downcast_ref::<Int64Array>() {
        return integers.value(row).to_string();
    }
    values.downcast_ref::<BooleanArray>().map_or_else(String::new, |values| values.value(row).to_string())
}

/// Compact JSON as people say it: `[{"strategy":"boost","share":0.2}]` is `boost, share 0.2`, and `[]` is `none`.
fn readable(text: &str) -> String {
    use serde_json::Value;
    fn say(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Array(items) if items.is_empty() => "none".into(),
            Value::Array(items) => items.iter().map(say).collect::<Vec<_>>().join(" + "),
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| match value {
                    // What something is says more than the word for it.
                    Value::String(text) => text.clone(),
                    _ => format!("{name} {}", say(value)),
                };
                // What it is, then how much of it.
                let (what, how_much): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| value.is_string());
                what.into_iter().chain(how_much).map(field).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        }
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Array(_) | Value::Object(_))) => say(&value),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn settings_read_as_words() {
        assert_eq!(readable("[]"), "none");
        assert_eq!(readable("median"), "median");
        assert_eq!(readable(r#"[{"strategy":"boost","share":0.2}]"#), "boost, share 0.2");
        assert_eq!(readable(r#"{"update":"ema"}"#), "ema");
        assert_eq!(readable("[not json"), "[not json");
    }
}
