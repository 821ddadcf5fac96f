//! Exact match and token F1 against the accepted answers, by the official `SQuAD` rules: multiset overlap, nothing
//! rounded, the best reference counts, and two texts that normalise to nothing agree.

use super::normalise::normalise;
use std::collections::HashMap;

/// A prediction beside its references, all normalised: once, however many metrics look at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normal {
    prediction: String,
    references: Vec<String>,
}

impl Normal {
    /// Normalises the texts. There is at least one reference: data sets and imports without one are refused.
    #[must_use]
    pub fn new<R: AsRef<str>>(prediction: &str, references: &[R]) -> Self {
        let references = references.iter().map(|reference| normalise(reference.as_ref())).collect();
        Self { prediction: normalise(prediction), references }
    }

    /// 1 if the prediction equals any reference, else 0.
    #[must_use]
    pub fn exact_match(&self) -> f64 {
        f64::from(u8::from(self.references.contains(&self.prediction)))
    }

    /// The best token F1 over the references, in 0..1.
    #[must_use]
    pub fn token_f1(&self) -> f64 {
        self.references.iter().map(|reference| f1_of_normal(&self.prediction, reference)).fold(0.0, f64::max)
    }
}

/// [`Normal::exact_match`] of texts as they are.
#[must_use]
pub fn exact_match<R: AsRef<str>>(prediction: &str, references: &[R]) -> f64 {
    Normal::new(prediction, references).exact_match()
}

/// [`Normal::token_f1`] of texts as they are.
#[must_use]
pub fn token_f1<R: AsRef<str>>(prediction: &str, references: &[R]) -> f64 {
    Normal::new(prediction, references).token_f1()
}

fn f1_of_normal(prediction: &str, reference: &str) -> f64 {
    if prediction.is_empty() || reference.is_empty() {
        return f64::from(u8::from(prediction == reference));
    }
    let mut unmatched: HashMap<&str, usize> = HashMap::new();
    let mut reference_tokens = 0_usize;
    for token in reference.split(' ') {
        *unmatched.entry(token).or_default() += 1;
        reference_tokens += 1;
    }
    let (mut prediction_tokens, mut same) = (0_usize, 0_usize);
    for token in prediction.split(' ') {
        prediction_tokens += 1;
        if let Some(left) = unmatched.get_mut(token).filter(|left| **left > 0) {
            *left -= 1;
            same += 1;
        }
    }
    if same == 0 {
        return 0.0;
    }
    let precision = same as f64 / prediction_tokens as f64;
    let recall = same as f64 / reference_tokens as f64;
    2.0 * precision * recall / (precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn repeats_count_as_often_as_both_sides_have_them() {
        // Two of three tokens match twice: precision 2/3, recall 2/2.
        assert!(close(token_f1("cat cat dog", &["cat cat"]), 0.8));
        assert!(close(token_f1("cat", &["cat cat cat"]), 0.5));
    }

    #[test]
    fn the_best_reference_counts() {
        assert!(close(token_f1("in 1912", &["the year 1912", "1912"]), 2.0 / 3.0));
        assert!(close(exact_match("The 1912!", &["in 1912", "1912"]), 1.0));
        assert!(close(exact_match("1913", &["in 1912", "1912"]), 0.0));
    }

    #[test]
    fn nothing_agrees_with_nothing_only() {
        assert!(close(token_f1("the", &["a"]), 1.0) && close(exact_match("the", &["a"]), 1.0));
        assert!(close(token_f1("", &["x"]), 0.0) && close(token_f1("x", &["the"]), 0.0));
        assert!(close(token_f1("x", &["y"]), 0.0));
    }

    /// Cases recorded from the official Python code by `export/record_squad_f1.py`.
    #[test]
    fn every_recorded_case_of_the_reference_is_met() {
        #[derive(serde::Deserialize)]
        struct Case {
            prediction: String,
            references: Vec<String>,
            exact_match: f64,
            f1: f64,
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected/squad_f1.json");
        let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert!(cases.len() >= 100, "{} cases", cases.len());
        for Case { prediction, references, exact_match: expected, f1 } in cases {
            let found = exact_match(&prediction, &references);
            assert!(close(found, expected), "exact match of {prediction:?}, {references:?}: {found}, not {expected}");
            let found = token_f1(&prediction, &references);
            assert!(close(found, f1), "F1 of {prediction:?}, {references:?}: {found}, not {f1}");
        }
    }

    proptest! {
        #[test]
        fn f1_is_a_bounded_symmetric_agreement(a in "[abc the.]{0,12}", b in "[abc the.]{0,12}") {
            let f1 = token_f1(&a, &[&b]);
            prop_assert!((0.0..=1.0).contains(&f1));
            prop_assert!(close(f1, token_f1(&b, &[&a])));
            prop_assert!(close(token_f1(&a, &[&a]), 1.0));
            prop_assert!(exact_match(&a, &[&b]) <= f1);
        }
    }
}
