//! A stand-in for tokenizer and graph that computes next to nothing and always the same: it shows what everything around
//! a model costs, and makes a run of a million rows possible in a test. Behind the hidden flag `--fake-inference`.

use crate::executor::job::Text;
use crate::executor::{Backend, Ready, Tokenise};
use crate::model::tokenizer::Encoding;
use anyhow::{Result, ensure};
use sha2::{Digest, Sha256};

/// Tokens that a text has at most.
const MAX_TOKENS: usize = 128;

/// Words as tokens, hashed to ids.
pub struct FakeTokenizer;

impl Tokenise for FakeTokenizer {
    fn tokenise(&self, text: &Text) -> Result<Encoding> {
        let (first, second) = match text {
            Text::One(text) => (text.as_str(), ""),
            Text::Pair(first, second) => (first.as_str(), second.as_str()),
        };
        let words = |text: &str, kind: u32| -> Vec<(u32, u32)> {
            text.split_whitespace().map(|word| (id(word), kind)).collect()
        };
        let mut tokens = [words(first, 0), words(second, 1)].concat();
        ensure!(!tokens.is_empty(), "the text has no tokens");
        let truncated = tokens.len() > MAX_TOKENS;
        tokens.truncate(MAX_TOKENS);
        let (ids, type_ids) = tokens.into_iter().unzip();
        Ok(Encoding { ids, type_ids, truncated })
    }
}

fn id(word: &str) -> u32 {
    let hash = Sha256::digest(word.as_bytes());
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Sums of the ids, spread over as many values as the graph would return; a row depends on itself alone.
pub struct FakeGraph {
    /// Values per row.
    pub width: usize,
}

impl Backend for FakeGraph {
    type Output = Vec<f32>;

    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<Vec<f32>>>> {
        let value = |row: &Ready, column: usize| {
            let sum = row.encoding.ids.iter().enumerate().fold(column as u64, |sum, (place, &id)| {
                sum.wrapping_mul(31).wrapping_add(u64::from(id) << (place % 8))
            });
            (sum % 2001) as f32 / 1000.0 - 1.0
        };
        Ok(rows.iter().map(|row| Ok((0..self.width).map(|column| value(row, column)).collect())).collect())
    }
}
