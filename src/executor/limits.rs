//! Bounds of one batch, and what a batch costs after padding.

use crate::model::encoder::padded_width;

/// Bounds of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows per batch.
    pub rows: usize,
    /// Padded tokens per batch: longest row × rows. A single row may exceed it.
    pub tokens: usize,
    /// Width that every row is padded to, for graphs that take only one; otherwise the longest row's.
    pub fixed_length: Option<usize>,
    /// Widths are rounded up to a multiple of this, for backends that prepare themselves for each shape they meet.
    pub width_step: usize,
}

impl Limits {
    /// Bounds for graphs that take any length.
    #[must_use]
    pub fn new(rows: usize, tokens: usize) -> Self {
        Self { rows, tokens, fixed_length: None, width_step: 1 }
    }

    /// Tokens of a row after padding in a batch whose longest row has `longest` tokens.
    #[must_use]
    pub fn width(self, longest: usize) -> usize {
        padded_width(longest, self.fixed_length, self.width_step)
    }
}
