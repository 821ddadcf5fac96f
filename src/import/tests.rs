//! Imports of small files, sound and broken.

use super::*;
use crate::store::foreign::write_for_test;
use arrow::array::{ArrayRef, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder};
use serde_json::{Value, json};
use std::sync::Arc;

fn import(rows: &[Value]) -> Result<Imported> {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("answers.jsonl");
    let text = rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    std::fs::write(&path, text).expect("write");
    read(&path, Some("qa"))
}

fn row(model: &str, output: &str) -> Value {
    json!({"input": "Who?", "reference": "Ada", "model": model, "output": output})
}

fn with(mut row: Value, field: &str, value: Value) -> Value {
    row[field] = value;
    row
}

fn without(mut row: Value, field: &str) -> Value {
    row.as_object_mut().expect("a row is an object").remove(field);
    row
}

#[test]
fn rows_of_one_task_share_it() {
    let imported = import(&[row("a", " Ada\n"), row("b", "")]).expect("the rows are good");
    assert_eq!(imported.tasks.len(), 1);
    let task = &imported.tasks[0];
    assert_eq!((task.dataset.as_str(), task.task_type.as_str(), task.input.as_str()), ("imported", "qa", "Who?"));
    assert_eq!((task.reference.as_str(), task.references.len()), ("Ada", 1));
    assert_eq!((task.question.as_ref(), task.context.as_ref()), (None, None));
    assert_eq!(task.task_id.len(), 16);
    let [first, second] = &imported.generations[..] else { panic!("two answers") };
    assert_eq!((&first.task_id, first.model.as_str()), (&task.task_id, "a"));
    assert_eq!((first.output_raw.as_deref(), first.output.as_deref()), (Some(" Ada\n"), Some("Ada")));
    assert_eq!((second.output.as_deref(), second.error.as_deref()), (Some(""), None));
    assert_eq!(first.work_key.len(), 32);
    assert_ne!(first.work_key, second.work_key);
    assert!(imported.warnings.is_empty() && imported.latencies.is_empty());
}

#[test]
fn parquet_and_lines_import_alike() {
    let lines = import(&[
        json!({"task_id": 7, "task_type": "summarization", "dataset": "d", "input": "x", "references": ["r", "s", "r"],
            "model": "a", "output": "o", "latency_ms": 12.5}),
        json!({"task_id": 7, "task_type": "summarization", "dataset": "d", "input": "x", "references": ["r", "s"],
            "model": "b", "output": null, "latency_ms": null}),
    ]);
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("answers.parquet");
    let texts = |values: [Option<&str>; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("r"), Some("s"), Some("r")]);
    lists.append_value([Some("r"), Some("s")]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("task_id", Arc::new(Int64Array::from(vec![7, 7]))),
        ("task_type", texts([Some("summarization"); 2])),
        ("dataset", texts([Some("d"); 2])),
        ("input", texts([Some("x"); 2])),
        ("references", Arc::new(lists.finish())),
        ("model", texts([Some("a"), Some("b")])),
        ("output", texts([Some("o"), None])),
        ("latency_ms", Arc::new(Float64Array::from(vec![Some(12.5), None]))),
    ];
    write_for_test(&path, columns);
    let table = read(&path, None).expect("the rows are good");
    assert_eq!(lines.expect("the lines are read"), table);
    assert_eq!(table.tasks[0].task_id, "7");
    assert_eq!(table.tasks[0].references, ["r", "s"]);
    let failed = &table.generations[1];
    assert_eq!((failed.output.as_ref(), failed.output_raw.as_ref()), (None, None));
    assert_eq!(failed.error.as_deref(), Some("the imported `output` is null"));
    assert_eq!(table.latencies, BTreeMap::from([("a".to_string(), 12.5)]));
}

#[test]
fn a_reference_stands_before_further_references() {
    let both = with(row("a", "x"), "references", json!(["Lovelace", "Ada"]));
    assert_eq!(import(&[both]).expect("the rows are good").tasks[0].references, ["Ada", "Lovelace"]);
    let null = with(with(row("a", "x"), "reference", Value::Null), "references", json!(["Lovelace"]));
    assert_eq!(import(&[null]).expect("the rows are good").tasks[0].reference, "Lovelace");
}

#[test]
fn latencies_are_averaged_over_answers_that_have_one() {
    let timed = |model, input: &str, ms: Value| with(with(row(model, "x"), "latency_ms", ms), "input", json!(input));
    let failed = with(timed("a", "3", json!(900)), "output", Value::Null);
    let rows = [timed("a", "1", json!(10)), timed("a", "2", json!(20.0)), failed, timed("b", "1", Value::Null)];
    let imported = import(&rows).expect("the rows are good");
    assert_eq!(imported.latencies, BTreeMap::from([("a".to_string(), 15.0)]));
    assert_eq!(imported.generations[2].latency_ms, Some(900.0));
    assert_eq!(
        imported.warnings,
        [
            "model `b` answers only 1 of 3 tasks",
            "model `b` has a latency on 0 of 1 answers; only these count towards its cost"
        ]
    );
}

#[test]
fn unknown_columns_are_ignored_with_one_warning() {
    let extra = with(with(row("a", "x"), "note", json!([1])), "cost", json!(3));
    let imported = import(&[extra, with(row("b", "x"), "note", json!(1))]).expect("the rows are good");
    assert_eq!(imported.warnings, ["columns that poq does not know were ignored: `cost`, `note`"]);
}

#[test]
fn a_bad_row_is_named_by_file_place_and_field() {
    let bad = || row("b", "x");
    let id = |row: Value| with(row, "task_id", json!("t"));
    let cases = [
        (vec![row("a", "x"), without(bad(), "input")], "line 2: the field `input` is missing"),
        (vec![row("a", "x"), with(bad(), "input", json!(" "))], "line 2: `input` is empty"),
        (vec![row("a", "x"), with(bad(), "input", json!(3))], "line 2: `input` must be text; it is a number"),
        (vec![row("a", "x"), with(bad(), "reference", json!(""))], "line 2: `reference` is empty"),
        (vec![row("a", "x"), without(bad(), "reference")], "line 2: the fields `reference` and `references` are both"),
        (vec![with(without(bad(), "reference"), "references", json!([]))], "line 1: `references` is an empty list"),
        (vec![with(bad(), "references", json!("Ada"))], "line 1: `references` must be a list of texts; it is text"),
        (vec![with(bad(), "references", json!(["x", ""]))], "line 1: entry 2 of `references` is empty"),
        (vec![without(bad(), "model")], "line 1: the field `model` is missing"),
        (vec![with(bad(), "model", Value::Null)], "line 1: `model` must be text; it is null"),
        (vec![without(bad(), "output")], "line 1: the field `output` is missing"),
        (vec![with(bad(), "output", json!(true))], "line 1: `output` must be text; it is a boolean"),
        (vec![with(bad(), "task_id", json!(1.5))], "line 1: `task_id` must be text; it is a number"),
        (
            vec![with(bad(), "task_type", json!("chat"))],
            "line 1: `task_type` must be `qa` or `summarization`; it is `chat`",
        ),
        (vec![with(bad(), "dataset", json!(["d"]))], "line 1: `dataset` must be text; it is a list"),
        (vec![with(bad(), "latency_ms", json!("3"))], "line 1: `latency_ms` must be a number; it is text"),
        (vec![with(bad(), "latency_ms", json!(-3))], "line 1: `latency_ms` must not be negative; it is -3"),
        (vec![with(bad(), "latency_ms", json!(0))], "every `latency_ms` of model `b` is 0"),
        (vec![row("a", "x"), bad(), row("a", "y")], "line 3: model `a` already answered task `"),
        (vec![json!("x")], "line 1 must be an object; it is text"),
        (vec![], "it holds no answer"),
        (
            vec![id(row("a", "x")), bad(), id(with(bad(), "input", json!("Who else?")))],
            "line 3: the `input` of task `t` is not the one in line 1",
        ),
        (
            vec![id(row("a", "x")), id(with(bad(), "references", json!(["Ada", "B"])))],
            "line 2: the `references` of task `t` is not the one in line 1",
        ),
    ];
    for (rows, expected) in cases {
        let message = format!("{:#}", import(&rows).unwrap_err());
        assert!(message.contains("answers.jsonl") && message.contains(expected), "{message} lacks {expected}");
    }
}

#[test]
fn two_answers_to_one_task_name_both_rows() {
    let message = format!("{:#}", import(&[row("a", "x"), row("b", "x"), row("a", "x")]).unwrap_err());
    assert!(message.contains("line 3: model `a`") && message.ends_with("in line 1"), "{message}");
}

#[test]
fn a_column_of_the_wrong_type_is_named_with_its_row() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("answers.parquet");
    let texts = || Arc::new(StringArray::from(vec!["x", "y"])) as ArrayRef;
    let numbers = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    write_for_test(&path, vec![("input", texts()), ("reference", texts()), ("model", numbers), ("output", texts())]);
    let message = format!("{:#}", read(&path, Some("qa")).unwrap_err());
    assert!(message.contains("answers.parquet") && message.contains("row 1: `model` must be text; it is a number"));
}

#[test]
fn the_task_type_must_come_from_somewhere() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("answers.json");
    std::fs::write(&path, json!([row("a", "x")]).to_string()).expect("the rows are good");
    let message = format!("{:#}", read(&path, None).unwrap_err());
    assert!(message.contains("element 1: the field `task_type` is missing"), "{message}");
    assert!(message.contains("--task-type"), "{message}");
    assert!(format!("{:#}", read(&path, Some("chat")).unwrap_err()).contains("it is `chat`"));
    assert_eq!(read(&path, Some("summarization")).expect("the rows are good").tasks[0].task_type, "summarization");
}
