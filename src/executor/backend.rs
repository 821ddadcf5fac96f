//! The wall between the executor and whoever computes: text to tokens, and a batch of token rows to outputs.

use super::job::{Ready, Text};
use crate::model::tokenizer::Encoding;
use anyhow::Result;

/// Turns text into token ids; shared by threads.
pub trait Tokenise: Sync {
    /// Ids of a text or pair. An error fails this row alone.
    fn tokenise(&self, text: &Text) -> Result<Encoding>;
}

/// Computes batches; owned by one worker thread.
pub trait Backend: Send {
    /// What a row becomes.
    type Output: Send;

    /// One output per row, in the rows' order. An inner error fails one row; an outer error makes the executor try
    /// the halves of the batch.
    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<Self::Output>>>;
}
