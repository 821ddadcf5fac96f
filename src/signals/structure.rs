//! The dimension `structure`: what the form of an answer says without reading it. Rules on text alone, ours throughout; the
//! paper names "format correctness, repetition and degeneration checks" and no rule was found.

use std::cmp::Ordering;
use std::collections::HashSet;

/// Words of the n-grams whose repetition is counted.
const NGRAM: usize = 3;

/// Characters from which a run of one and the same counts as degenerate: longer than ellipses and the zeros of a number.
const RUN: usize = 8;

/// Fewest and most words that are a reasonable answer to a question, and a reasonable summary.
const QA_WORDS: (usize, usize) = (1, 40);
const SUMMARIZATION_WORDS: (usize, usize) = (10, 150);

/// How well-formed an answer is, in [0, 1]: 0 without a word, else the mean of the checks that apply, each in [0, 1]:
///
/// - finished: 1 for `stop`, 0 for `length` (cut at the limit on new tokens); left out where `finish_reason` is unknown;
/// - no repetition: 1 - [`repeated_ngram_share`];
/// - no degenerate run: 1 - [`run_share`];
/// - length: [`length_fit`]; left out for a task type without bounds.
#[must_use]
pub fn structure(output: &str, finish_reason: Option<&str>, task_type: &str) -> f64 {
    let words: Vec<String> = output.split_whitespace().map(str::to_lowercase).collect();
    if words.is_empty() {
        return 0.0;
    }
    let finished = match finish_reason {
        Some("stop") => Some(1.0),
        Some("length") => Some(0.0),
        _ => None,
    };
    let checks = [
        finished,
        Some(1.0 - repeated_ngram_share(&words)),
        Some(1.0 - run_share(output)),
        length_fit(words.len(), task_type),
    ];
    let applied: Vec<f64> = checks.into_iter().flatten().collect();
    applied.iter().sum::<f64>() / applied.len() as f64
}

/// Share of n-grams of three words that have occurred before in the text, in [0, 1): 1 - distinct / all, which is seq-rep-n
/// of Welleck et al. (arXiv 1908.04319). 0 for fewer than three words.
#[must_use]
pub fn repeated_ngram_share(words: &[String]) -> f64 {
    let distinct: HashSet<&[String]> = words.windows(NGRAM).collect();
    match words.windows(NGRAM).len() {
        0 => 0.0,
        all => 1.0 - distinct.len() as f64 / all as f64,
    }
}

/// Share of the characters, white space aside, that stand in a run of at least eight times the same, in [0, 1].
#[must_use]
pub fn run_share(text: &str) -> f64 {
    let (mut all, mut in_runs, mut length) = (0_usize, 0_usize, 0_usize);
    let mut previous = None;
    for character in text.chars().filter(|c| !c.is_whitespace()) {
        length = if previous == Some(character) { length + 1 } else { 1 };
        in_runs += match length.cmp(&RUN) {
            Ordering::Less => 0,
            // Those before it turn out to have been in a run, too.
            Ordering::Equal => RUN,
            Ordering::Greater => 1,
        };
        all += 1;
        previous = Some(character);
    }
    in_runs as f64 / all.max(1) as f64
}

/// How near the number of words is to what is reasonable for the task type, in [0, 1]: 1 between the bounds, `words / fewest`
/// below and `most / words` above them. Null for a task type without bounds.
#[must_use]
pub fn length_fit(words: usize, task_type: &str) -> Option<f64> {
    let (fewest, most) = match task_type {
        "qa" => QA_WORDS,
        "summarization" => SUMMARIZATION_WORDS,
        _ => return None,
    };
    let words = words.max(1) as f64;
    Some((words / fewest as f64).min(most as f64 / words).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn a_sound_answer_is_whole_and_an_empty_one_nothing() {
        close(structure("in 1912", Some("stop"), "qa"), 1.0);
        close(structure(" \n", Some("stop"), "qa"), 0.0);
        close(structure("", None, "qa"), 0.0);
    }

    #[test]
    fn each_check_weighs_the_same_and_one_that_does_not_apply_weighs_nothing() {
        close(structure("in 1912", Some("length"), "qa"), 0.75);
        close(structure("in 1912", None, "qa"), 1.0);
        // Two words of ten.
        close(structure("Council met.", None, "summarization"), (1.0 + 1.0 + 0.2) / 3.0);
        close(structure("in 1912", Some("stop"), "translation"), 1.0);
    }

    #[test]
    fn repetition_is_the_share_of_trigrams_seen_before() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        close(repeated_ngram_share(&words("no no")), 0.0);
        close(repeated_ngram_share(&words("a b c d")), 0.0);
        // Five trigrams: abc bca cab abc bca.
        close(repeated_ngram_share(&words("a b c a b c a")), 0.4);
        close(repeated_ngram_share(&words("x x x x x x")), 0.75);
    }

    #[test]
    fn runs_of_one_character_are_degenerate_from_the_eighth() {
        close(run_share("wait... 10000000"), 0.0);
        close(run_share("aaaaaaaa"), 1.0);
        close(run_share("!!!! !!!! ab"), 0.8);
        close(run_share(""), 0.0);
    }

    #[test]
    fn length_falls_off_on_both_sides() {
        let fit = |words, task_type| length_fit(words, task_type).expect("has bounds");
        close(fit(1, "qa"), 1.0);
        close(fit(80, "qa"), 0.5);
        close(fit(5, "summarization"), 0.5);
        close(fit(600, "summarization"), 0.25);
        assert_eq!(length_fit(5, "translation"), None);
    }

    proptest! {
        #[test]
        fn any_text_lies_in_the_unit_interval(
            text in "\\PC*|(a|b| |\n){0,60}",
            finish in prop::option::of("stop|length|error"),
            task_type in "qa|summarization|other",
        ) {
            let found = structure(&text, finish.as_deref(), &task_type);
            prop_assert!((0.0..=1.0).contains(&found), "{}", found);
        }
    }
}
