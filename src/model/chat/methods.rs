//! Python's methods of strings and lists that templates call.

use super::refused;
use minijinja::value::{Kwargs, Tuple, from_args};
use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat;

/// Answers a call: with a method of this file where there is one, else with the common ones.
pub(super) fn call(state: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let own = match value.as_str() {
        Some(text) => of_string(text, method, arguments)?,
        None if method == "index" => of_list(value, arguments)?,
        None => None,
    };
    match own {
        Some(value) => Ok(value),
        None => pycompat::unknown_method_callback(state, value, method, arguments),
    }
}

fn of_string(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "strip" => strip(text, arguments, true, true)?,
        "lstrip" => strip(text, arguments, true, false)?,
        "rstrip" => strip(text, arguments, false, true)?,
        "isspace" => Value::from(!text.is_empty() && text.chars().all(is_space)),
        "split" => split(text, arguments, false)?,
        "rsplit" => split(text, arguments, true)?,
        "splitlines" => split_lines(text, arguments)?,
        "partition" => {
            let separator = separator(arguments)?;
            three(text.split_once(separator).map_or([text, "", ""], |(head, tail)| [head, separator, tail]))
        }
        "rpartition" => {
            let separator = separator(arguments)?;
            three(text.rsplit_once(separator).map_or(["", "", text], |(head, tail)| [head, separator, tail]))
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "index" => {
            let (part,): (&str,) = from_args(arguments)?;
            let place = text.find(part).ok_or_else(|| refused("substring not found"))?;
            Value::from(text[..place].chars().count())
        }
        "title" => {
            let () = from_args(arguments)?;
            Value::from(title(text))
        }
        "swapcase" => {
            let () = from_args(arguments)?;
            Value::from(text.chars().map(swap_case).collect::<String>())
        }
        "zfill" => {
            let (width,): (usize,) = from_args(arguments)?;
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['+', '-'])));
            Value::from(format!("{sign}{}{digits}", "0".repeat(missing(text, width))))
        }
        "ljust" => pad(text, arguments, |_, _| 0)?,
        "rjust" => pad(text, arguments, |missing, _| missing)?,
        // An odd place goes to the left where the width is odd.
        "center" => pad(text, arguments, |missing, width| missing / 2 + (missing & width & 1))?,
        _ => return Ok(None),
    }))
}

fn of_list(list: &Value, arguments: &[Value]) -> Result<Option<Value>, Error> {
    if list.kind() != minijinja::value::ValueKind::Seq {
        return Ok(None);
    }
    let (wanted,): (&Value,) = from_args(arguments)?;
    let place = list.try_iter()?.position(|item| item == *wanted);
    place.map(|place| Some(Value::from(place))).ok_or_else(|| refused(format!("{wanted:?} is not in list")))
}

/// White space to Python: Unicode's, and the separators of ASCII.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

fn strip(text: &str, arguments: &[Value], left: bool, right: bool) -> Result<Value, Error> {
    let (characters,): (Option<&str>,) = from_args(arguments)?;
    let goes = |c: char| characters.map_or_else(|| is_space(c), |characters| characters.contains(c));
    let text = if left { text.trim_start_matches(goes) } else { text };
    Ok(Value::from(if right { text.trim_end_matches(goes) } else { text }))
}

/// `split` and, from the right, `rsplit`: at a separator, or at runs of white space without empty parts.
fn split(text: &str, arguments: &[Value], from_right: bool) -> Result<Value, Error> {
    let (separator, limit, named): (Option<&str>, Option<i64>, Kwargs) = from_args(arguments)?;
    let separator = separator.or(named.get("sep")?);
    let limit = limit.or(named.get("maxsplit")?).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    named.assert_all_used()?;
    if separator == Some("") {
        return Err(refused("empty separator"));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while parts.len() < limit {
        let cut = match (separator, from_right) {
            (Some(separator), false) => rest.split_once(separator),
            (Some(separator), true) => rest.rsplit_once(separator).map(|(rest, part)| (part, rest)),
            (None, false) => rest.trim_start_matches(is_space).split_once(is_space),
            (None, true) => rest.trim_end_matches(is_space).rsplit_once(is_space).map(|(rest, part)| (part, rest)),
        };
        let Some((part, left)) = cut else { break };
        parts.push(part);
        rest = left;
    }
    if separator.is_none() {
        // Once the limit is reached, the far end keeps its white space.
        let reached = parts.len() == limit;
        rest = if from_right || !reached { rest.trim_end_matches(is_space) } else { rest };
        rest = if !from_right || !reached { rest.trim_start_matches(is_space) } else { rest };
    }
    if separator.is_some() || !rest.is_empty() {
        parts.push(rest);
    }
    if from_right {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Lines end where Python ends them; `\r\n` is one end.
fn split_lines(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (keep, named): (Option<bool>, Kwargs) = from_args(arguments)?;
    let keep = keep.or(named.get("keepends")?).unwrap_or(false);
    named.assert_all_used()?;
    let ends_line = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(ends_line) {
        let end = start + rest[start..].chars().next().map_or(0, char::len_utf8);
        let end = if rest[start..].starts_with("\r\n") { start + 2 } else { end };
        lines.push(Value::from(&rest[..if keep { end } else { start }]));
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(Value::from(rest));
    }
    Ok(Value::from(lines))
}

fn separator(arguments: &[Value]) -> Result<&str, Error> {
    match from_args(arguments)? {
        ("",) => Err(refused("empty separator")),
        (separator,) => Ok(separator),
    }
}

fn three(parts: [&str; 3]) -> Value {
    Value::from(Tuple::from(parts.map(Value::from)))
}

/// Upper case after anything that has no case, lower case after the rest.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        if inside {
            titled.extend(character.to_lowercase());
        } else {
            let mut upper = character.to_uppercase();
            titled.extend(upper.next());
            titled.extend(upper.flat_map(char::to_lowercase)); // `ß` becomes `Ss`
        }
        inside = character.is_lowercase() || character.is_uppercase();
    }
    titled
}

fn swap_case(character: char) -> String {
    if character.is_uppercase() { character.to_lowercase().collect() } else { character.to_uppercase().collect() }
}

fn missing(text: &str, width: usize) -> usize {
    width.saturating_sub(text.chars().count())
}

fn pad(text: &str, arguments: &[Value], left: impl Fn(usize, usize) -> usize) -> Result<Value, Error> {
    let (width, fill): (usize, Option<&str>) = from_args(arguments)?;
    let fill = fill.unwrap_or(" ");
    let missing = missing(text, width);
    let left = left(missing, width);
    Ok(Value::from(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left))))
}
