//! CNN/DailyMail in the hub's columns `article`, `highlights` and `id`, as JSON lines or Parquet.
//!
//! Articles and highlights are kept letter for letter: the hub's files separate highlights by line breaks.

use super::TaskType;
use crate::store::foreign::Records;
use crate::store::rows::TaskRow;
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use std::path::Path;

/// Reads a file; the error names file, line or row, and field.
pub fn read(path: &Path, dataset: &str, task_type: TaskType) -> Result<Vec<TaskRow>> {
    tasks(path, dataset, task_type).with_context(|| format!("cannot read `{}` as CNN/DailyMail", path.display()))
}

fn tasks(path: &Path, dataset: &str, task_type: TaskType) -> Result<Vec<TaskRow>> {
    let mut rows = Vec::new();
    let mut seen = HashMap::new();
    for record in Records::open(path, &["id", "article", "highlights"])? {
        let record = record?;
        let id = record.full_text("id")?;
        if let Some(other) = seen.insert(id.to_string(), record.place) {
            bail!("{}: the `id` `{id}` was already used in {other}", record.place);
        }
        let article = record.full_text("article")?;
        let highlights = record.full_text("highlights")?;
        rows.push(TaskRow {
            task_id: id.into(),
            dataset: dataset.into(),
            task_type: task_type.name().into(),
            input: article.into(),
            question: None,
            context: Some(article.into()),
            reference: highlights.into(),
            references: vec![highlights.into()],
        });
    }
    ensure!(!rows.is_empty(), "it holds no article");
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::foreign::write_for_test;
    use arrow::array::{ArrayRef, Int64Array, LargeStringArray, StringArray};
    use std::sync::Arc;

    fn read_lines(content: &str) -> Result<Vec<TaskRow>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("news.jsonl");
        std::fs::write(&path, content).unwrap();
        read(&path, "news", TaskType::Summarization)
    }

    #[test]
    fn parquet_and_lines_give_the_same_rows() {
        let lines =
            read_lines("{\"id\": \"1\", \"article\": \"A é\", \"highlights\": \"x\\ny\", \"extra\": 1}\n").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.parquet");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("article", Arc::new(LargeStringArray::from(vec!["A é"]))),
            ("highlights", Arc::new(StringArray::from(vec!["x\ny"]))),
            ("id", Arc::new(StringArray::from(vec!["1"]))),
        ];
        write_for_test(&path, columns);
        let table = read(&path, "news", TaskType::Summarization).unwrap();
        assert_eq!(lines, table);
        let row = &lines[0];
        assert_eq!((row.input.as_str(), row.context.as_deref(), row.question.as_deref()), ("A é", Some("A é"), None));
        assert_eq!((row.reference.as_str(), row.references.as_slice()), ("x\ny", &["x\ny".to_string()][..]));
    }

    #[test]
    fn bad_lines_are_named_by_file_line_and_field() {
        let good = "{\"id\": \"1\", \"article\": \"A\", \"highlights\": \"H\"}\n";
        let cases = [
            ("{\"id\": \"2\", \"highlights\": \"H\"}", "line 2: the field `article` is missing"),
            ("{\"id\": 2, \"article\": \"A\", \"highlights\": \"H\"}", "line 2: `id` must be text; it is a number"),
            ("{\"id\": \"2\", \"article\": null, \"highlights\": \"H\"}", "line 2: `article` must be text; it is null"),
            ("{\"id\": \"2\", \"article\": \"A\", \"highlights\": \" \"}", "line 2: `highlights` is empty"),
            (
                "{\"id\": \"1\", \"article\": \"A\", \"highlights\": \"H\"}",
                "line 2: the `id` `1` was already used in line 1",
            ),
            ("{\"id\": ", "line 2, column"),
        ];
        for (bad, expected) in cases {
            let message = format!("{:#}", read_lines(&format!("{good}{bad}\n")).unwrap_err());
            assert!(message.contains("news.jsonl") && message.contains(expected), "{message} lacks {expected}");
        }
        assert!(format!("{:#}", read_lines("\n").unwrap_err()).contains("it holds no article"));
    }

    #[test]
    fn bad_rows_of_a_table_are_named_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.parquet");
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
        write_for_test(&path, vec![("article", texts.clone()), ("id", texts.clone())]);
        let message = format!("{:#}", read(&path, "news", TaskType::Summarization).unwrap_err());
        assert!(message.contains("test.parquet") && message.contains("row 1: the field `highlights` is missing"));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let holes: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
        write_for_test(&path, vec![("article", holes), ("id", texts.clone()), ("highlights", texts.clone())]);
        let message = format!("{:#}", read(&path, "news", TaskType::Summarization).unwrap_err());
        assert!(message.contains("row 2: `article` must be text; it is null"), "{message}");
        write_for_test(&path, vec![("article", numbers), ("id", texts.clone()), ("highlights", texts)]);
        let message = format!("{:#}", read(&path, "news", TaskType::Summarization).unwrap_err());
        assert!(message.contains("row 1: `article` must be text; it is a number"), "{message}");
    }
}
