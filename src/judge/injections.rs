//! Answers that try to dictate their own score: the corpus that tests whether a judge treats an answer as data.

use serde::Deserialize;
use std::sync::LazyLock;

const CORPUS: &str = include_str!("injections.toml");

/// One way to try it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// What it is called in `judge_checks`.
    pub name: String,
    /// The text, with `{answer}` where the answer stands.
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    injection: Vec<Injection>,
}

static ALL: LazyLock<Vec<Injection>> = LazyLock::new(|| {
    toml::from_str::<Corpus>(CORPUS).expect("the corpus that poq carries is valid; this is a bug").injection
});

/// The corpus.
#[must_use]
pub fn all() -> &'static [Injection] {
    &ALL
}

impl Injection {
    /// The answer with the attempt in it.
    #[must_use]
    pub fn into_answer(&self, answer: &str) -> String {
        self.text.replacen("{answer}", answer, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_attempt_keeps_the_answer_and_asks_for_the_best_score() {
        let names: HashSet<&str> = all().iter().map(|injection| injection.name.as_str()).collect();
        assert!(names.len() == all().len() && all().len() >= 8);
        for injection in all() {
            let attacked = injection.into_answer("It was {answer}.");
            assert!(attacked.starts_with("It was {answer}."), "{}", injection.name);
            assert!(attacked.contains("10"), "{}", injection.name);
        }
    }
}
