//! `SQuAD` v1.1 in its official JSON: articles of paragraphs of questions, each with the spans that answer it. `table` reads
//! it in the hub's columns.
//!
//! Every answer is kept and every span is checked against its passage, for a wrong offset means a damaged file. The
//! file is walked as plain JSON so that an error can name article, question and field, not only a byte position.

mod table;

use super::TaskType;
use crate::store::foreign::type_name;
use crate::store::rows::TaskRow;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Reads a file, as Parquet if its name ends so; the error names file, article title or row, question id and field.
pub fn read(path: &Path, dataset: &str, task_type: TaskType) -> Result<Vec<TaskRow>> {
    let as_squad = || format!("cannot read `{}` as SQuAD v1.1", path.display());
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
        return table::read(path, dataset, task_type).with_context(as_squad);
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    parse(&bytes, dataset, task_type).with_context(as_squad)
}

fn parse(bytes: &[u8], dataset: &str, task_type: TaskType) -> Result<Vec<TaskRow>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    ensure!(!bytes.trim_ascii().is_empty(), "the file is empty");
    let document: Value = serde_json::from_slice(bytes).context("it is not JSON")?;
    let mut rows = Vec::new();
    let mut seen: HashMap<String, String> = HashMap::new();
    for (i, article) in list(&document, "data")?.iter().enumerate() {
        let title = article.get("title").and_then(Value::as_str).map_or_else(|| format!("#{}", i + 1), str::to_string);
        let before = rows.len();
        article_rows(article, &mut rows).with_context(|| format!("article `{title}`"))?;
        for row in &mut rows[before..] {
            row.dataset = dataset.into();
            row.task_type = task_type.name().into();
            if let Some(other) = seen.insert(row.task_id.clone(), title.clone()) {
                bail!("article `{title}`: the question `id` `{}` was already used in article `{other}`", row.task_id);
            }
        }
    }
    ensure!(!rows.is_empty(), "it holds no question");
    Ok(rows)
}

fn article_rows(article: &Value, rows: &mut Vec<TaskRow>) -> Result<()> {
    for (i, paragraph) in list(article, "paragraphs")?.iter().enumerate() {
        let place = || format!("paragraph {}", i + 1);
        let context = text(paragraph, "context").with_context(place)?;
        for (j, question) in list(paragraph, "qas").with_context(place)?.iter().enumerate() {
            let id = text(question, "id").with_context(|| format!("{}, question {}", place(), j + 1))?;
            rows.push(row(question, id, context).with_context(|| format!("question `{id}`"))?);
        }
    }
    Ok(())
}

fn row(question: &Value, id: &str, context: &str) -> Result<TaskRow> {
    let asked = text(question, "question")?;
    let answers = list(question, "answers")?;
    ensure!(!answers.is_empty(), "`answers` is an empty list; unanswerable questions are SQuAD 2.0, which is not read");
    let mut references: Vec<String> = Vec::with_capacity(answers.len());
    for (i, answer) in answers.iter().enumerate() {
        let reference = checked_answer(answer, context).with_context(|| format!("answer {}", i + 1))?;
        if !references.iter().any(|known| known == reference) {
            references.push(reference.into());
        }
    }
    Ok(TaskRow {
        task_id: id.into(),
        dataset: String::new(),
        task_type: String::new(),
        input: format!("{asked}\n\n{context}"),
        question: Some(asked.into()),
        context: Some(context.into()),
        reference: references[0].clone(),
        references,
    })
}

/// The answer's text, which stands in the context at `answer_start`, counted in Unicode code points.
fn checked_answer<'a>(answer: &'a Value, context: &str) -> Result<&'a str> {
    let text = text(answer, "text")?;
    let start = match answer.get("answer_start") {
        None => bail!("the field `answer_start` is missing"),
        Some(value) => value
            .as_u64()
            .and_then(|start| usize::try_from(start).ok())
            .with_context(|| format!("`answer_start` must be a whole number of at least 0; it is `{value}`"))?,
    };
    let rest = context.char_indices().nth(start).map_or("", |(byte, _)| &context[byte..]);
    if !rest.starts_with(text) {
        let found: String = rest.chars().take(text.chars().count()).collect();
        bail!("`text` is `{text}`, but at `answer_start` {start} the context has `{found}`");
    }
    Ok(text)
}

fn list<'a>(parent: &'a Value, field: &str) -> Result<&'a [Value]> {
    match parent.get(field) {
        None => bail!("the field `{field}` is missing"),
        Some(Value::Array(members)) => Ok(members),
        Some(other) => bail!("`{field}` must be a list; it is {}", type_name(other)),
    }
}

fn text<'a>(parent: &'a Value, field: &str) -> Result<&'a str> {
    match parent.get(field) {
        None => bail!("the field `{field}` is missing"),
        Some(Value::String(text)) if text.trim().is_empty() => bail!("`{field}` is empty"),
        Some(Value::String(text)) => Ok(text),
        Some(other) => bail!("`{field}` must be text; it is {}", type_name(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({"version": "1.1", "data": [{"title": "Café", "paragraphs": [{
            "context": "Le café 𝄞 opened in 1912.",
            "qas": [{"id": "q1", "question": "When?", "answers": [
                {"text": "in 1912", "answer_start": 17},
                {"text": "1912", "answer_start": 20},
                {"text": "in 1912", "answer_start": 17},
            ]}],
        }]}]})
    }

    fn read_value(document: &Value) -> Result<Vec<TaskRow>> {
        read_bytes(document.to_string().as_bytes())
    }

    fn read_bytes(bytes: &[u8]) -> Result<Vec<TaskRow>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny.json");
        std::fs::write(&path, bytes).unwrap();
        read(&path, "tiny", TaskType::Qa)
    }

    #[test]
    fn a_question_becomes_a_row_with_every_distinct_answer() {
        let context = "Le café 𝄞 opened in 1912.";
        let expected = TaskRow {
            task_id: "q1".into(),
            dataset: "tiny".into(),
            task_type: "qa".into(),
            input: format!("When?\n\n{context}"),
            question: Some("When?".into()),
            context: Some(context.into()),
            reference: "in 1912".into(),
            references: vec!["in 1912".into(), "1912".into()],
        };
        assert_eq!(read_value(&document()).unwrap(), [expected]);
    }

    /// Puts `value` at a JSON pointer (null removes the field) and returns the error.
    fn refusal(pointer: &str, value: Value) -> String {
        let mut document = document();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        match (parent, value) {
            (Value::Object(fields), Value::Null) => drop(fields.remove(field)),
            (Value::Object(fields), value) => drop(fields.insert(field.into(), value)),
            (Value::Array(members), value) => members[field.parse::<usize>().unwrap()] = value,
            _ => panic!("no such place"),
        }
        let message = format!("{:#}", read_value(&document).unwrap_err());
        assert!(message.contains("tiny.json"), "{message}");
        message
    }

    #[test]
    fn errors_name_article_question_and_field() {
        const Q: &str = "/data/0/paragraphs/0/qas/0";
        let at_question = [
            ("answers", Value::Null, "the field `answers` is missing"),
            ("answers", json!([]), "`answers` is an empty list"),
            ("answers", json!("x"), "`answers` must be a list; it is text"),
            ("question", json!(" "), "`question` is empty"),
            ("question", Value::Null, "the field `question` is missing"),
            ("answers/1/text", json!(""), "answer 2: `text` is empty"),
            ("answers/1/text", json!(1912), "answer 2: `text` must be text; it is a number"),
            ("answers/1/answer_start", Value::Null, "answer 2: the field `answer_start` is missing"),
            ("answers/1/answer_start", json!(-1), "answer 2: `answer_start` must be a whole number"),
            (
                "answers/1/answer_start",
                json!(21),
                "answer 2: `text` is `1912`, but at `answer_start` 21 the context has `912.`",
            ),
            (
                "answers/1/answer_start",
                json!(999),
                "answer 2: `text` is `1912`, but at `answer_start` 999 the context has ``",
            ),
        ];
        for (field, value, expected) in at_question {
            let message = refusal(&format!("{Q}/{field}"), value);
            let full = format!("article `Café`: question `q1`: {expected}");
            assert!(message.contains(&full), "{message} lacks {full}");
        }
        let message = refusal(&format!("{Q}/id"), json!(7));
        assert!(message.contains("article `Café`: paragraph 1, question 1: `id` must be text"), "{message}");
        let message = refusal("/data/0/paragraphs/0/context", Value::Null);
        assert!(message.contains("article `Café`: paragraph 1: the field `context` is missing"), "{message}");
        let message = refusal("/data/0/paragraphs", Value::Null);
        assert!(message.contains("article `Café`: the field `paragraphs` is missing"), "{message}");
        assert!(refusal("/data", Value::Null).contains("the field `data` is missing"));
        assert!(refusal("/data", json!([])).contains("it holds no question"));
    }

    #[test]
    fn an_id_used_twice_names_both_articles() {
        let mut document = document();
        let mut copy = document["data"][0].clone();
        copy["title"] = json!("Bar");
        document["data"].as_array_mut().unwrap().push(copy);
        let message = format!("{:#}", read_value(&document).unwrap_err());
        assert!(
            message.contains("article `Bar`: the question `id` `q1` was already used in article `Café`"),
            "{message}"
        );
    }

    #[test]
    fn files_that_are_not_json_are_refused() {
        let refusal = |bytes: &[u8]| format!("{:#}", read_bytes(bytes).unwrap_err());
        assert!(refusal(b" \n").contains("the file is empty"));
        let message = refusal(b"{\"data\":\n [}");
        assert!(message.contains("tiny.json") && message.contains("line 2 column 3"), "{message}");
        assert!(refusal(b"[]").contains("the field `data` is missing"));
        let error = read(Path::new("/no/such.json"), "tiny", TaskType::Qa).unwrap_err();
        assert!(error.to_string().contains("/no/such.json"), "{error}");
    }
}
