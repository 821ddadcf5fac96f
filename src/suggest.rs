//! "Did you mean": the nearest of the names that there are.

/// The known name nearest to a wrong one, if one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= 1 + name.len().max(candidate.len()) / 4)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// A hint for a message of serde's: it quotes the wrong name first and, after "expected", those that would do.
#[must_use]
pub fn hint(message: &str) -> Option<String> {
    let start = message.find("unknown variant `").or_else(|| message.find("unknown field `"))?;
    let mut quoted = message[start..].split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    nearest(wrong, known).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let rules = ["mean", "median", "trimmed_mean", "huber"];
        assert_eq!(nearest("medain", rules), Some("median"));
        assert_eq!(nearest("trimed_mean", rules), Some("trimmed_mean"));
        assert_eq!(nearest("krum", rules), None);
    }

    #[test]
    fn serde_messages_give_their_own_candidates() {
        let error = toml::from_str::<crate::settings::Simulation>("consensus.rule = \"medain\"").expect_err("unknown");
        assert_eq!(hint(&error.to_string()).as_deref(), Some("did you mean `median`?"));
        let error = toml::from_str::<crate::settings::Simulation>("ronds = 3").expect_err("unknown");
        assert_eq!(hint(&error.to_string()).as_deref(), Some("did you mean `rounds`?"));
        assert_eq!(hint("expected a number"), None);
    }
}
