//! Rows that are decoded together, each in a slot of its own.
//!
//! Every tensor of a step has one address for as long as the slots live, and what the attention operator reads on the host,
//! the width of the mask, never changes: a step can be captured as a CUDA graph and replayed, where that is asked for. ONNX
//! Runtime keeps what a captured step allocated until the graph is released, and releasing one came with a later version of its
//! API than the one that poq is bound to (24, for the sake of the OpenVINO build). So only slots that live for a while are
//! captured, and only so many of them.

use super::decoder::Trunk;
use super::decoder_graph::DecoderGraph;
use super::kv_buffer::KvBuffer;
use super::kv_cache::Path;
use super::memory::Memory;
use super::out_of_memory;
use super::session::{Call, Session};
use anyhow::{Result, anyhow, ensure};
use ort::session::IoBinding;
use ort::value::{DynTensor, TensorElementType};
use serde::Serialize;
use std::sync::Arc;

/// The slots. Every tensor of a step is bound once and stays where it is.
pub struct Slots {
    kv: KvBuffer,
    ids: Fed,
    mask: Fed,
    positions: Option<Fed>,
    /// Inputs that are zero at every step.
    constants: Vec<(&'static str, DynTensor)>,
    logits: DynTensor,
    /// Where the host reads logits that the graph leaves elsewhere.
    landing: Option<DynTensor>,
    lengths: Vec<usize>,
    capture: Capture,
    memory: Arc<Memory>,
    /// Last, for it keeps the session that the tensors come from.
    binding: IoBinding,
}

/// Steps of new slots before one is captured: some live for a few steps only.
const STEPS_BEFORE_CAPTURE: usize = 4;

/// Graphs of one decoder at most, for none is given back.
const MOST_GRAPHS: usize = 64;

/// What came of capturing decode steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GraphUse {
    /// Graphs whose replays gave the logits of the step that they are of and of the next.
    pub captured: usize,
    /// Numbers that were given out: no two graphs may share one, for the second would be a replay of the first.
    #[serde(skip)]
    tried: usize,
    /// Steps that were replayed.
    pub replayed: usize,
    /// Why no more are captured.
    pub given_up: Option<String>,
}

/// How far slots are on the way to a graph of their own.
#[derive(Debug, Clone, Copy)]
enum Capture {
    /// So many steps until then.
    After(usize),
    /// Captured by this number, and to be compared at the next step, whose inputs are others.
    Captured(usize),
    /// Replayed.
    Done(usize),
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
        kv: KvBuffer,
        lengths: Vec<usize>,
    ) -> Result<Self> {
        let (rows, capacity) = (kv.rows(), kv.capacity());
        let ids = Fed::new(memory, "input_ids", [rows, 1])?;
        let mask = Fed::new(memory, "attention_mask", [rows, capacity])?;
        let takes_positions = graph.takes_position_ids;
        let positions = if takes_positions { Some(Fed::new(memory, "position_ids", [rows, 1])?) } else { None };
        let mut constants = Vec::new();
        if let Some(rank) = graph.index_rank {
            constants.push(("logits_index", memory.tensor(TensorElementType::Int64, &[rows, 1][..rank])?));
        }
        if let Some(element) = graph.bias {
            constants.push(("attention_bias", memory.tensor(element.declared(), &[1, 1, 1, capacity])?));
        }
        let shape = [rows, 1, graph.vocabulary];
        let logits = memory.tensor(TensorElementType::Float32, &shape)?;
        let landing = memory.landing(TensorElementType::Float32, &shape)?;
        let memory = Arc::clone(memory);
        let capture = Capture::After(STEPS_BEFORE_CAPTURE);
        let binding = session.bind()?;
        let mut slots =
            Self { kv, ids, mask, positions, constants, logits, landing, lengths, capture, memory, binding };
        slots.bind_tensors(graph)?;
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

    /// Appends a token to every filled slot. With `graphs` the step is captured when its time has come, and replayed from then
    /// on.
    pub(super) fn step(
        &mut self,
        session: &mut Session,
        graph: &DecoderGraph,
        tokens: &[Option<u32>],
        graphs: Option<&mut GraphUse>,
    ) -> Result<()> {
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
        self.feed()?;
        match (self.capture, graphs) {
            (Capture::Done(id), Some(graphs)) => {
                self.run(session, Some(id))?;
                graphs.replayed += 1;
            }
            (Capture::After(0), Some(graphs)) if graphs.given_up.is_none() && graphs.tried < MOST_GRAPHS => {
                let id = graphs.tried;
                graphs.tried += 1;
                self.run(session, None)?;
                self.compare(session, graph, graphs, id, Capture::Captured(id))?;
            }
            (Capture::Captured(id), Some(graphs)) if graphs.given_up.is_none() => {
                self.run(session, None)?;
                self.compare(session, graph, graphs, id, Capture::Done(id))?;
            }
            (Capture::After(left), _) => {
                self.run(session, None)?;
                self.capture = Capture::After(left.saturating_sub(1));
            }
            (Capture::Captured(_) | Capture::Done(_), _) => self.run(session, None)?,
        }
        for (slot, length) in self.lengths.iter_mut().enumerate().filter(|(slot, _)| tokens[*slot].is_some()) {
            *length += 1;
            if *length < capacity {
                self.mask.host[slot * capacity + *length] = 1;
            }
        }
        Ok(())
    }

    /// Computes the step, as a graph where it has a number, and brings the logits to where the host reads them.
    fn run(&mut self, session: &mut Session, graph: Option<usize>) -> Result<()> {
        session.run_bound(&mut self.binding, "logits", Call { shrinks: false, graph })?;
        match &mut self.landing {
            Some(landing) => self.memory.download(&self.logits, landing),
            None => Ok(()),
        }
    }

    /// Computes the step that was just computed once more, by a graph, which is captured at its first call; the same keys and values
    /// are written again. A graph that does not give the same logits is not used, and no other is tried; else `next` it is.
    fn compare(
        &mut self,
        session: &mut Session,
        graph: &DecoderGraph,
        graphs: &mut GraphUse,
        id: usize,
        next: Capture,
    ) -> Result<()> {
        let bits =
            |slots: &Self| Ok::<_, anyhow::Error>(slots.all_logits()?.iter().map(|l| l.to_bits()).collect::<Vec<_>>());
        let expected = bits(self)?;
        let given_up = match self.run(session, Some(id)) {
            Ok(()) if bits(self)? == expected => {
                graphs.captured += usize::from(matches!(next, Capture::Done(_)));
                self.capture = next;
                return Ok(());
            }
            Ok(()) => "a replay gave other logits than the step itself".to_owned(),
            Err(error) => format!("a step could not be captured: {error:#}"),
        };
        graphs.given_up = Some(given_up);
        self.capture = Capture::After(0);
        // What failed is not used again, and the logits of this step are those without a graph.
        self.binding = session.bind()?;
        self.bind_tensors(graph)?;
        self.feed()?;
        self.run(session, None)
    }

    /// Binds what has one address for good.
    fn bind_tensors(&mut self, graph: &DecoderGraph) -> Result<()> {
        graph.bind_cache(&mut self.binding, &mut self.kv)?;
        for (name, tensor) in &self.constants {
            bind(&mut self.binding, name, tensor)?;
        }
        self.binding
            .bind_output("logits", &mut self.logits)
            .map_err(|error| out_of_memory::error("cannot bind the logits of a decode step", &error))
    }

    /// Hands the graph what changes from step to step.
    fn feed(&mut self) -> Result<()> {
        for fed in [Some(&mut self.ids), Some(&mut self.mask), self.positions.as_mut()].into_iter().flatten() {
            fed.feed(&self.memory, &mut self.binding)?;
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
