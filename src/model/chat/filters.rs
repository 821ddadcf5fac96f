//! Filters, tests and printing where Jinja in Python says something else.

use super::json;
use super::methods::is_space;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, Value, escape_formatter};

/// Replaces what differs.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", json::to_json);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("trim", trim);
    environment.add_filter("e", escape);
    environment.add_filter("escape", escape);
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined)
    });
    environment.set_formatter(|out, state, value| {
        if value.is_number() && !value.is_integer() {
            return out.write_str(&float(f64::try_from(value.clone())?)).map_err(Error::from);
        }
        escape_formatter(out, state, value)
    });
}

/// The length of what is undefined is zero.
fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() { Ok(0) } else { minijinja::filters::length(value) }
}

fn trim(value: &Value, characters: Option<&str>) -> String {
    let text = value.to_string();
    let goes = |c: char| characters.map_or_else(|| is_space(c), |characters| characters.contains(c));
    text.trim_matches(goes).to_owned()
}

/// Escapes the five characters as Jinja does.
fn escape(value: &Value) -> Value {
    if value.is_safe() {
        return value.clone();
    }
    let text = value.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Value::from_safe_string(text.replace('\'', "&#39;").replace('"', "&#34;"))
}

/// Python's `repr`: the shortest digits, and an exponent of at least two with its sign.
pub(super) fn float(value: f64) -> String {
    let text = format!("{value:?}").to_lowercase();
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}
