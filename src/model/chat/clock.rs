//! The moment that a template takes for now.

use super::refused;
use anyhow::{Error, Result, bail};
use chrono::format::{Fixed, Item, Numeric, StrftimeItems};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A fixed moment without a time zone: a date, at midnight, or a date and a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Clock(NaiveDateTime);

impl Clock {
    /// What Python's `strftime` makes of the moment.
    pub(super) fn strftime(self, format: &str) -> Result<String, minijinja::Error> {
        let items: Vec<Item> = StrftimeItems::new(format).map(as_python).collect();
        if items.contains(&Item::Error) {
            return Err(refused(format!("the template asks for the date in a format that is unknown: `{format}`")));
        }
        Ok(self.0.format_with_items(items.iter()).to_string())
    }
}

/// Python prints nothing for the zone of a moment without one, and microseconds, which no clock here has.
fn as_python(item: Item<'_>) -> Item<'_> {
    match item {
        Item::Fixed(
            Fixed::TimezoneName
            | Fixed::TimezoneOffset
            | Fixed::TimezoneOffsetColon
            | Fixed::TimezoneOffsetDoubleColon
            | Fixed::TimezoneOffsetTripleColon
            | Fixed::TimezoneOffsetColonZ
            | Fixed::TimezoneOffsetZ
            | Fixed::RFC2822
            | Fixed::RFC3339,
        ) => Item::Literal(""),
        Item::Numeric(Numeric::Nanosecond, _) => Item::Literal("000000"),
        other => other,
    }
}

impl FromStr for Clock {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Ok(Self(date.and_time(NaiveTime::MIN)));
        }
        match NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S") {
            Ok(moment) => Ok(Self(moment)),
            Err(_) => bail!("`{text}` is no date; write it as `2024-07-06` or `2024-07-06T15:04:05`"),
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.time() == NaiveTime::MIN { self.0.date().fmt(f) } else { write!(f, "{:?}", self.0) }
    }
}

impl TryFrom<String> for Clock {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Clock> for String {
    fn from(clock: Clock) -> Self {
        clock.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(text: &str) -> Clock {
        text.parse().expect("a date")
    }

    #[test]
    fn a_clock_is_written_as_it_is_read() {
        for text in ["2024-07-06", "2024-07-06T15:04:05", "0999-12-31"] {
            assert_eq!(clock(text).to_string(), text);
        }
        for text in ["", "2024-02-30", "06.07.2024", "2024-07-06 15:04", "today"] {
            assert!(text.parse::<Clock>().is_err(), "{text}");
        }
    }

    #[test]
    fn formats_are_those_of_python() {
        let moment = clock("2024-07-06T15:04:05");
        for (format, text) in [
            ("%d %b %Y", "06 Jul 2024"),
            ("%-d %B %y, %e %j", "6 July 24,  6 188"),
            ("%a %A %w %u %U %W %V", "Sat Saturday 6 6 26 27 27"),
            ("%H:%M:%S %I%p %f", "15:04:05 03PM 000000"),
            ("[%Z%z] 100%%", "[] 100%"),
            ("%c|%x|%X", "Sat Jul  6 15:04:05 2024|07/06/24|15:04:05"),
            ("", ""),
        ] {
            assert_eq!(moment.strftime(format).expect("known"), text, "{format}");
        }
        let error = moment.strftime("%d %Q").expect_err("unknown").to_string();
        assert!(error.contains("`%d %Q`"), "{error}");
    }
}
