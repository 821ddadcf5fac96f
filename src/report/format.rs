//! Numbers as people read them: fixed decimals, intervals as ±, and a dash where there is no value.
//! Called by `layout`; the numbers in the report itself stay unrounded.

use crate::settings::EvaluatorsPerRound;
use crate::statistics::Estimate;

/// What stands where there is no value.
pub(super) const NONE: &str = "–";

/// A number with fixed decimals; zero never carries a sign.
pub(super) fn fixed(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value else { return NONE.into() };
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| c == '0' || c == '.') => digits.into(),
        _ => text,
    }
}

/// `0.623 ± 0.004`; the number alone where there is no interval.
pub(super) fn plus_minus(value: Option<f64>, half_width: Option<f64>, decimals: usize) -> String {
    match (value, half_width) {
        (Some(_), Some(half)) => format!("{} ± {}", fixed(value, decimals), fixed(Some(half), decimals)),
        _ => fixed(value, decimals),
    }
}

/// An estimate as `value ± half-width`.
pub(super) fn estimate(estimate: &Estimate, decimals: usize) -> String {
    plus_minus(estimate.value, estimate.half_width(), decimals)
}

/// `0.60 to 0.71`, for intervals that need not be symmetric.
pub(super) fn interval(estimate: &Estimate, decimals: usize) -> String {
    match (estimate.ci_low, estimate.ci_high) {
        (Some(low), Some(high)) => format!("{} to {}", fixed(Some(low), decimals), fixed(Some(high), decimals)),
        _ => NONE.into(),
    }
}

/// Milliseconds, with decimals for short times only.
pub(super) fn milliseconds(value: Option<f64>) -> String {
    let decimals = match value {
        Some(ms) if ms < 1.0 => 3,
        Some(ms) if ms < 100.0 => 2,
        _ => 1,
    };
    fixed(value, decimals)
}

/// A share as a percentage.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| NONE.into(), |share| format!("{} %", fixed(Some(share * 100.0), 1)))
}

/// A count with a comma every three digits.
pub(crate) fn count(value: impl TryInto<u64>) -> String {
    let Ok(value) = value.try_into() else { return NONE.into() };
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 answer`, `1,200 answers`.
pub(super) fn plural(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// K in words.
pub(super) fn evaluators_per_round(k: EvaluatorsPerRound) -> String {
    match k.bounds() {
        (min, max) if min == max => format!("K = {min}"),
        (min, max) => format!("K uniform on {min} to {max}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(fixed(Some(-0.0004), 3), "0.000");
        assert_eq!(fixed(Some(-0.0006), 3), "-0.001");
        assert_eq!(fixed(None, 3), NONE);
        assert_eq!(plus_minus(Some(0.6234), Some(0.004), 3), "0.623 ± 0.004");
        assert_eq!(plus_minus(Some(0.6234), None, 3), "0.623");
        assert_eq!([0.9321, 5.9, 1077.7].map(|ms| milliseconds(Some(ms))), ["0.932", "5.90", "1077.7"]);
        assert_eq!(percent(Some(0.125)), "12.5 %");
        assert_eq!([0_u64, 999, 1000, 5_000_000].map(count), ["0", "999", "1,000", "5,000,000"]);
        assert_eq!(count(-1_i64), NONE);
        assert_eq!(plural(1, "task"), "1 task");
        assert_eq!(evaluators_per_round(EvaluatorsPerRound::Range { min: 1, max: 3 }), "K uniform on 1 to 3");
    }
}
