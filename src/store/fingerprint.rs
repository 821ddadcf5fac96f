//! Hashes that say what a table or a row was made from.

use crate::digest::{hex, sha256_file};
use anyhow::Result;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::Path;

/// A hash under construction. Every part carries its name, so that parts cannot be mistaken for each other.
#[derive(Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Starts a hash of the named kind.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self::default().text("kind", kind).text("schema", &super::table::SCHEMA_VERSION.to_string())
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.bytes(name, value.as_bytes())
    }

    /// Adds bytes.
    #[must_use]
    pub fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        for part in [name.as_bytes(), value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds a setting by its JSON form.
    pub fn value(self, name: &str, value: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_string(value)?;
        Ok(self.text(name, &json))
    }

    /// Adds the content of a file; a missing file counts as empty.
    pub fn file(self, name: &str, path: &Path) -> Result<Self> {
        let hash = if path.exists() { sha256_file(path)? } else { String::new() };
        Ok(self.text(name, &hash))
    }

    /// The hash in hex.
    #[must_use]
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }

    /// The first 8 bytes as a number: a seed.
    #[must_use]
    pub fn number(self) -> u64 {
        let hash = self.0.finalize();
        hash[..8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    /// The first 16 bytes in hex: the key of a row of work.
    #[must_use]
    pub fn key(self) -> String {
        hex(&self.key_bytes())
    }

    /// The first 16 bytes.
    #[must_use]
    pub fn key_bytes(self) -> [u8; 16] {
        let hash = self.0.finalize();
        std::array::from_fn(|i| hash[i])
    }
}
