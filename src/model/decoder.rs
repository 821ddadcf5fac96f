//! A causal language model over buffers that hold its KV cache: the prompt pass and the decode step.
//!
//! Shapes: B rows, S tokens in the chunk, T positions that the chunk can see, W positions whose logits are wanted,
//! V vocabulary. Past and present keys and values are one and the same buffer, so no step copies the cache.
//!
//! A prompt pass takes several prompts in one row, without padding: tokens know their own position in their prompt
//! (`position_ids`) and which tokens came before them (`attention_bias`), so prompts lie behind each other, and what they
//! begin with in common is computed once. Graphs without these two inputs (sliding windows count places in the row) take
//! one prompt at a time.
//!
//! The attention operator has one rule for both providers: several new tokens after earlier ones are read one row at a time,
//! and a decode step takes one new token for any number of rows, whose lengths it reads from the mask. So the CPU's way of
//! reading prompts is right on a GPU too. Only its cost differs there: given an `attention_bias` the operator takes a slower
//! kernel than flash attention, at every step, so a graph made for a GPU may do better without one. Prompts of such a graph
//! are read in rows of their own, padded on the right, which the operator allows where nothing comes before them.

use super::decoder_graph::DecoderGraph;
use super::element::Element;
use super::kv_buffer::KvBuffer;
use super::kv_cache::{KvShape, Path};
use super::manifest::Exported;
use super::memory::{Memory, write_raw};
use super::out_of_memory;
use super::registry::{Model, Registry};
use super::session::{Call, Session, SessionOptions};
use super::slots::{GraphUse, Slots};
use super::visibility::{half_bits, visibility};
use anyhow::{Context, Result, anyhow, ensure};
use ort::memory::MemoryInfo;
use ort::session::IoBinding;
use ort::value::{DynTensor, DynValue, Tensor};
use std::sync::Arc;

/// A decoder graph and the facts read from its inputs and outputs.
pub struct Decoder {
    /// Where the cache and what is fed at every step lie. Before the session, for it goes before it.
    memory: Arc<Memory>,
    session: Session,
    graph: DecoderGraph,
    cuda_graphs: Option<GraphUse>,
}

/// One prompt pass: tokens that continue what a trunk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Leading positions of the trunk that the tokens can see.
    pub past: usize,
    /// Token ids, one prompt behind the other.
    pub ids: Vec<u32>,
    /// Position of each token in its own prompt.
    pub positions: Vec<usize>,
    /// What each stretch of tokens sees besides itself: the path of its prompt up to it.
    pub segments: Vec<Segment>,
    /// Tokens after which logits are wanted, by their place in `ids`.
    pub wanted: Vec<usize>,
}

/// Consecutive tokens of a pass that belong to one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Tokens.
    pub len: usize,
    /// Positions in the trunk of everything before the segment in its prompt.
    pub before: Path,
}

/// Logits of some positions: [W, V].
pub struct Logits {
    value: DynValue,
    vocabulary: usize,
    /// Row of the value that each wanted position's logits lie in.
    places: Vec<usize>,
}

impl Logits {
    /// Logits of one wanted position.
    pub fn row(&self, wanted: usize) -> Result<&[f32]> {
        let (_, data) = self
            .value
            .try_extract_tensor::<f32>()
            .map_err(|error| anyhow!("`logits` is not a float tensor: {error}"))?;
        Ok(&data[self.places[wanted] * self.vocabulary..][..self.vocabulary])
    }
}

/// Where prompts are read: one row that holds the tokens of a pass behind those it shares with the pass before; or a row for
/// each prompt of a pass.
pub struct Trunk {
    kv: KvBuffer,
    /// Whether nothing was read yet.
    fresh: bool,
}

impl Trunk {
    /// The keys and values.
    #[must_use]
    pub fn kv(&self) -> &KvBuffer {
        &self.kv
    }

    /// Zeroes leading positions, so that what is hidden there is at least a number.
    pub fn clear(&mut self, positions: usize) -> Result<()> {
        self.kv.clear_row(0, positions)
    }

    /// Keeps the tokens of a path, moved to the front; the others are given up.
    pub fn keep(&mut self, path: &Path) -> Result<()> {
        self.kv.compact_row(0, path)
    }
}

impl Decoder {
    /// Loads the graph of an exported decoder and checks that its inputs are those of a decoder.
    pub fn open(registry: &Registry, model: &Model, options: SessionOptions) -> Result<Self> {
        let exported = Exported::open(registry, model)?;
        let session = Session::open(&exported.file("model.onnx"), options)?;
        let graph = DecoderGraph::read(&session)
            .with_context(|| format!("model `{}` is not a decoder that poq can run", model.key))?;
        let memory = Arc::new(session.memory()?);
        let cuda_graphs = session.captures().then(GraphUse::default);
        Ok(Self { memory, session, graph, cuda_graphs })
    }

    /// Computes as ever, but keeps the cache as if it were on a GPU of little memory.
    #[cfg(test)]
    pub(crate) fn pretend(mut self, card: super::pretended::Card) -> Self {
        self.memory = Arc::new(Memory::Pretended(card));
        self
    }

    /// What came of CUDA graphs; none where none were asked for.
    #[must_use]
    pub fn cuda_graphs(&self) -> Option<GraphUse> {
        self.cuda_graphs.clone()
    }

    /// Whether a GPU computes.
    #[must_use]
    pub fn on_device(&self) -> bool {
        self.memory.needs_scratch()
    }

    /// Free and total bytes of the GPU that it computes on; none on the CPU.
    pub fn device_memory(&self) -> Result<Option<(usize, usize)>> {
        self.memory.free_and_total()
    }

    /// Sizes of its KV cache.
    #[must_use]
    pub fn kv_shape(&self) -> KvShape {
        self.graph.kv
    }

    /// V.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.graph.vocabulary
    }

    /// Whether a prompt pass takes several prompts.
    #[must_use]
    pub fn packs_prompts(&self) -> bool {
        self.graph.bias.is_some() && self.graph.takes_position_ids && self.graph.index_rank == Some(2)
    }

    /// Whether a prompt pass takes several prompts in rows of their own, none of which goes on from anything. On a GPU that
    /// fills the card where the graph cannot keep prompts apart in one row; on a CPU it gains nothing but padding.
    #[must_use]
    pub fn reads_rows(&self) -> bool {
        self.on_device() && self.graph.bias.is_none()
    }

    /// An empty trunk of one row.
    pub fn trunk(&self, capacity: usize) -> Result<Trunk> {
        self.trunk_of(1, capacity)
    }

    /// An empty trunk.
    pub fn trunk_of(&self, rows: usize, capacity: usize) -> Result<Trunk> {
        Ok(Trunk { kv: KvBuffer::new(&self.memory, self.graph.kv, rows, capacity)?, fresh: true })
    }

    /// Empty slots.
    pub fn slots(&self, rows: usize, capacity: usize) -> Result<Slots> {
        let kv = KvBuffer::new(&self.memory, self.graph.kv, rows, capacity)?;
        Slots::bind(&self.session, &self.graph, &self.memory, kv, vec![0; rows])
    }

    /// Fewer slots: those given, in that order.
    pub fn keep_slots(&self, slots: Slots, kept: &[usize]) -> Result<Slots> {
        let (kv, lengths) = slots.keep_rows(kept)?;
        Slots::bind(&self.session, &self.graph, &self.memory, kv, lengths)
    }

    /// Reads the tokens of a pass; their keys and values come to lie in the trunk behind `pass.past`.
    pub fn prefill(&mut self, trunk: &mut Trunk, pass: &Pass) -> Result<Logits> {
        let (known, new) = (pass.past, pass.ids.len());
        ensure!(
            new > 0 && !pass.wanted.is_empty() && known + new <= trunk.kv.capacity(),
            "a prompt pass of {new} tokens after {known} does not fit a trunk of {}; this is a bug",
            trunk.kv.capacity()
        );
        let integers = |shape: &[usize], data: Vec<i64>| Tensor::from_array((shape.to_vec(), data)).map_err(failed);
        let ids = pass.ids.iter().map(|&id| i64::from(id)).collect();
        let mut binding = self.bind_trunk(trunk)?;
        binding.bind_input("input_ids", &integers(&[1, new], ids)?).map_err(failed)?;
        binding.bind_input("attention_mask", &integers(&[1, known + new], vec![1; known + new])?).map_err(failed)?;
        if self.graph.takes_position_ids {
            let positions = pass.positions.iter().map(|&position| position as i64).collect();
            binding.bind_input("position_ids", &integers(&[1, new], positions)?).map_err(failed)?;
        }
        if let Some(element) = self.graph.bias {
            let bias = bias(element, [1, 1, new, known + new], visibility(pass))?;
            binding.bind_input("attention_bias", &bias).map_err(failed)?;
        }
        let wanted: Vec<i64> = pass.wanted.iter().map(|&place| place as i64).collect();
        match self.graph.index_rank {
            Some(2) => {
                binding.bind_input("logits_index", &integers(&[1, wanted.len()], wanted)?).map_err(failed)?;
            }
            Some(_) => {
                ensure!(wanted.len() == 1, "this graph gives the logits of one position per row; this is a bug");
                binding.bind_input("logits_index", &integers(&[1], wanted)?).map_err(failed)?;
            }
            None => {}
        }
        binding.bind_output_to_device("logits", &MemoryInfo::default()).map_err(failed)?;
        let _claim = self.memory.claim_pass(new)?;
        let value = self.run_pass(trunk, &mut binding)?;
        let places = match self.graph.index_rank {
            Some(_) => (0..pass.wanted.len()).collect(),
            None => pass.wanted.clone(),
        };
        let (shape, _) = value.try_extract_tensor::<f32>().map_err(|error| anyhow!("{error}"))?;
        let rows: i64 = shape.iter().take(shape.len().saturating_sub(1)).product();
        let enough = places.iter().all(|&place| (place as i64) < rows);
        ensure!(
            shape.last() == Some(&(self.graph.vocabulary as i64)) && enough,
            "`logits` has the shape {shape:?}, {} positions of {} tokens were asked for",
            places.len(),
            self.graph.vocabulary
        );
        Ok(Logits { value, vocabulary: self.graph.vocabulary, places })
    }

    /// Reads prompts from their beginning, each in a row of the trunk, padded on the right; logits are those after the last
    /// token of each. Rows of the trunk that have no prompt read a token that nobody looks at.
    pub fn prefill_rows(&mut self, trunk: &mut Trunk, prompts: &[&[u32]]) -> Result<Logits> {
        let (rows, width) = (trunk.kv.rows(), prompts.iter().map(|ids| ids.len()).max().unwrap_or(0));
        ensure!(
            self.graph.bias.is_none() && prompts.len() <= rows && (1..=trunk.kv.capacity()).contains(&width),
            "{} prompts of up to {width} tokens do not fit a trunk of {rows} rows of {}; this is a bug",
            prompts.len(),
            trunk.kv.capacity()
        );
        let integers = |shape: &[usize], data: Vec<i64>| Tensor::from_array((shape.to_vec(), data)).map_err(failed);
        let (mut ids, mut mask) = (vec![0; rows * width], vec![0; rows * width]);
        let length = |row: usize| prompts.get(row).map_or(1, |ids| ids.len());
        for row in 0..rows {
            mask[row * width..][..length(row)].fill(1);
            for (id, &token) in ids[row * width..].iter_mut().zip(prompts.get(row).copied().unwrap_or_default()) {
                *id = i64::from(token);
            }
        }
        let mut binding = self.bind_trunk(trunk)?;
        binding.bind_input("input_ids", &integers(&[rows, width], ids)?).map_err(failed)?;
        binding.bind_input("attention_mask", &integers(&[rows, width], mask)?).map_err(failed)?;
        if self.graph.takes_position_ids {
            let positions = (0..rows).flat_map(|_| 0..width as i64).collect();
            binding.bind_input("position_ids", &integers(&[rows, width], positions)?).map_err(failed)?;
        }
        if let Some(rank) = self.graph.index_rank {
            let last = (0..rows).map(|row| length(row) as i64 - 1).collect();
            binding.bind_input("logits_index", &integers(&[rows, 1][..rank], last)?).map_err(failed)?;
        }
        binding.bind_output_to_device("logits", &MemoryInfo::default()).map_err(failed)?;
        let _claim = self.memory.claim_pass(rows * width)?;
        let value = self.run_pass(trunk, &mut binding)?;
        let place = |row: usize| if self.graph.index_rank.is_some() { row } else { row * width + length(row) - 1 };
        Ok(Logits { value, vocabulary: self.graph.vocabulary, places: (0..prompts.len()).map(place).collect() })
    }

    /// What every pass over a trunk has in common. A pass has a binding of its own: after a failure ONNX Runtime keeps half of
    /// one, and the next use of it would end the process.
    fn bind_trunk(&self, trunk: &mut Trunk) -> Result<IoBinding> {
        let mut binding = self.session.bind()?;
        self.graph.bind_cache(&mut binding, &mut trunk.kv)?;
        Ok(binding)
    }

    /// Runs the graph on what is bound. A new trunk follows slots that are gone; those to come find their room.
    fn run_pass(&mut self, trunk: &mut Trunk, binding: &mut IoBinding) -> Result<DynValue> {
        let call = Call { shrinks: std::mem::take(&mut trunk.fresh), graph: None };
        self.session.run_bound(binding, "logits", call)
    }

    /// Appends a token to every filled slot. Empty slots compute a token that nobody reads; rows do not see each other.
    pub fn step(&mut self, slots: &mut Slots, tokens: &[Option<u32>]) -> Result<()> {
        slots.step(&mut self.session, &self.graph, tokens, self.cuda_graphs.as_mut())
    }
}

/// Inputs that a GPU computes with are copied there as they are bound, for which there may be no room.
#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn failed(error: ort::Error) -> anyhow::Error {
    out_of_memory::error("cannot bind the tensors of a prompt pass", &error)
}

/// Values of `attention_bias` in the type that the graph takes them in.
fn bias(element: Element, shape: [usize; 4], values: Vec<f32>) -> Result<DynTensor> {
    if element == Element::F32 {
        return Tensor::from_array((shape, values)).map(Tensor::upcast).map_err(failed);
    }
    let mut tensor = Memory::Host.tensor(element.declared(), &shape)?;
    let bits: Vec<u8> = values.into_iter().flat_map(|value| half_bits(element, value).to_ne_bytes()).collect();
    write_raw(&mut tensor, &bits)?;
    Ok(tensor)
}
