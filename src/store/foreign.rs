//! Tables that poq did not write: JSON lines, JSON arrays and Parquet, read as records of named values.
//!
//! `dataset` and `import` say which columns they want; everything else in the file is left alone and listed by name.
//! Errors name the line or row and the field; the caller adds the file.

mod json;
mod parquet;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

#[cfg(test)]
pub(crate) use parquet::write_for_test;

/// Where in its file a record stands, counted from 1: `line 3`, `row 3` or `element 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    unit: &'static str,
    number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.unit, self.number)
    }
}

/// One record, reduced to the columns that were asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// Its values by column name.
    pub fields: Map<String, Value>,
}

/// The records of a file, in file order.
pub struct Records {
    inner: Box<dyn Iterator<Item = Result<Record>>>,
    wanted: Vec<String>,
    ignored: BTreeSet<String>,
}

impl Records {
    /// Opens a file by its extension and reads the `wanted` columns of it.
    pub fn open(path: &Path, wanted: &[&str]) -> Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let (inner, ignored) = match extension.as_str() {
            "jsonl" | "json" => (json::records(path)?, BTreeSet::new()),
            "parquet" => parquet::records(path, wanted)?,
            _ => bail!("the name must end in `.jsonl`, `.json` or `.parquet`, which says how to read the file"),
        };
        Ok(Self { inner, wanted: wanted.iter().map(ToString::to_string).collect(), ignored })
    }

    /// Columns that were found and not asked for; complete once the last record was read.
    #[must_use]
    pub fn ignored(&self) -> &BTreeSet<String> {
        &self.ignored
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut record = self.inner.next()?;
        if let Ok(record) = &mut record {
            record.fields.retain(|name, _| {
                let keep = self.wanted.contains(name);
                if !keep && !self.ignored.contains(name) {
                    self.ignored.insert(name.clone());
                }
                keep
            });
        }
        Some(record)
    }
}

impl Record {
    /// A text that must be there; it may be empty.
    pub fn text(&self, field: &str) -> Result<&str> {
        match self.fields.get(field) {
            None => bail!("{}: the field `{field}` is missing", self.place),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.wrong_type(field, "text", other)),
        }
    }

    /// A text that must be there and hold more than white space.
    pub fn full_text(&self, field: &str) -> Result<&str> {
        let text = self.text(field)?;
        if text.trim().is_empty() {
            bail!("{}: `{field}` is empty", self.place);
        }
        Ok(text)
    }

    /// A text that may be absent or null, but not blank.
    pub fn optional_text(&self, field: &str) -> Result<Option<&str>> {
        if self.is_absent(field) { Ok(None) } else { self.full_text(field).map(Some) }
    }

    /// A list of texts that may be absent or null; no member may be blank.
    pub fn optional_texts(&self, field: &str) -> Result<Option<Vec<&str>>> {
        let members = match self.fields.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(members)) => members,
            Some(other) => return Err(self.wrong_type(field, "a list of texts", other)),
        };
        let member = |(i, value): (usize, &'_ Value)| match value {
            Value::String(text) if text.trim().is_empty() => {
                bail!("{}: entry {} of `{field}` is empty", self.place, i + 1)
            }
            Value::String(_) => Ok(()),
            other => Err(self.wrong_type(&format!("{field}[{i}]"), "text", other)),
        };
        members.iter().enumerate().try_for_each(member)?;
        Ok(Some(members.iter().filter_map(Value::as_str).collect()))
    }

    /// A number that may be absent or null.
    pub fn optional_number(&self, field: &str) -> Result<Option<f64>> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => number
                .as_f64()
                .with_context(|| format!("{}: `{field}` is out of range: {number}", self.place))
                .map(Some),
            Some(other) => Err(self.wrong_type(field, "a number", other)),
        }
    }

    /// Whether the field is absent or null.
    #[must_use]
    pub fn is_absent(&self, field: &str) -> bool {
        self.fields.get(field).is_none_or(Value::is_null)
    }

    /// The error for a value of the wrong type.
    #[must_use]
    pub fn wrong_type(&self, field: &str, expected: &str, found: &Value) -> anyhow::Error {
        anyhow::anyhow!("{}: `{field}` must be {expected}; it is {}", self.place, type_name(found))
    }
}

/// What a JSON value is, as errors say it.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(fields: &Value) -> Record {
        Record { place: Place { unit: "line", number: 7 }, fields: fields.as_object().unwrap().clone() }
    }

    #[test]
    fn values_of_the_right_type_come_back() {
        let record = record(&json!({"a": "x", "b": ["y", "z"], "c": 2, "d": null, "e": ""}));
        assert_eq!(record.text("a").unwrap(), "x");
        assert_eq!(record.text("e").unwrap(), "");
        assert_eq!(record.optional_text("d").unwrap(), None);
        assert_eq!(record.optional_texts("b").unwrap(), Some(vec!["y", "z"]));
        assert_eq!(record.optional_number("c").unwrap(), Some(2.0));
        assert_eq!(record.optional_number("none").unwrap(), None);
    }

    #[test]
    fn errors_name_place_field_and_type() {
        let record = record(&json!({"n": 1, "e": " \n", "l": ["x", 3], "b": ["x", ""], "t": "x"}));
        let cases = [
            (record.text("gone").map(drop), "line 7: the field `gone` is missing"),
            (record.text("n").map(drop), "line 7: `n` must be text; it is a number"),
            (record.full_text("e").map(drop), "line 7: `e` is empty"),
            (record.optional_text("e").map(drop), "line 7: `e` is empty"),
            (record.optional_texts("t").map(drop), "line 7: `t` must be a list of texts; it is text"),
            (record.optional_texts("l").map(drop), "line 7: `l[1]` must be text; it is a number"),
            (record.optional_texts("b").map(drop), "line 7: entry 2 of `b` is empty"),
            (record.optional_number("t").map(drop), "line 7: `t` must be a number; it is text"),
        ];
        for (result, expected) in cases {
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_extension_decides_and_unwanted_columns_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.JSONL");
        std::fs::write(&path, "{\"a\": 1, \"x\": 2}\n{\"a\": 3, \"y\": 4, \"x\": 5}\n").unwrap();
        let mut records = Records::open(&path, &["a"]).unwrap();
        let read: Vec<_> = records.by_ref().map(|r| Value::Object(r.unwrap().fields)).collect();
        assert_eq!(read, [json!({"a": 1}), json!({"a": 3})]);
        assert_eq!(records.ignored().iter().collect::<Vec<_>>(), ["x", "y"]);
        let error = Records::open(&dir.path().join("a.csv"), &["a"]).err().unwrap();
        assert!(error.to_string().contains("`.jsonl`, `.json` or `.parquet`"), "{error}");
    }
}
