//! Key-value buffers: one tensor per layer for keys and one for values, [rows, KV heads, capacity, head dimension].
//!
//! A decoder reads past positions from these tensors and writes new ones into them (shared past and present), so nothing
//! is copied per step. Rows are copied only when they move: from the prompt pass into a decode slot.

use anyhow::{Result, anyhow, ensure};
use ort::memory::Allocator;
use ort::value::Tensor;

/// Sizes that all layers of a decoder share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Keys and values of every layer: twice the number of layers.
    pub tensors: usize,
    /// KV heads.
    pub heads: usize,
    /// Head dimension.
    pub dim: usize,
}

impl KvShape {
    /// Bytes that one token takes over all layers, in f32.
    #[must_use]
    pub fn token_bytes(self) -> usize {
        self.tensors * self.heads * self.dim * size_of::<f32>()
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

/// Key-value tensors of all layers for a fixed number of rows.
pub struct KvBuffer {
    shape: KvShape,
    rows: usize,
    capacity: usize,
    tensors: Vec<Tensor<f32>>,
}

impl KvBuffer {
    /// Zeroed buffers.
    pub fn new(shape: KvShape, rows: usize, capacity: usize) -> Result<Self> {
        let make = || -> ort::Result<Tensor<f32>> {
            let mut tensor = Tensor::<f32>::new(&Allocator::default(), [rows, shape.heads, capacity, shape.dim])?;
            tensor.try_extract_tensor_mut::<f32>()?.1.fill(0.0);
            Ok(tensor)
        };
        let tensors = (0..shape.tensors)
            .map(|_| make())
            .collect::<ort::Result<_>>()
            .map_err(|error| anyhow!("cannot allocate a KV cache of {rows} rows of {capacity} tokens: {error}"))?;
        Ok(Self { shape, rows, capacity, tensors })
    }

    /// Tokens that a row can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows * self.capacity * self.shape.token_bytes()
    }

    pub(super) fn tensors_mut(&mut self) -> &mut [Tensor<f32>] {
        &mut self.tensors
    }

    /// Keeps only some rows, in the given order. Tensor by tensor, so that hardly more memory is held meanwhile.
    pub fn keep_rows(self, rows: &[usize]) -> Result<Self> {
        let KvShape { heads, dim, .. } = self.shape;
        let row_len = heads * self.capacity * dim;
        let keep = |old: Tensor<f32>| -> ort::Result<Tensor<f32>> {
            let shape = [rows.len(), heads, self.capacity, dim];
            let mut new = Tensor::<f32>::new(&Allocator::default(), shape)?;
            let (_, from) = old.try_extract_tensor::<f32>()?;
            let (_, to) = new.try_extract_tensor_mut::<f32>()?;
            for (to, &row) in to.chunks_exact_mut(row_len).zip(rows) {
                to.copy_from_slice(&from[row * row_len..][..row_len]);
            }
            Ok(new)
        };
        let tensors =
            self.tensors.into_iter().map(keep).collect::<ort::Result<_>>().map_err(|error| anyhow!("{error}"))?;
        Ok(Self { shape: self.shape, rows: rows.len(), capacity: self.capacity, tensors })
    }

    /// Copies the positions of `path` in a row of `source` to the beginning of a row of this buffer.
    pub fn copy_row(&mut self, row: usize, source: &KvBuffer, source_row: usize, path: &Path) -> Result<()> {
        ensure!(
            row < self.rows && source_row < source.rows && path.len() <= self.capacity,
            "a row of {} tokens does not fit a KV cache of {}; this is a bug",
            path.len(),
            self.capacity
        );
        let KvShape { heads, dim, .. } = self.shape;
        for (to, from) in self.tensors.iter_mut().zip(&source.tensors) {
            let (_, from) = from.try_extract_tensor::<f32>().map_err(|error| anyhow!("{error}"))?;
            let (_, to) = to.try_extract_tensor_mut::<f32>().map_err(|error| anyhow!("{error}"))?;
            for head in 0..heads {
                let from = &from[(source_row * heads + head) * source.capacity * dim..][..source.capacity * dim];
                let mut to = &mut to[(row * heads + head) * self.capacity * dim..][..path.len() * dim];
                for run in path.runs() {
                    let (piece, rest) = to.split_at_mut(run.len * dim);
                    piece.copy_from_slice(&from[run.at * dim..(run.at + run.len) * dim]);
                    to = rest;
                }
            }
        }
        Ok(())
    }

    /// Zeroes the leading positions of a row.
    pub fn clear_row(&mut self, row: usize, positions: usize) -> Result<()> {
        let KvShape { heads, dim, .. } = self.shape;
        for tensor in &mut self.tensors {
            let (_, data) = tensor.try_extract_tensor_mut::<f32>().map_err(|error| anyhow!("{error}"))?;
            for head in 0..heads {
                data[(row * heads + head) * self.capacity * dim..][..positions * dim].fill(0.0);
            }
        }
        Ok(())
    }

    /// Moves the positions of `path` to the beginning of a row of this buffer. Stretches must lie in ascending order, as
    /// those of every path do: a token's ancestors were computed before it.
    pub fn compact_row(&mut self, row: usize, path: &Path) -> Result<()> {
        let KvShape { heads, dim, .. } = self.shape;
        for tensor in &mut self.tensors {
            let (_, data) = tensor.try_extract_tensor_mut::<f32>().map_err(|error| anyhow!("{error}"))?;
            for head in 0..heads {
                let data = &mut data[(row * heads + head) * self.capacity * dim..][..self.capacity * dim];
                let mut to = 0;
                for run in path.runs() {
                    debug_assert!(run.at >= to, "stretches are in ascending order");
                    data.copy_within(run.at * dim..(run.at + run.len) * dim, to * dim);
                    to += run.len;
                }
            }
        }
        Ok(())
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
