//! A causal language model over buffers that hold its KV cache: the prompt pass and the decode step.
//!
//! Shapes: B rows, S tokens in the chunk, T positions that the chunk can see, W positions whose logits are wanted,
//! V vocabulary. Past and present keys and values are one and the same buffer, so no step copies the cache.
//!
//! A prompt pass takes several prompts in one row, without padding: tokens know their own position in their prompt
//! (`position_ids`) and which tokens came before them (`attention_bias`), so prompts lie behind each other, and what they
//! begin with in common is computed once. Graphs without these two inputs (sliding windows count places in the row) take
//! one prompt at a time.

use super::decoder_graph::DecoderGraph;
use super::kv_cache::{KvBuffer, KvShape, Path, Run};
use super::manifest::Exported;
use super::registry::{Model, Registry};
use super::session::{Session, SessionOptions};
use anyhow::{Context, Result, anyhow, ensure};
use ort::memory::{Allocator, MemoryInfo};
use ort::session::IoBinding;
use ort::value::{DynValue, Tensor};

/// What is added to the attention score of a token that another must not see.
const HIDDEN: f32 = -1e9;

/// A decoder graph and the facts read from its inputs and outputs.
pub struct Decoder {
    session: Session,
    graph: DecoderGraph,
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

/// Where prompts are read: one row that holds the tokens of a pass behind those it shares with the pass before.
pub struct Trunk {
    kv: KvBuffer,
    binding: IoBinding,
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

/// Rows that are decoded together, each in a slot of its own. Every tensor of a step is bound once.
pub struct Slots {
    kv: KvBuffer,
    binding: IoBinding,
    ids: Tensor<i64>,
    mask: Tensor<i64>,
    positions: Option<Tensor<i64>>,
    logits: Tensor<f32>,
    lengths: Vec<usize>,
    vocabulary: usize,
}

impl Slots {
    /// The keys and values.
    #[must_use]
    pub fn kv(&self) -> &KvBuffer {
        &self.kv
    }

    /// Fills an empty slot with the prompt that lies along `path` in the trunk.
    pub fn admit(&mut self, slot: usize, trunk: &Trunk, path: &Path) -> Result<()> {
        self.kv.copy_row(slot, &trunk.kv, 0, path)?;
        self.lengths[slot] = path.len();
        self.write_mask(slot, path.len())
    }

    /// Empties a slot.
    pub fn release(&mut self, slot: usize) -> Result<()> {
        self.lengths[slot] = 0;
        self.write_mask(slot, 0)
    }

    /// Logits after the last step's token of a slot.
    pub fn logits(&self, slot: usize) -> Result<&[f32]> {
        let (_, data) = self.logits.try_extract_tensor::<f32>().map_err(|error| anyhow!("{error}"))?;
        Ok(&data[slot * self.vocabulary..][..self.vocabulary])
    }

    /// The row's tokens and the one that the next step adds.
    fn write_mask(&mut self, slot: usize, length: usize) -> Result<()> {
        let capacity = self.kv.capacity();
        let (_, mask) = self.mask.try_extract_tensor_mut::<i64>().map_err(|error| anyhow!("{error}"))?;
        let row = &mut mask[slot * capacity..][..capacity];
        let ones = (length + 1).min(capacity);
        row[..ones].fill(1);
        row[ones..].fill(0);
        Ok(())
    }
}

impl Decoder {
    /// Loads the graph of an exported decoder and checks that its inputs are those of a decoder.
    pub fn open(registry: &Registry, model: &Model, options: SessionOptions) -> Result<Self> {
        let exported = Exported::open(registry, model)?;
        let session = Session::open(&exported.file("model.onnx"), options)?;
        let graph = DecoderGraph::read(&session)
            .with_context(|| format!("model `{}` is not a decoder that poq can run", model.key))?;
        Ok(Self { session, graph })
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
        self.graph.takes_attention_bias && self.graph.takes_position_ids && self.graph.index_rank == Some(2)
    }

    /// An empty trunk.
    pub fn trunk(&self, capacity: usize) -> Result<Trunk> {
        let mut kv = KvBuffer::new(self.graph.kv, 1, capacity)?;
        let mut binding = self.session.bind()?;
        self.bind_cache(&mut binding, &mut kv)?;
        Ok(Trunk { kv, binding })
    }

    /// Empty slots.
    pub fn slots(&self, rows: usize, capacity: usize) -> Result<Slots> {
        self.bind_slots(KvBuffer::new(self.graph.kv, rows, capacity)?, vec![0; rows])
    }

    /// Fewer slots: those given, in that order.
    pub fn keep_slots(&self, slots: Slots, kept: &[usize]) -> Result<Slots> {
        let Slots { kv, binding, lengths, .. } = slots;
        drop(binding);
        self.bind_slots(kv.keep_rows(kept)?, kept.iter().map(|&slot| lengths[slot]).collect())
    }

    fn bind_slots(&self, mut kv: KvBuffer, lengths: Vec<usize>) -> Result<Slots> {
        let failed = |error: ort::Error| anyhow!("cannot bind the tensors of a decode step: {error}");
        let (rows, capacity) = (kv.rows(), kv.capacity());
        let mut binding = self.session.bind()?;
        self.bind_cache(&mut binding, &mut kv)?;
        let integers = |shape: &[usize]| zeros::<i64>(shape).map_err(failed);
        let (ids, mask) = (integers(&[rows, 1])?, integers(&[rows, capacity])?);
        binding.bind_input("input_ids", &ids).map_err(failed)?;
        binding.bind_input("attention_mask", &mask).map_err(failed)?;
        if let Some(rank) = self.graph.index_rank {
            binding.bind_input("logits_index", &integers(&[rows, 1][..rank])?).map_err(failed)?;
        }
        let positions = if self.graph.takes_position_ids { Some(integers(&[rows, 1])?) } else { None };
        if let Some(positions) = &positions {
            binding.bind_input("position_ids", positions).map_err(failed)?;
        }
        if self.graph.takes_attention_bias {
            let bias = zeros::<f32>(&[1, 1, 1, capacity]).map_err(failed)?;
            binding.bind_input("attention_bias", &bias).map_err(failed)?;
        }
        let mut logits = zeros::<f32>(&[rows, 1, self.graph.vocabulary]).map_err(failed)?;
        binding.bind_output("logits", &mut logits).map_err(failed)?;
        let vocabulary = self.graph.vocabulary;
        let mut slots = Slots { kv, binding, ids, mask, positions, logits, lengths, vocabulary };
        for slot in 0..rows {
            slots.write_mask(slot, slots.lengths[slot])?;
        }
        Ok(slots)
    }

    /// Reads the tokens of a pass; their keys and values come to lie in the trunk behind `pass.past`.
    pub fn prefill(&mut self, trunk: &mut Trunk, pass: &Pass) -> Result<Logits> {
        let (known, new) = (pass.past, pass.ids.len());
        ensure!(
            new > 0 && !pass.wanted.is_empty() && known + new <= trunk.kv.capacity(),
            "a prompt pass of {new} tokens after {known} does not fit a trunk of {}; this is a bug",
            trunk.kv.capacity()
        );
        let failed = |error: ort::Error| anyhow!("cannot bind the tensors of a prompt pass: {error}");
        let integers = |shape: &[usize], data: Vec<i64>| Tensor::from_array((shape.to_vec(), data)).map_err(failed);
        let ids = pass.ids.iter().map(|&id| i64::from(id)).collect();
        let binding = &mut trunk.binding;
        binding.bind_input("input_ids", &integers(&[1, new], ids)?).map_err(failed)?;
        binding.bind_input("attention_mask", &integers(&[1, known + new], vec![1; known + new])?).map_err(failed)?;
        if self.graph.takes_position_ids {
            let positions = pass.positions.iter().map(|&position| position as i64).collect();
            binding.bind_input("position_ids", &integers(&[1, new], positions)?).map_err(failed)?;
        }
        if self.graph.takes_attention_bias {
            let bias = Tensor::from_array((vec![1, 1, new, known + new], visibility(pass))).map_err(failed)?;
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
        // Anew for every pass: the last one's logits stay bound and have the shape of its prompts.
        binding.bind_output_to_device("logits", &MemoryInfo::default()).map_err(failed)?;
        let value = self.session.run_bound(binding, "logits")?;
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

    /// Appends a token to every filled slot. Empty slots compute a token that nobody reads; rows do not see each other.
    pub fn step(&mut self, slots: &mut Slots, tokens: &[Option<u32>]) -> Result<()> {
        let (_, ids) = slots.ids.try_extract_tensor_mut::<i64>().map_err(|error| anyhow!("{error}"))?;
        for (id, token) in ids.iter_mut().zip(tokens) {
            *id = token.map_or(0, i64::from);
        }
        if let Some(positions) = &mut slots.positions {
            let (_, positions) = positions.try_extract_tensor_mut::<i64>().map_err(|error| anyhow!("{error}"))?;
            for (position, &length) in positions.iter_mut().zip(&slots.lengths) {
                *position = length as i64;
            }
        }
        for (slot, token) in tokens.iter().enumerate() {
            ensure!(
                token.is_none() || slots.lengths[slot] < slots.kv.capacity(),
                "a row outgrew its slot of {} tokens; this is a bug",
                slots.kv.capacity()
            );
        }
        self.session.run_bound(&mut slots.binding, "logits")?;
        let capacity = slots.kv.capacity();
        let (_, mask) = slots.mask.try_extract_tensor_mut::<i64>().map_err(|error| anyhow!("{error}"))?;
        for (slot, length) in slots.lengths.iter_mut().enumerate().filter(|(slot, _)| tokens[*slot].is_some()) {
            *length += 1;
            if *length < capacity {
                mask[slot * capacity + *length] = 1;
            }
        }
        Ok(())
    }

    /// Binds every layer's past and present to one tensor.
    fn bind_cache(&self, binding: &mut IoBinding, kv: &mut KvBuffer) -> Result<()> {
        for ((past, present), tensor) in self.graph.caches.iter().zip(kv.tensors_mut()) {
            binding.bind_input(past, tensor).map_err(|error| anyhow!("cannot bind `{past}`: {error}"))?;
            binding.bind_output(present, tensor).map_err(|error| anyhow!("cannot bind `{present}`: {error}"))?;
        }
        Ok(())
    }
}

/// [S, T]: 0 where a token sees a position, [`HIDDEN`] where it does not. What comes later in the row is hidden by the
/// graph itself.
fn visibility(pass: &Pass) -> Vec<f32> {
    let width = pass.past + pass.ids.len();
    let mut bias = vec![HIDDEN; pass.ids.len() * width];
    let mut start = 0;
    for segment in &pass.segments {
        for token in start..start + segment.len {
            let row = &mut bias[token * width..][..width];
            for &Run { at, len } in segment.before.runs() {
                row[at..at + len].fill(0.0);
            }
            row[pass.past + start..=pass.past + token].fill(0.0);
        }
        start += segment.len;
    }
    bias
}

fn zeros<T>(shape: &[usize]) -> ort::Result<Tensor<T>>
where
    T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Default + Clone,
{
    let mut tensor = Tensor::<T>::new(&Allocator::default(), shape.to_vec())?;
    tensor.try_extract_tensor_mut::<T>()?.1.fill(T::default());
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_sees_its_own_prompt_and_nothing_else() {
        // Two tokens in the trunk; prompt A adds one token, prompt B shares only the first of the trunk and adds two.
        let segments = vec![Segment { len: 1, before: Path::leading(2) }, Segment { len: 2, before: Path::leading(1) }];
        let pass = Pass { past: 2, ids: vec![7, 8, 9], positions: vec![2, 1, 2], segments, wanted: vec![0, 2] };
        let seen: Vec<bool> = visibility(&pass).iter().map(|&bias| bias == 0.0).collect();
        assert_eq!(seen[..5], [true, true, true, false, false]);
        assert_eq!(seen[5..10], [true, false, false, true, false]);
        assert_eq!(seen[10..], [true, false, false, true, true]);
    }
}
