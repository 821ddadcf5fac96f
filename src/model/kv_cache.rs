//! Sizes of a key-value cache, and which of its positions hold the tokens of a row.

use super::element::Element;

/// Sizes that all layers of a decoder share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Keys and values of every layer: twice the number of layers.
    pub tensors: usize,
    /// KV heads.
    pub heads: usize,
    /// Head dimension.
    pub dim: usize,
    /// Type of keys and values.
    pub element: Element,
}

impl KvShape {
    /// Bytes that one token takes over all layers.
    #[must_use]
    pub fn token_bytes(self) -> usize {
        self.tensors * self.heads * self.position_bytes()
    }

    /// Bytes of one head's key, or value, of one token.
    pub(super) fn position_bytes(self) -> usize {
        self.dim * self.element.bytes()
    }
}

/// A stretch of consecutive positions in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// First position.
    pub at: usize,
    /// Positions.
    pub len: usize,
}

/// The positions of a row's tokens in a buffer, in the order of the tokens: few stretches, because shared prefixes were
/// computed in one piece.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(Vec<Run>);

impl Path {
    /// The first `len` positions of a buffer.
    #[must_use]
    pub fn leading(len: usize) -> Self {
        let mut path = Self::default();
        path.push(Run { at: 0, len });
        path
    }

    /// Adds positions at the end; neighbours become one stretch.
    pub fn push(&mut self, run: Run) {
        if run.len == 0 {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.at + last.len == run.at => last.len += run.len,
            _ => self.0.push(run),
        }
    }

    /// The positions of the first `len` tokens.
    #[must_use]
    pub fn prefix(&self, len: usize) -> Self {
        let mut path = Self::default();
        let mut left = len;
        for run in &self.0 {
            path.push(Run { at: run.at, len: run.len.min(left) });
            left -= run.len.min(left);
        }
        path
    }

    /// Tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|run| run.len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its stretches.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_joins_neighbours_and_cuts_where_it_is_told() {
        let mut path = Path::leading(3);
        path.push(Run { at: 3, len: 2 });
        path.push(Run { at: 9, len: 4 });
        assert_eq!(path.runs(), [Run { at: 0, len: 5 }, Run { at: 9, len: 4 }]);
        assert_eq!(path.len(), 9);
        assert_eq!(path.prefix(6).runs(), [Run { at: 0, len: 5 }, Run { at: 9, len: 1 }]);
        assert_eq!(path.prefix(5).runs(), [Run { at: 0, len: 5 }]);
        assert!(path.prefix(0).is_empty());
    }
}
