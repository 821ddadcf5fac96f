//! Rows that are decoded together, each in a slot of its own.
//!
//! Every tensor of a step has one address for as long as the slots live, and what the attention operator reads on the host,
//! the width of the mask, never changes: a CUDA graph could be captured of a step. It is not, on purpose: ONNX Runtime keeps what a
//! captured run allocated until the graph is released, and releasing one came with a later version of its API than the one
//! that poq is bound to (24, for the sake of the OpenVINO build). Every new shape of the slots (a class of prompt lengths, the
//! last rows of a run) would leave its workspace behind on a card whose free memory is planned for the cache.

use super::decoder::Trunk;
use super::decoder_graph::DecoderGraph;
use super::kv_buffer::KvBuffer;
use super::kv_cache::Path;
use super::memory::Memory;
use super::out_of_memory;
use super::session::Session;
use anyhow::{Result, anyhow, ensure};
use ort::session::IoBinding;
use ort::value::{DynTensor, TensorElementType};
use std::sync::Arc;

/// The slots. Every tensor of a step is bound once and stays where it is.
pub struct Slots {
    kv: KvBuffer,
    ids: Fed,
    mask: Fed,
    positions: Option<Fed>,
    logits: DynTensor,
    /// Where the host reads logits that the graph leaves elsewhere.
    landing: Option<DynTensor>,
    lengths: Vec<usize>,
    memory: Arc<Memory>,
    /// Last, for it keeps the session that the tensors come from.
    binding: IoBinding,
}

/// An input of integers that changes from step to step.
struct Fed {
    name: &'static str,
    host: Vec<i64>,
    tensor: DynTensor,
}

impl Fed {
    fn new(memory: &Memory, name: &'static str, shape: [usize; 2]) -> Result<Self> {
        let tensor = memory.tensor(TensorElementType::Int64, &shape)?;
        Ok(Self { name, host: vec![0; shape[0] * shape[1]], tensor })
    }

    /// Hands the graph what the host has now. It is bound anew: that is a pointer where the graph reads the same memory, but
    /// an input that a graph on a GPU reads on the host is copied at binding or never.
    fn feed(&mut self, memory: &Memory, binding: &mut IoBinding) -> Result<()> {
        memory.upload(&self.host, &mut self.tensor)?;
        bind(binding, self.name, &self.tensor)
    }
}

fn bind(binding: &mut IoBinding, name: &str, tensor: &DynTensor) -> Result<()> {
    let failed = |error| out_of_memory::error(&format!("cannot bind `{name}` of a decode step"), &error);
    binding.bind_input(name, tensor).map_err(failed)
}

impl Slots {
    /// Slots over a cache whose rows hold so many tokens each.
    pub(super) fn bind(
        session: &Session,
        graph: &DecoderGraph,
        memory: &Arc<Memory>,
        mut kv: KvBuffer,
        lengths: Vec<usize>,
    ) -> Result<Self> {
        let (rows, capacity) = (kv.rows(), kv.capacity());
        let mut binding = session.bind()?;
        graph.bind_cache(&mut binding, &mut kv)?;
        let ids = Fed::new(memory, "input_ids", [rows, 1])?;
        let mask = Fed::new(memory, "attention_mask", [rows, capacity])?;
        let takes_positions = graph.takes_position_ids;
        let positions = if takes_positions { Some(Fed::new(memory, "position_ids", [rows, 1])?) } else { None };
        if let Some(rank) = graph.index_rank {
            bind(&mut binding, "logits_index", &memory.tensor(TensorElementType::Int64, &[rows, 1][..rank])?)?;
        }
        if let Some(element) = graph.bias {
            bind(&mut binding, "attention_bias", &memory.tensor(element.declared(), &[1, 1, 1, capacity])?)?;
        }
        let shape = [rows, 1, graph.vocabulary];
        let mut logits = memory.tensor(TensorElementType::Float32, &shape)?;
        let landing = memory.landing(TensorElementType::Float32, &shape)?;
        binding
            .bind_output("logits", &mut logits)
            .map_err(|error| out_of_memory::error("cannot bind the logits of a decode step", &error))?;
        let memory = Arc::clone(memory);
        let mut slots = Self { kv, ids, mask, positions, logits, landing, lengths, memory, binding };
        for slot in 0..rows {
            slots.write_mask(slot, slots.lengths[slot]);
        }
        Ok(slots)
    }

    /// The keys and values.
    #[must_use]
    pub fn kv(&self) -> &KvBuffer {
        &self.kv
    }

    /// Fills an empty slot with the prompt that lies along `path` in the trunk's first row.
    pub fn admit(&mut self, slot: usize, trunk: &Trunk, path: &Path) -> Result<()> {
        self.admit_row(slot, trunk, 0, path)
    }

    /// Fills an empty slot with the prompt that lies along `path` in a row of the trunk.
    pub fn admit_row(&mut self, slot: usize, trunk: &Trunk, row: usize, path: &Path) -> Result<()> {
        self.kv.copy_row(slot, trunk.kv(), row, path)?;
        self.lengths[slot] = path.len();
        self.write_mask(slot, path.len());
        Ok(())
    }

    /// Empties a slot.
    pub fn release(&mut self, slot: usize) {
        self.lengths[slot] = 0;
        self.write_mask(slot, 0);
    }

    /// Logits after the last step's tokens, slot after slot.
    pub fn all_logits(&self) -> Result<&[f32]> {
        let readable = self.landing.as_ref().unwrap_or(&self.logits);
        let (_, data) = readable.try_extract_tensor::<f32>().map_err(|error| anyhow!("{error}"))?;
        Ok(data)
    }

    /// The cache of some slots, and how many tokens each has.
    pub(super) fn keep_rows(self, kept: &[usize]) -> Result<(KvBuffer, Vec<usize>)> {
        let Self { kv, lengths, binding, .. } = self;
        // It holds the tensors of every row.
        drop(binding);
        Ok((kv.keep_rows(kept)?, kept.iter().map(|&slot| lengths[slot]).collect()))
    }

    /// Appends a token to every filled slot.
    pub(super) fn step(&mut self, session: &mut Session, tokens: &[Option<u32>]) -> Result<()> {
        let capacity = self.kv.capacity();
        for (slot, token) in tokens.iter().enumerate() {
            ensure!(
                token.is_none() || self.lengths[slot] < capacity,
                "a row outgrew its slot of {capacity} tokens; this is a bug"
            );
            self.ids.host[slot] = token.map_or(0, i64::from);
        }
        if let Some(positions) = &mut self.positions {
            for (position, &length) in positions.host.iter_mut().zip(&self.lengths) {
                *position = length as i64;
            }
        }
        for fed in [Some(&mut self.ids), Some(&mut self.mask), self.positions.as_mut()].into_iter().flatten() {
            fed.feed(&self.memory, &mut self.binding)?;
        }
        session.run_bound(&mut self.binding, "logits")?;
        if let Some(landing) = &mut self.landing {
            self.memory.download(&self.logits, landing)?;
        }
        for (slot, length) in self.lengths.iter_mut().enumerate().filter(|(slot, _)| tokens[*slot].is_some()) {
            *length += 1;
            if *length < capacity {
                self.mask.host[slot * capacity + *length] = 1;
            }
        }
        Ok(())
    }

    /// The row's tokens and the one that the next step adds.
    fn write_mask(&mut self, slot: usize, length: usize) {
        let capacity = self.kv.capacity();
        let row = &mut self.mask.host[slot * capacity..][..capacity];
        let ones = (length + 1).min(capacity);
        row[..ones].fill(1);
        row[ones..].fill(0);
    }
}
