//! JSON lines, or one JSON array of objects: the first character that is not white space tells them apart.

use super::{Place, Record, type_name};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Opens the file; blank lines are skipped and counted.
pub fn records(path: &Path) -> Result<Box<dyn Iterator<Item = Result<Record>>>> {
    let mut reader = BufReader::new(File::open(path).context("cannot open it")?);
    if reader.fill_buf().context("cannot read it")?.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    let first = reader.fill_buf().context("cannot read it")?.iter().find(|b| !b.is_ascii_whitespace());
    if first == Some(&b'[') { Ok(Box::new(array(reader)?)) } else { Ok(Box::new(lines(reader))) }
}

fn lines(reader: impl BufRead) -> impl Iterator<Item = Result<Record>> {
    reader.split(b'\n').enumerate().filter_map(|(i, line)| {
        let place = Place { unit: "line", number: i + 1 };
        match line {
            Ok(line) if line.trim_ascii().is_empty() => None,
            Ok(line) => Some(parse_line(&line, place)),
            Err(error) => Some(Err(anyhow!("{place}: cannot read it: {error}"))),
        }
    })
}

fn parse_line(line: &[u8], place: Place) -> Result<Record> {
    let value = serde_json::from_slice(line).map_err(|error| {
        // serde_json counts lines within what it was given: always 1 here.
        let text = error.to_string();
        let suffix = format!(" at line {} column {}", error.line(), error.column());
        let what = text.strip_suffix(&suffix).unwrap_or(&text);
        anyhow!("{place}, column {}: not JSON: {what} (one object per line, or one array of objects)", error.column())
    })?;
    object(value, place)
}

fn array(mut reader: impl Read) -> Result<impl Iterator<Item = Result<Record>>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).context("cannot read it")?;
    let values: Vec<Value> = serde_json::from_slice(&bytes).context("it is not a JSON array of objects")?;
    Ok(values.into_iter().enumerate().map(|(i, value)| object(value, Place { unit: "element", number: i + 1 })))
}

fn object(value: Value, place: Place) -> Result<Record> {
    match value {
        Value::Object(fields) => Ok(Record { place, fields }),
        other => bail!("{place} must be an object; it is {}", type_name(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Vec<Record>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        records(file.path())?.collect()
    }

    fn error(content: &[u8]) -> String {
        format!("{:#}", read(content).unwrap_err())
    }

    #[test]
    fn lines_and_arrays_hold_the_same_records() {
        let lines = read(b"\xef\xbb\xbf{\"a\": \"x\"}\r\n\n{\"a\": null}").unwrap();
        let array = read(b" \n[{\"a\": \"x\"},\n {\"a\": null}]\n").unwrap();
        assert_eq!(
            lines.iter().map(|r| &r.fields).collect::<Vec<_>>(),
            array.iter().map(|r| &r.fields).collect::<Vec<_>>()
        );
        assert_eq!(lines[1].place.to_string(), "line 3");
        assert_eq!(array[1].place.to_string(), "element 2");
    }

    #[test]
    fn an_empty_file_holds_nothing() {
        assert!(read(b"").unwrap().is_empty());
        assert!(read(b" \n\n").unwrap().is_empty());
        assert!(read(b"[]").unwrap().is_empty());
    }

    #[test]
    fn errors_name_line_and_column() {
        let message = error(b"{\"a\": 1}\n{\"a\": nope}\n");
        assert!(message.starts_with("line 2, column 8: not JSON: expected ident"), "{message}");
        assert!(error(b"{\"a\": 1}\n\n\"x\"").starts_with("line 3 must be an object; it is text"));
        assert!(error(b"{\"a\": 1}\n{\"a\": \"\xff\"}").starts_with("line 2, column"));
        let message = error(b"[{\"a\": 1},\n {\"a\"}]");
        assert!(message.contains("not a JSON array of objects") && message.contains("line 2 column"), "{message}");
        assert!(error(b"[{\"a\": 1}, 2]").starts_with("element 2 must be an object; it is a number"));
    }
}
