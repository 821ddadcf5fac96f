//! A key that is sent and never shown.

use anyhow::{Context, Result};
use reqwest::header::HeaderValue;

/// Bytes of the shortest key that is one.
const SHORTEST: usize = 12;

/// A key from the environment. Its `Debug` form holds nothing of it.
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads an environment variable; none where it is not set or blank.
    #[must_use]
    pub fn from_env(variable: &str) -> Option<Self> {
        let value = std::env::var(variable).ok()?;
        let value = value.trim();
        (!value.is_empty()).then(|| Self(value.to_owned()))
    }

    /// The value of an `Authorization` header, marked so that nothing logs it.
    pub fn bearer(&self) -> Result<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .ok()
            .context("the key holds characters that no HTTP header may hold")?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A text of the server's without the key. What local servers get for a key (`none`, `EMPTY`, `ollama`) is no secret and
    /// may be any word of a reply: keys shorter than [`SHORTEST`] are left alone.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        if self.0.len() < SHORTEST { text.to_owned() } else { text.replace(&self.0, "[key]") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = Secret("sk-abc123def456".into());
        assert_eq!(key.redact("no such key: sk-abc123def456!"), "no such key: [key]!");
        assert_eq!(format!("{key:?}"), "Secret");
        assert_eq!(Secret("none".into()).redact("none of it"), "none of it");
        assert!(!format!("{:?}", key.bearer().expect("a header")).contains("abc123"));
        assert!(Secret("two\nlines".into()).bearer().is_err_and(|error| !format!("{error:#}").contains("lines")));
    }
}
