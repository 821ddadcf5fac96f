//! Key-value buffers: one tensor per layer for keys and one for values, [rows, KV heads, capacity, head dimension], in the
//! element type of the graph and in the memory that the graph computes in.
//!
//! A decoder reads past positions from these tensors and writes new ones into them (shared past and present), so nothing
//! is copied per step. Rows are copied only when they move: from the prompt pass into a decode slot.

use super::kv_cache::{KvShape, Path};
use super::memory::{Claim, Memory, Place, Size};
use anyhow::{Context, Result, ensure};
use ort::value::DynTensor;
use std::sync::Arc;

/// Key-value tensors of all layers for a fixed number of rows.
pub struct KvBuffer {
    shape: KvShape,
    rows: usize,
    capacity: usize,
    tensors: Vec<DynTensor>,
    /// As large as a row of one tensor; made when it is first needed.
    scratch: Option<DynTensor>,
    memory: Arc<Memory>,
    _claim: Claim,
}

impl KvBuffer {
    /// Zeroed buffers.
    pub(super) fn new(memory: &Arc<Memory>, shape: KvShape, rows: usize, capacity: usize) -> Result<Self> {
        let room = || format!("cannot allocate a KV cache of {rows} rows of {capacity} tokens");
        let claim = memory.claim(rows * capacity * shape.token_bytes()).with_context(room)?;
        let make = |_| memory.tensor(shape.element.declared(), &[rows, shape.heads, capacity, shape.dim]);
        let tensors = (0..shape.tensors).map(make).collect::<Result<_>>().with_context(room)?;
        Ok(Self { shape, rows, capacity, tensors, scratch: None, memory: Arc::clone(memory), _claim: claim })
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

    pub(super) fn tensors_mut(&mut self) -> &mut [DynTensor] {
        &mut self.tensors
    }

    /// Keeps only some rows, in the given order. Tensor by tensor, so that hardly more memory is held meanwhile.
    pub(super) fn keep_rows(mut self, rows: &[usize]) -> Result<Self> {
        let KvShape { heads, dim, element, .. } = self.shape;
        let width = heads * self.head_bytes();
        let whole = |row: usize| Place { offset: row * width, pitch: width };
        for tensor in &mut self.tensors {
            let mut kept = self.memory.tensor(element.declared(), &[rows.len(), heads, self.capacity, dim])?;
            for (to, &row) in rows.iter().enumerate() {
                self.memory.copy((&mut kept, whole(to)), (tensor, whole(row)), Size { width, height: 1 })?;
            }
            // The old tensor goes now.
            self.memory.synchronize()?;
            *tensor = kept;
        }
        self.rows = rows.len();
        Ok(self)
    }

    /// Copies the positions of `path` in a row of `source` to the beginning of a row of this buffer.
    pub(super) fn copy_row(&mut self, row: usize, source: &KvBuffer, source_row: usize, path: &Path) -> Result<()> {
        ensure!(
            row < self.rows && source_row < source.rows && path.len() <= self.capacity,
            "a row of {} tokens does not fit a KV cache of {}; this is a bug",
            path.len(),
            self.capacity
        );
        let height = self.shape.heads;
        let mut at = 0;
        for run in path.runs() {
            let size = Size { width: run.len * self.shape.position_bytes(), height };
            let (there, here) = (self.place(row, at), source.place(source_row, run.at));
            for (to, from) in self.tensors.iter_mut().zip(&source.tensors) {
                self.memory.copy((to, there), (from, here), size)?;
            }
            at += run.len;
        }
        self.memory.synchronize()
    }

    /// Zeroes the leading positions of a row.
    pub(super) fn clear_row(&mut self, row: usize, positions: usize) -> Result<()> {
        let size = Size { width: positions * self.shape.position_bytes(), height: self.shape.heads };
        let place = self.place(row, 0);
        for tensor in &mut self.tensors {
            self.memory.zero(tensor, place, size)?;
        }
        self.memory.synchronize()
    }

    /// Moves the positions of `path` to the beginning of a row of this buffer. Stretches must lie in ascending order, as
    /// those of every path do: a token's ancestors were computed before it.
    pub(super) fn compact_row(&mut self, row: usize, path: &Path) -> Result<()> {
        let mut at = 0;
        for run in path.runs() {
            debug_assert!(run.at >= at, "stretches are in ascending order");
            if run.at != at {
                let size = Size { width: run.len * self.shape.position_bytes(), height: self.shape.heads };
                let (to, from) = (self.place(row, at), self.place(row, run.at));
                if self.scratch.is_none() && self.memory.needs_scratch() {
                    let KvShape { heads, dim, element, .. } = self.shape;
                    self.scratch = Some(self.memory.tensor(element.declared(), &[heads, self.capacity, dim])?);
                }
                for tensor in &mut self.tensors {
                    self.memory.shift(tensor, to, from, size, self.scratch.as_mut())?;
                }
            }
            at += run.len;
        }
        self.memory.synchronize()
    }

    /// A position of every head of a row.
    fn place(&self, row: usize, position: usize) -> Place {
        let pitch = self.head_bytes();
        Place { offset: row * self.shape.heads * pitch + position * self.shape.position_bytes(), pitch }
    }

    /// Bytes of one head of a row.
    fn head_bytes(&self) -> usize {
        self.capacity * self.shape.position_bytes()
    }
}
