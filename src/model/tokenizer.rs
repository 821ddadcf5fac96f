//! Text to token ids and back, with truncation inside the tokenizer.

use super::manifest::HINT;
use anyhow::{Result, anyhow};
use std::path::Path;
use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

/// A loaded tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

/// Token ids of one text or pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// 0 for the first text and 1 for the second.
    pub type_ids: Vec<u32>,
    /// Whether the text was cut to the maximum length.
    pub truncated: bool,
}

impl Tokenizer {
    /// Loads a `tokenizer.json`. With `max_length`, longer inputs are cut, the longer text of a pair first; without,
    /// nothing is cut. Padding is the batch's business, so whatever the file says of it is ignored.
    pub fn open(path: &Path, max_length: Option<usize>) -> Result<Self> {
        let failed =
            |error: tokenizers::Error| anyhow!("cannot load the tokenizer `{}`: {error}\n{HINT}", path.display());
        let mut inner = tokenizers::Tokenizer::from_file(path).map_err(failed)?;
        let truncation = max_length.map(|max_length| TruncationParams {
            direction: TruncationDirection::Right,
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        });
        inner.with_truncation(truncation).map_err(failed)?;
        inner.with_padding(None);
        Ok(Self { inner })
    }

    /// Encodes a text; `special` adds the tokens of the model's own template (`[CLS]` and the like).
    pub fn encode(&self, text: &str, special: bool) -> Result<Encoding> {
        self.inner.encode_fast(text, special).map(Into::into).map_err(|error| anyhow!("the tokenizer failed: {error}"))
    }

    /// Encodes a pair with the model's own template.
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Encoding> {
        self.inner
            .encode_fast((first, second), true)
            .map(Into::into)
            .map_err(|error| anyhow!("the tokenizer failed: {error}"))
    }

    /// Text of generated tokens, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(|error| anyhow!("the tokenizer failed to decode: {error}"))
    }

    /// The largest token id it knows.
    #[must_use]
    pub fn largest_id(&self) -> u32 {
        self.inner.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// Byte offset in the text at which each token begins; special tokens are not added.
    pub fn offsets(&self, text: &str) -> Result<Vec<usize>> {
        let encoding = self.inner.encode(text, false).map_err(|error| anyhow!("the tokenizer failed: {error}"))?;
        Ok(encoding.get_offsets().iter().map(|&(start, _)| start).collect())
    }

    /// Id of a token by its exact text.
    #[must_use]
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

impl From<tokenizers::Encoding> for Encoding {
    fn from(encoding: tokenizers::Encoding) -> Self {
        Self {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            truncated: !encoding.get_overflowing().is_empty(),
        }
    }
}
