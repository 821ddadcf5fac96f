//! What every table of `results/<run>/` holds, as Markdown: `results/README.md`. Types and nullability come from the row
//! structs' Arrow schemas, texts from their doc comments, units from their attributes: nothing is written twice.
//!
//! A doc comment says when its column is null in a clause of its own, `; null …`, which becomes a column of the document.

use super::replies::ReplyRecord;
use super::rows::{
    BenchRow, CascadeRow, GenerationRow, JudgeCheckRow, JudgeSampleRow, JudgementRow, NetworkRow, ProfileRow,
    RewardRow, RoundRow, Row, ScoreRow, SignalAuditRow, SignalRow, TaskRow,
};
use super::run_record::RunRecord;
use super::table;
use anyhow::{Context, Result, ensure};
use arrow::datatypes::DataType;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;
use std::fmt::Write;

/// Begins what a text says of null.
const NULL: &str = "; null ";

/// Stands before the tables.
const BEFORE: &str = include_str!("catalogue/before.md");

/// A column of a table whose columns depend on the run, so that no struct can describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Name; in angle brackets what is another in every run.
    pub name: &'static str,
    /// Arrow's name of the type.
    pub data_type: &'static str,
    /// Unit; empty where there is none.
    pub unit: &'static str,
    /// What it holds and, after `; null`, when it holds nothing.
    pub text: &'static str,
}

impl Described {
    /// A column.
    #[must_use]
    pub const fn new(name: &'static str, data_type: &'static str, unit: &'static str, text: &'static str) -> Self {
        Self { name, data_type, unit, text }
    }

    /// Whether its text says when it is null.
    #[must_use]
    pub fn is_nullable(&self) -> bool {
        self.text.contains(NULL)
    }
}

/// A column, whoever described it.
#[derive(Debug)]
struct Column {
    name: String,
    data_type: String,
    unit: String,
    nullable: bool,
    text: String,
}

impl From<&Described> for Column {
    fn from(column: &Described) -> Self {
        Self {
            name: column.name.to_owned(),
            data_type: column.data_type.to_owned(),
            unit: column.unit.to_owned(),
            nullable: column.is_nullable(),
            text: column.text.to_owned(),
        }
    }
}

/// A table of the document.
#[derive(Debug)]
struct Table {
    name: &'static str,
    file: &'static str,
    /// Columns that tell its rows apart.
    key: &'static str,
    /// Who writes it, and from what.
    origin: &'static str,
    about: String,
    columns: Vec<Column>,
}

impl Table {
    /// A table with a row struct.
    fn of<R: Row + JsonSchema>(file: &'static str, key: &'static str, origin: &'static str) -> Result<Self> {
        let schema = schema_of::<R>();
        let name = R::TABLE;
        let about = description(&schema);
        let about = about.strip_prefix(&format!("`{name}`: ")).unwrap_or(&about).to_owned();
        let column = |field: &arrow::datatypes::Field| {
            let property = &schema["properties"][field.name()];
            let unit = property["unit"].as_str().unwrap_or(if is_count(field.data_type()) { "count" } else { "" });
            Column {
                name: field.name().clone(),
                data_type: type_name(field.data_type()),
                unit: unit.to_owned(),
                nullable: field.is_nullable(),
                text: description(property),
            }
        };
        let columns = table::fields::<R>()?.iter().map(|field| column(field)).collect();
        Ok(Self { name, file, key, origin, about, columns })
    }

    fn write(&self, document: &mut String) -> Result<()> {
        let Self { name, file, key, origin, about, columns } = self;
        writeln!(document, "\n### {name}\n\n`{file}`: {about} Key: {key}. Written by {origin}.\n")?;
        document.push_str("| Column | Type | Unit | Null | What it holds |\n|---|---|---|---|---|\n");
        for column in columns {
            let (text, null) = split_null(&column.text);
            let context = || format!("`{name}.{}`: \"{}\"", column.name, column.text);
            ensure!(!text.is_empty(), "{} is not documented", context());
            ensure!(null.is_some() == column.nullable, "{} must say when it is null, if it can be", context());
            let null = null.unwrap_or_else(|| "never".to_owned());
            let line = [&format!("`{}`", column.name), &column.data_type, &column.unit, &null, &text];
            writeln!(document, "| {} |", line.map(|cell| cell.replace('|', "\\|")).join(" | "))?;
        }
        Ok(())
    }
}

/// The whole document. `metrics` and `sweep` are the columns of the tables that have no row struct.
pub fn markdown(metrics: &[Described], sweep: &[Described]) -> Result<String> {
    let mut document = BEFORE.to_owned();
    for table in tables(metrics, sweep)? {
        table.write(&mut document)?;
    }
    document.push_str("\n## Beside the tables\n");
    document.push_str("\n### run.json\n\nWhat ran, on what, from which settings, and how each stage ended. It is written anew after every stage.\n");
    fields_of::<RunRecord>(&mut document)?;
    document.push_str("\n### judge_replies.jsonl\n\nEvery reply of a judge as it came, one JSON object per line, written the moment it arrives. What is in it is never asked, or paid, again; `poq judge --replay` serves it to others.\n");
    fields_of::<ReplyRecord>(&mut document)?;
    document.push_str(include_str!("catalogue/after.md"));
    Ok(document)
}

/// All tables, in the order of the data flow.
fn tables(metrics: &[Described], sweep: &[Described]) -> Result<Vec<Table>> {
    let answer = "`task_id`, `model`";
    Ok(vec![
        Table::of::<TaskRow>(
            "tasks.parquet",
            "`task_id`",
            "`poq tasks`, from the data sets of the experiment, or by `poq import`, from a file",
        )?,
        Table::of::<GenerationRow>(
            "generations/<model>.parquet",
            answer,
            "`poq generate`, from `tasks`, or by `poq import`, from a file",
        )?,
        Table::of::<ScoreRow>(
            "scores/<scorer>.parquet",
            "`task_id`, `model`, `scorer`",
            "`poq score`, from `tasks` and `generations`",
        )?,
        Table::of::<JudgeSampleRow>("judge_sample.parquet", "`task_id`", "`poq judge`, from `tasks`")?,
        Table::of::<JudgementRow>(
            "judgements.parquet",
            answer,
            "`poq judge`, from `judge_sample`, `tasks`, `generations` and the judge's replies",
        )?,
        Table::of::<JudgeCheckRow>(
            "judge_checks.parquet",
            "`task_id`, `model`, `check`, `variant`",
            "`poq judge`, where the settings ask for checks, from what `judgements` is made from",
        )?,
        Table::of::<ProfileRow>(
            "profile.parquet",
            "`node_type`, `node`, `batch_size`",
            "`poq profile`, by measuring the nodes on this machine",
        )?,
        Table::of::<SignalRow>(
            "signals.parquet",
            "`task_id`, `model`, `signal`",
            "`poq signals`, from `tasks`, `generations`, `scores` and `profile`",
        )?,
        Table::of::<SignalAuditRow>(
            "signal_audit.parquet",
            "`task_type`, `signal`, `split`",
            "`poq signals`, from `signals` and `scores`",
        )?,
        Table::of::<CascadeRow>(
            "cascade.parquet",
            "`threshold`, `task_type`",
            "`poq signals`, from `scores` and `profile`",
        )?,
        Table::of::<RewardRow>(
            "rewards.parquet",
            "`node_type`, `node`",
            "`poq simulate`, from `scores` and `profile`",
        )?,
        Table::of::<NetworkRow>(
            "network.parquet",
            "`metric`, `proxy`",
            "`poq simulate`, from `scores`, `profile` and `judgements`",
        )?,
        Table::of::<RoundRow>(
            "rounds.parquet",
            "`replicate`, `round`",
            "`poq simulate`: the first replicate, or all of them with `--round-log all`",
        )?,
        Table {
            name: "metrics",
            file: "metrics.parquet",
            key: answer,
            origin: "`poq report`, from `tasks`, `generations`, `scores` and `judgements`",
            about: "the wide join of what is known of each answer: the table to load first.".to_owned(),
            columns: metrics.iter().map(Column::from).collect(),
        },
        Table {
            name: "sweeps",
            file: "sweeps/<name>.parquet",
            key: "`cell`, `node_type`, `node`, `metric`, `proxy`",
            origin: "`poq sweep`, from `scores` and `profile`",
            about: "one figure of one simulation of a sweep, in long form.".to_owned(),
            columns: sweep.iter().map(Column::from).collect(),
        },
        Table::of::<BenchRow>(
            "bench.parquet",
            "`role`, `model`, `provider`, `precision`, `workers`, `threads`, `batch_size`, `batch_tokens`",
            "`poq bench`, by measuring, into `results/bench/` or the directory of `--out`",
        )?,
    ])
}

fn schema_of<T: JsonSchema>() -> Value {
    SchemaGenerator::default().into_root_schema_for::<T>().to_value()
}

/// A description on one line.
fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Fields of a JSON object, those of nested objects after their own, with a dot.
fn fields_of<T: JsonSchema>(document: &mut String) -> Result<()> {
    let schema = schema_of::<T>();
    document.push_str("\n| Field | What it holds |\n|---|---|\n");
    write_fields(document, &schema, &schema, "")
}

fn write_fields(document: &mut String, root: &Value, object: &Value, prefix: &str) -> Result<()> {
    let properties = object["properties"].as_object().context("a JSON object without fields; this is a bug")?;
    let mut names: Vec<&String> = properties.keys().collect();
    names.sort(); // whatever order the JSON library keeps
    for name in names {
        let property = &properties[name];
        writeln!(document, "| `{prefix}{name}` | {} |", description(property).replace('|', "\\|"))?;
        let (place, suffix) = match property.get("additionalProperties") {
            Some(of_each) => (of_each, ".*."),
            None => (property, "."),
        };
        if let Some(nested) = definition(root, place).filter(|nested| nested["properties"].is_object()) {
            write_fields(document, root, nested, &format!("{prefix}{name}{suffix}"))?;
        }
    }
    Ok(())
}

/// The definition that a field refers to, alone or among alternatives.
fn definition<'s>(root: &'s Value, property: &Value) -> Option<&'s Value> {
    let alternatives = property["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
    let mut reference = std::iter::once(property).chain(alternatives).filter_map(|place| place["$ref"].as_str());
    root.pointer(reference.next()?.strip_prefix('#')?)
}

/// A text without what it says of null, and that.
fn split_null(text: &str) -> (String, Option<String>) {
    let Some((before, after)) = text.split_once(NULL) else { return (text.to_owned(), None) };
    match after.split_once(". ") {
        Some((null, rest)) => (format!("{before}. {rest}"), Some(null.to_owned())),
        None => (format!("{before}."), Some(after.trim_end_matches('.').to_owned())),
    }
}

fn is_count(data_type: &DataType) -> bool {
    data_type.is_integer()
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("List of {}", type_name(item.data_type())),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_on_null_is_set_apart() {
        let split = |text| split_null(text);
        assert_eq!(split("All of it."), ("All of it.".into(), None));
        assert_eq!(split("Time, in ms; null when failed."), ("Time, in ms.".into(), Some("when failed".into())));
        assert_eq!(split("A; null for b. And c; d."), ("A. And c; d.".into(), Some("for b".into())));
    }

    #[test]
    fn every_number_has_a_unit() {
        for table in tables(&[], &[]).expect("tables") {
            for column in &table.columns {
                let number = column.data_type.ends_with("Float64") || column.data_type.contains("Int");
                assert_eq!(!column.unit.is_empty(), number, "{}.{}", table.name, column.name);
            }
        }
    }

    #[test]
    fn what_is_not_said_of_null_is_an_error() {
        let table = |text| {
            let columns = vec![Column::from(&Described::new("c", "Utf8", "", text))];
            Table { name: "t", file: "", key: "", origin: "", about: String::new(), columns }
        };
        assert!(table("Said; null never mind.").write(&mut String::new()).is_ok());
        let mut silent = table("Said.");
        silent.columns[0].nullable = true;
        let error = silent.write(&mut String::new()).expect_err("refused").to_string();
        assert!(error.contains("`t.c`") && error.contains("null"), "{error}");
        assert!(table("").write(&mut String::new()).is_err());
    }
}
