//! A judge's reply as a score from 0 to 10 and a justification: first as exactly the JSON that was asked for, then through
//! one bounded repair of nearly that, and otherwise a failure with its reason.
//!
//! No score is guessed, clamped or NaN. Where two objects of a reply hold a score none counts: the judge may have quoted
//! the answer, and an answer must not grade itself.

mod objects;

use objects::{End, Object, objects};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;

/// The best score; the worst is 0.
const HIGHEST: f64 = 10.0;

/// Bytes of a reply that the repair looks at; replies are limited to far fewer tokens.
const LONGEST: usize = 64 * 1024;

/// Brackets open at once from which an object is not parsed: the parser recurses.
const DEEPEST: usize = 32;

/// Most characters of a reply that a message repeats.
const QUOTED: usize = 80;

/// What stands at the end of the string that a reply's end cut off, so that it can be told from the others.
const CUT: char = '\0';

/// What may stand around a key, be it broken JSON.
const QUOTES: &str = "\"'\\\u{201c}\u{201d}";

/// How replies without JSON begin that decline to grade, in lower case: the stock phrases of tuned models.
const REFUSALS: [&str; 14] = [
    "as an ai",
    "i'm sorry",
    "i am sorry",
    "sorry,",
    "i apologi",
    "i cannot",
    "i can't",
    "i can not",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "i won't",
    "i will not",
];

/// What a judge said of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The grade in [0, 10].
    pub score: f64,
    /// Why, in the judge's words; empty where a repaired reply gave no reason, partial where its end was cut off.
    pub justification: String,
    /// Whether the reply was not exactly the JSON that was asked for.
    pub repaired: bool,
}

/// Why a reply is no judgement.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// Nothing but white space.
    Empty,
    /// The judge declined.
    Refusal,
    /// No JSON object.
    NoJson,
    /// An object that cannot be read, with the parser's message.
    Invalid(String),
    /// Objects, but none with a field `score`.
    NoScore,
    /// A score that is no finite number, as it stands.
    NotANumber(String),
    /// A score below 0 or above 10.
    OutOfRange(f64),
    /// So many objects with a score.
    Ambiguous(usize),
}

impl Failure {
    /// Whether the judge declined to grade, so that asking again is of little use.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        *self == Self::Refusal
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the reply is empty"),
            Self::Refusal => write!(f, "the judge declined to grade"),
            Self::NoJson => write!(f, "the reply holds no JSON object"),
            Self::Invalid(message) => write!(f, "the reply's JSON cannot be read: {message}"),
            Self::NoScore => write!(f, "the reply's JSON has no field `score`"),
            Self::NotANumber(found) => write!(f, "the score {found:?} is not a number"),
            // 300 digits help nobody.
            Self::OutOfRange(score) if score.abs() < 1e-3 || score.abs() > 1e9 => {
                write!(f, "the score {score:e} lies outside 0..{HIGHEST}")
            }
            Self::OutOfRange(score) => write!(f, "the score {score} lies outside 0..{HIGHEST}"),
            Self::Ambiguous(objects) => {
                write!(f, "the reply holds {objects} JSON objects with a score, and nothing says which counts")
            }
        }
    }
}

impl std::error::Error for Failure {}

/// The judgement that a reply holds.
pub fn parse(text: &str) -> Result<Judgement, Failure> {
    let text = text.trim();
    // What a reasoning model thinks before it replies is no reply. The first end counts: a thought that quotes one leaves
    // more than one verdict behind, and that is refused.
    if let Some((_, reply)) = text.strip_prefix("<think>").and_then(|thought| thought.split_once("</think>")) {
        return parse(reply).map(|judgement| Judgement { repaired: true, ..judgement });
    }
    // Serde would take the fields from an array, too.
    if text.starts_with('{')
        && let Ok(Asked { score, justification }) = serde_json::from_str(text)
    {
        return Ok(Judgement { score: within_range(score)?, justification, repaired: false });
    }
    if text.contains('{') {
        return repair(text);
    }
    Err(match text.trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace()) {
        "" => Failure::Empty,
        text if is_refusal(text) => Failure::Refusal,
        _ => Failure::NoJson,
    })
}

/// The JSON that was asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    score: f64,
    justification: String,
}

fn is_refusal(text: &str) -> bool {
    let straight = |c| if matches!(c, '\u{2018}' | '\u{2019}' | '\u{02bc}') { '\'' } else { c };
    let opening = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let opening: String = opening.chars().take(20).map(straight).flat_map(char::to_lowercase).collect();
    REFUSALS.iter().any(|phrase| opening.starts_with(phrase))
}

/// The judgement of the one object with a score; what surrounds it, a code fence for one, is passed over. What cannot be
/// read counts, too, where it seems to have a score: the other one may be part of a quoted answer.
fn repair(text: &str) -> Result<Judgement, Failure> {
    let (text, unread) = text.split_at(text.floor_char_boundary(LONGEST));
    if unread.contains(['{', '}']) {
        return Err(Failure::Invalid(format!("it goes on after {LONGEST} bytes")));
    }
    let objects = objects(text);
    let inside: usize = objects.iter().map(|object| keys(object.text, QUOTES)).sum();
    let outside = keys(text, QUOTES).saturating_sub(inside);
    let (mut counting, others): (Vec<_>, Vec<_>) =
        objects.iter().map(|object| (read(object), object.text)).partition(|(fields, text)| match fields {
            Ok(fields) => !matches!(fields.score, Value::Missing),
            Err(_) => keys(text, "") > 0,
        });
    match (counting.pop(), counting.len() + outside) {
        (Some((fields, _)), 0) => fields.map_err(Failure::Invalid)?.judgement(),
        (Some(_), more) => Err(Failure::Ambiguous(1 + more)),
        (None, _) if others.iter().any(|(fields, _)| fields.is_ok()) => Err(Failure::NoScore),
        (None, _) => {
            Err(others.into_iter().find_map(|(fields, _)| fields.err()).map_or(Failure::NoJson, Failure::Invalid))
        }
    }
}

/// How often `score` stands before a colon, as the key of an object would, after one of these quotes if there are any.
fn keys(text: &str, quotes: &str) -> usize {
    let is_key = |before: &str, after: &str| {
        (quotes.is_empty() || before.ends_with(|c| quotes.contains(c)))
            && after.trim_start_matches(|c: char| c.is_whitespace() || QUOTES.contains(c)).starts_with(':')
    };
    text.match_indices("score").filter(|(at, key)| is_key(&text[..*at], &text[at + key.len()..])).count()
}

fn read(object: &Object) -> Result<Fields, String> {
    if object.depth > DEEPEST {
        return Err(format!("it nests deeper than {DEEPEST} levels"));
    }
    match object.end {
        End::Closed => {
            let text = one_line(object.text);
            json5::from_str(&text).map_err(|error| shortened(&error.to_string()))
        }
        End::Quoted(quote) => read_cut(&one_line(object.text), quote).ok_or("it is cut off".to_owned()),
        End::Open => read_unclosed(&one_line(object.text)).ok_or("it is cut off".to_owned()),
    }
}

/// JSON has no line breaks in strings, and models write them. Outside of strings they are spaces, save after a comment.
fn one_line(text: &str) -> Cow<'_, str> {
    let breaks = ['\n', '\r'];
    if text.contains("//") || !text.contains(breaks) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.replace(breaks, " "))
    }
}

/// The fields of an object that lacks nothing but its last brace: it ends with the justification.
fn read_unclosed(text: &str) -> Option<Fields> {
    let fields: Fields = json5::from_str(&format!("{text}}}")).ok()?;
    let ends = text.trim_end().ends_with(['"', '\'']) && matches!(fields.justification, Value::Text(_));
    // A score in quotes at the very end may be the one that was cut off.
    (ends && matches!(fields.score, Value::Number(_))).then_some(fields)
}

/// The fields of an object that was cut off within its justification: the score before it is complete.
fn read_cut(mut text: &str, quote: char) -> Option<Fields> {
    // An escape may be cut, too, and twice: `\uD83D\uDE` is less than a character.
    for _ in 0..3 {
        if let Ok(mut fields) = json5::from_str::<Fields>(&format!("{text}{CUT}{quote}}}")) {
            let Value::Text(justification) = &mut fields.justification else { return None };
            let is_last = justification.pop() == Some(CUT);
            return (is_last && !matches!(fields.score, Value::Missing)).then_some(fields);
        }
        text = &text[..text.rfind('\\').filter(|at| text.len() - at <= r"\uD83D".len())?];
    }
    None
}

/// The fields of an object that matter; it may have others. One that stands there twice is an error.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    score: Value,
    #[serde(default)]
    justification: Value,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Value {
    Number(f64),
    Text(String),
    Other(serde_json::Value),
    #[default]
    #[serde(skip)]
    Missing,
}

impl Fields {
    fn judgement(self) -> Result<Judgement, Failure> {
        let score = within_range(self.score.number()?)?;
        let justification = match self.justification {
            Value::Missing => String::new(),
            Value::Text(text) => text,
            _ => return Err(Failure::Invalid("`justification` is not a string".to_owned())),
        };
        Ok(Judgement { score, justification, repaired: true })
    }
}

impl Value {
    fn number(self) -> Result<f64, Failure> {
        let (number, found) = match self {
            Self::Number(number) => (Some(number), number.to_string()),
            Self::Text(text) => (number_in(&text), text),
            Self::Other(value) => (None, value.to_string()),
            Self::Missing => return Err(Failure::NoScore),
        };
        number.filter(|number| number.is_finite()).ok_or_else(|| Failure::NotANumber(shortened(&found)))
    }
}

/// The number in "7", "7.5", "7/10" and "7 out of 10".
fn number_in(text: &str) -> Option<f64> {
    let (number, highest) = text.split_once('/').or_else(|| text.split_once("out of")).unwrap_or((text, "10"));
    let number = number.trim();
    // Rust's own parser also knows exponents and infinities.
    let plain = number.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+'));
    (plain && highest.trim() == "10").then(|| number.parse().ok())?
}

fn within_range(score: f64) -> Result<f64, Failure> {
    if (0.0..=HIGHEST).contains(&score) {
        // The sum makes a negative zero a plain one.
        Ok(score + 0.0)
    } else {
        Err(Failure::OutOfRange(score))
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
