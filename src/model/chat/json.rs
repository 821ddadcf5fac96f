//! `tojson` as transformers defines it: the text of Python's `json.dumps`, characters as they are, nothing escaped for
//! HTML.

use super::{filters, refused};
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, Value};
use std::fmt::Write;

/// The filter. Its arguments stand in the order of transformers' function.
#[allow(clippy::needless_pass_by_value)] // the signature of a filter
pub(super) fn to_json(value: &Value, placed: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let argument = |place: usize, name| match placed.get(place) {
        Some(value) => Ok(value.clone()),
        None => named.get::<Option<Value>>(name).map(Option::unwrap_or_default),
    };
    let ensure_ascii = argument(0, "ensure_ascii")?.is_true();
    let indent = indentation(&argument(1, "indent")?)?;
    let separators = argument(2, "separators")?;
    let sort_keys = argument(3, "sort_keys")?.is_true();
    named.assert_all_used()?;
    let (item, key) = match two_strings(&separators) {
        Some(pair) => pair,
        None if separators.is_none() || separators.is_undefined() => {
            (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned())
        }
        None => return Err(refused("`separators` of `tojson` must be two strings")),
    };
    let mut writer = Writer { text: String::new(), depth: 0, ensure_ascii, indent, item, key, sort_keys };
    writer.value(value)?;
    Ok(writer.text)
}

fn two_strings(value: &Value) -> Option<(String, String)> {
    let values: Vec<Value> = value.try_iter().ok()?.collect();
    match values.as_slice() {
        [first, second] => Some((first.as_str()?.to_owned(), second.as_str()?.to_owned())),
        _ => None,
    }
}

/// What one level is indented with; none where all is on one line.
fn indentation(indent: &Value) -> Result<Option<String>, Error> {
    match indent.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(None),
        ValueKind::String => Ok(Some(indent.to_string())),
        // Python's `true` is 1, and no less than nothing can be repeated.
        _ => Ok(Some(" ".repeat(usize::try_from(i64::try_from(indent.clone())?).unwrap_or(0)))),
    }
}

struct Writer {
    text: String,
    depth: usize,
    ensure_ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort_keys: bool,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.checked().collect::<Result<_, _>>()?;
                if self.sort_keys {
                    keys.sort();
                }
                self.container('{', '}', &keys, |writer, key| {
                    writer.string(&scalar(key)?);
                    writer.text.push_str(&writer.key.clone());
                    writer.value(&value.get_item(key)?)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.checked().collect::<Result<_, _>>()?;
                self.container('[', ']', &items, Self::value)?;
            }
            _ => self.text.push_str(&scalar(value)?),
        }
        Ok(())
    }

    fn container(
        &mut self,
        open: char,
        close: char,
        items: &[Value],
        mut write: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(open);
        self.depth += 1;
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text.push_str(&self.item);
            }
            self.new_line();
            write(self, item)?;
        }
        self.depth -= 1;
        if !items.is_empty() {
            self.new_line();
        }
        self.text.push(close);
        Ok(())
    }

    fn new_line(&mut self) {
        if let Some(indent) = &self.indent {
            self.text.push('\n');
            self.text.push_str(&indent.repeat(self.depth));
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                '\0'..' ' => self.escape(character),
                '\u{7f}'.. if self.ensure_ascii => self.escape(character),
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }

    fn escape(&mut self, character: char) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(self.text, "\\u{unit:04x}"); // writing to a string does not fail
        }
    }
}

/// A value that is neither text nor a container; a key of any of these kinds is this text in quotes.
fn scalar(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String => Ok(value.to_string()),
        ValueKind::Number if value.is_integer() => Ok(value.to_string()),
        ValueKind::Number => Ok(float(f64::try_from(value.clone())?)),
        ValueKind::Bool => Ok(if value.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        kind => Err(refused(format!("a value of type {kind} cannot be written as JSON"))),
    }
}

/// JSON has no word for these; Python writes them all the same.
fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        filters::float(value)
    }
}
