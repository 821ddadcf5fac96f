//! `SQuAD` v1.1 in the hub's columns `id`, `context`, `question` and `answers`, the last a struct of the lists `text` and
//! `answer_start`; as Parquet.

use super::{TaskType, row};
use crate::store::foreign::{Record, Records, type_name};
use crate::store::rows::TaskRow;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Reads a file; the error names row and field.
pub(super) fn read(path: &Path, dataset: &str, task_type: TaskType) -> Result<Vec<TaskRow>> {
    let mut rows = Vec::new();
    let mut seen = HashMap::new();
    for record in Records::open(path, &["id", "context", "question", "answers"])? {
        let record = record?;
        let id = record.full_text("id")?;
        if let Some(other) = seen.insert(id.to_string(), record.place) {
            bail!("{}: the question `id` `{id}` was already used in {other}", record.place);
        }
        let place = || format!("{}: question `{id}`", record.place);
        let question =
            json!({"question": record.full_text("question")?, "answers": answers(&record).with_context(place)?});
        let mut task = row(&question, id, record.full_text("context")?).with_context(place)?;
        task.dataset = dataset.into();
        task.task_type = task_type.name().into();
        rows.push(task);
    }
    ensure!(!rows.is_empty(), "it holds no question");
    Ok(rows)
}

/// The answers as the official JSON has them: one object each instead of one list per field.
fn answers(record: &Record) -> Result<Vec<Value>> {
    let columns = match record.fields.get("answers") {
        None => bail!("the field `answers` is missing"),
        Some(Value::Object(columns)) => columns,
        Some(other) => bail!("`answers` must be a struct; it is {}", type_name(other)),
    };
    let list = |field: &str| match columns.get(field) {
        None => bail!("the field `answers.{field}` is missing"),
        Some(Value::Array(members)) => Ok(members),
        Some(other) => bail!("`answers.{field}` must be a list; it is {}", type_name(other)),
    };
    let (texts, starts) = (list("text")?, list("answer_start")?);
    ensure!(
        texts.len() == starts.len(),
        "`answers.text` has {} entries, `answers.answer_start` has {}",
        texts.len(),
        starts.len()
    );
    Ok(texts.iter().zip(starts).map(|(text, start)| json!({"text": text, "answer_start": start})).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::foreign::write_for_test;
    use arrow::array::{ArrayRef, Int32Builder, ListBuilder, StringArray, StringBuilder, StructArray, UInt32Array};
    use arrow::datatypes::{DataType, Field};
    use std::sync::Arc;

    const CONTEXT: &str = "Le café 𝄞 opened in 1912.";

    type Answers<'a> = (&'a [&'a str], &'a [i32]);

    fn column(answers: &[Answers]) -> ArrayRef {
        let (mut texts, mut starts) = (ListBuilder::new(StringBuilder::new()), ListBuilder::new(Int32Builder::new()));
        for (text, start) in answers {
            texts.append_value(text.iter().map(|text| Some(*text)));
            starts.append_value(start.iter().map(|start| Some(*start)));
        }
        let (texts, starts): (ArrayRef, ArrayRef) = (Arc::new(texts.finish()), Arc::new(starts.finish()));
        let field = |name: &str, list: &ArrayRef| Arc::new(Field::new(name, list.data_type().clone(), true));
        Arc::new(StructArray::from(vec![
            (field("text", &texts), texts.clone()),
            (field("answer_start", &starts), starts.clone()),
        ]))
    }

    fn text(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn read_columns(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<TaskRow>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("validation.parquet");
        write_for_test(&path, columns);
        super::super::read(&path, "tiny", TaskType::Qa)
    }

    fn refusal(columns: Vec<(&str, ArrayRef)>) -> String {
        let message = format!("{:#}", read_columns(columns).unwrap_err());
        assert!(message.contains("validation.parquet"), "{message}");
        message
    }

    #[test]
    fn the_hubs_columns_give_the_rows_of_the_official_file() {
        let columns = vec![
            ("id", text(&["q1"])),
            ("title", text(&["Café"])),
            ("context", text(&[CONTEXT])),
            ("question", text(&["When?"])),
            ("answers", column(&[(&["in 1912", "1912", "in 1912"], &[17, 20, 17])])),
        ];
        let official = json!({"version": "1.1", "data": [{"title": "Café", "paragraphs": [{"context": CONTEXT, "qas": [{
        "id": "q1", "question": "When?", "answers": [
            {"text": "in 1912", "answer_start": 17},
            {"text": "1912", "answer_start": 20},
            {"text": "in 1912", "answer_start": 17},
        ]}]}]}]});
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev.json");
        std::fs::write(&path, official.to_string()).unwrap();
        let expected = super::super::read(&path, "tiny", TaskType::Qa).unwrap();
        assert_eq!(read_columns(columns).unwrap(), expected);
    }

    #[test]
    fn errors_name_row_question_and_field() {
        let good = || {
            vec![
                ("id", text(&["q1", "q2"])),
                ("context", text(&[CONTEXT, CONTEXT])),
                ("question", text(&["When?", "What?"])),
                ("answers", column(&[(&["1912"], &[20]), (&["Le café"], &[0])])),
            ]
        };
        assert_eq!(read_columns(good()).unwrap().len(), 2);
        let with = |name: &str, values: ArrayRef| {
            let mut columns = good();
            columns.iter_mut().find(|column| column.0 == name).unwrap().1 = values;
            refusal(columns)
        };
        let cases = [
            ("id", text(&["q1", "q1"]), "row 2: the question `id` `q1` was already used in row 1"),
            ("question", text(&["When?", " "]), "row 2: `question` is empty"),
            (
                "answers",
                column(&[(&["1912"], &[20]), (&["café"], &[0])]),
                "row 2: question `q2`: answer 1: `text` is `café`, but at `answer_start` 0 the context has `Le c`",
            ),
            ("answers", column(&[(&["1912"], &[20, 3]), (&["Le"], &[0])]), "1 entries, `answers.answer_start` has 2"),
            ("answers", column(&[(&[], &[]), (&["Le"], &[0])]), "question `q1`: `answers` is an empty list"),
            ("answers", text(&["1912", "Le"]), "`answers` must be a struct; it is text"),
            (
                "answers",
                Arc::new(StructArray::from(vec![(
                    Arc::new(Field::new("start", DataType::UInt32, true)),
                    Arc::new(UInt32Array::from(vec![1, 2])) as ArrayRef,
                )])),
                "question `q1`: the field `answers.text` is missing",
            ),
        ];
        for (name, values, expected) in cases {
            let message = with(name, values);
            assert!(message.contains(expected), "{message} lacks {expected}");
        }
        let message = refusal(good().into_iter().filter(|column| column.0 != "answers").collect());
        assert!(message.contains("row 1: question `q1`: the field `answers` is missing"), "{message}");
        assert!(refusal(vec![("id", text(&[]))]).contains("it holds no question"));
    }
}
