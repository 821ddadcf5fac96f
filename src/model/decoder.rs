//! A causal language model with its KV cache: prefill a right-padded batch, then one token per row and step.
//!
//! Shapes: B rows, S tokens in the chunk, P cached positions, V vocabulary. The cache stays inside ONNX Runtime's own
//! tensors and is handed from one call to the next without a copy through Rust.

use super::chat::ChatTemplate;
use super::manifest::Exported;
use super::registry::{Model, Registry};
use super::session::{Inputs, Session, SessionOptions, tensor_f32, tensor_i64, view_f32};
use super::tokenizer::Tokenizer;
use anyhow::{Context, Result, anyhow, bail, ensure};
use ort::value::DynValue;
use std::borrow::Cow;

/// Everything that turns a conversation into tokens for one decoder and tokens back into text.
pub struct DecoderText {
    /// Tokenizer without truncation.
    pub tokenizer: Tokenizer,
    /// The model's chat template.
    pub template: ChatTemplate,
    /// Ids that end an answer.
    pub stop_ids: Vec<u32>,
    /// Context length in tokens.
    pub max_length: usize,
}

impl DecoderText {
    /// Loads tokenizer and template of an exported decoder.
    pub fn open(model: &Model, exported: &Exported) -> Result<Self> {
        let facts = model.decoder_facts()?;
        let tokenizer = Tokenizer::open(&exported.file("tokenizer.json"), None)?;
        let template = ChatTemplate::open(
            &exported.file(&facts.chat_template),
            facts.bos_token.as_deref(),
            facts.eos_token.as_deref(),
        )?;
        let stop_ids = facts
            .stop_tokens
            .iter()
            .map(|token| {
                tokenizer
                    .token_id(token)
                    .ok_or_else(|| anyhow!("model `{}`: its tokenizer has no stop token `{token}`", model.key))
            })
            .collect::<Result<_>>()?;
        Ok(Self { tokenizer, template, stop_ids, max_length: model.max_length })
    }
}

/// A decoder graph and the facts read from its inputs.
pub struct Decoder {
    session: Session,
    layers: Vec<CacheLayer>,
    kv_heads: usize,
    head_dim: usize,
    takes_logits_index: bool,
    takes_position_ids: bool,
}

struct CacheLayer {
    past: String,
    present: String,
}

/// The KV cache of a batch between two steps.
pub struct Cache {
    /// `present.*` of the last call, in the order of the graph's `past_key_values.*`: [B, heads, P, dim].
    values: Vec<DynValue>,
    /// Valid tokens of each row.
    lengths: Vec<usize>,
    /// P.
    width: usize,
}

impl Cache {
    /// Rows in the cache.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }
}

/// Logits of one position per row: [B, V], row after row.
pub struct Logits {
    data: Vec<f32>,
    vocabulary: usize,
}

impl Logits {
    /// Logits of one row.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.vocabulary..(row + 1) * self.vocabulary]
    }
}

impl Decoder {
    /// Loads the graph of an exported decoder and checks that its inputs are those of a decoder.
    pub fn open(registry: &Registry, model: &Model, options: SessionOptions) -> Result<Self> {
        let exported = Exported::open(registry, model)?;
        let session = Session::open(&exported.file("model.onnx"), options)?;
        Self::new(session).with_context(|| format!("model `{}` is not a decoder that poq can run", model.key))
    }

    fn new(session: Session) -> Result<Self> {
        let has = |name: &str| session.inputs().iter().any(|input| input == name);
        ensure!(has("input_ids") && has("attention_mask"), "its graph lacks `input_ids` or `attention_mask`");
        let mut layers = Vec::new();
        for input in session.inputs() {
            let Some(rest) = input.strip_prefix("past_key_values.") else { continue };
            let present = format!("present.{rest}");
            ensure!(session.outputs().contains(&present), "its graph takes `{input}` but returns no `{present}`");
            layers.push(CacheLayer { past: input.clone(), present });
        }
        let first = layers.first().ok_or_else(|| anyhow!("its graph has no `past_key_values` inputs"))?;
        let shape = session.input_shape(&first.past)?;
        let [_, heads, _, dim] = shape.as_slice() else { bail!("`{}` is not a tensor of four dimensions", first.past) };
        let fixed = |name: &str, value: i64| {
            usize::try_from(value)
                .ok()
                .filter(|&v| v > 0)
                .ok_or_else(|| anyhow!("its {name} is not fixed in the graph"))
        };
        let (kv_heads, head_dim) = (fixed("number of KV heads", *heads)?, fixed("head dimension", *dim)?);
        let (takes_logits_index, takes_position_ids) = (has("logits_index"), has("position_ids"));
        Ok(Self { session, layers, kv_heads, head_dim, takes_logits_index, takes_position_ids })
    }

    /// Runs the prompts of a batch. Rows are right-padded, for grouped-query attention on the CPU wants it so; returns
    /// the logits after each row's last token.
    pub fn prefill(&mut self, prompts: &[&[u32]]) -> Result<(Logits, Cache)> {
        let rows = prompts.len();
        let width = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
        ensure!(
            prompts.iter().all(|prompt| !prompt.is_empty()),
            "a prompt without tokens reached the decoder; this is a bug"
        );
        let mut ids = Vec::with_capacity(rows * width);
        for prompt in prompts {
            ids.extend(prompt.iter().map(|&id| i64::from(id)));
            ids.resize(ids.len() + width - prompt.len(), 0);
        }
        let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.len()).collect();
        let empty = || tensor_f32(&[rows, self.kv_heads, 0, self.head_dim], Vec::new());
        let values = self.layers.iter().map(|_| empty()).collect::<Result<_>>()?;
        let wanted: Vec<usize> = lengths.iter().map(|&length| length - 1).collect();
        self.forward(ids, width, &wanted, Cache { values, lengths: vec![0; rows], width: 0 }, &lengths)
    }

    /// Appends one token to every row; returns the logits after it.
    pub fn step(&mut self, tokens: &[u32], cache: Cache) -> Result<(Logits, Cache)> {
        let rows = tokens.len();
        ensure!(rows == cache.rows(), "{rows} tokens for {} cached rows; this is a bug", cache.rows());
        let ids = tokens.iter().map(|&id| i64::from(id)).collect();
        self.forward(ids, 1, &vec![0; rows], cache, &vec![1; rows])
    }

    /// Keeps only some rows of a cache, in the given order, and drops positions that no kept row uses.
    pub fn keep_rows(&self, cache: &Cache, rows: &[usize]) -> Result<Cache> {
        let lengths: Vec<usize> = rows.iter().map(|&row| cache.lengths[row]).collect();
        let width = lengths.iter().copied().max().unwrap_or(0);
        let mut values = Vec::with_capacity(cache.values.len());
        for value in &cache.values {
            let (shape, data) = view_f32(value)?;
            let [_, heads, old_width, dim] = shape[..] else { bail!("a KV tensor is not four-dimensional") };
            ensure!(width <= old_width, "a KV tensor holds {old_width} positions for a row of {width} tokens");
            let mut kept = Vec::with_capacity(rows.len() * heads * width * dim);
            for &row in rows {
                for head in 0..heads {
                    let start = (row * heads + head) * old_width * dim;
                    kept.extend_from_slice(&data[start..start + width * dim]);
                }
            }
            values.push(tensor_f32(&[rows.len(), heads, width, dim], kept)?);
        }
        Ok(Cache { values, lengths, width })
    }

    /// One call: `ids` is [B, S] with `added[b]` valid tokens in row b, `wanted[b]` the position whose logits are read.
    fn forward(
        &mut self,
        ids: Vec<i64>,
        chunk: usize,
        wanted: &[usize],
        mut cache: Cache,
        added: &[usize],
    ) -> Result<(Logits, Cache)> {
        let rows = added.len();
        let before = std::mem::take(&mut cache.lengths);
        let lengths: Vec<usize> = before.iter().zip(added).map(|(old, new)| old + new).collect();
        let width = lengths.iter().copied().max().unwrap_or(0).max(cache.width);
        let mut mask = vec![0_i64; rows * width];
        for (row, &length) in lengths.iter().enumerate() {
            mask[row * width..row * width + length].fill(1);
        }
        let mut inputs: Inputs<'_> = Vec::with_capacity(4 + self.layers.len());
        inputs.push((Cow::Borrowed("input_ids"), tensor_i64(&[rows, chunk], ids)?.into()));
        inputs.push((Cow::Borrowed("attention_mask"), tensor_i64(&[rows, width], mask)?.into()));
        if self.takes_position_ids {
            let positions = before.iter().flat_map(|&old| (old..old + chunk).map(|p| p as i64)).collect();
            inputs.push((Cow::Borrowed("position_ids"), tensor_i64(&[rows, chunk], positions)?.into()));
        }
        if self.takes_logits_index {
            let index = wanted.iter().map(|&position| position as i64).collect();
            inputs.push((Cow::Borrowed("logits_index"), tensor_i64(&[rows], index)?.into()));
        }
        for (layer, value) in self.layers.iter().zip(cache.values) {
            inputs.push((Cow::Owned(layer.past.clone()), value.into()));
        }
        let mut outputs = self.session.run(inputs)?;
        let mut take = |name: &str| {
            let place = outputs.iter().position(|(output, _)| output == name);
            place.map(|place| outputs.swap_remove(place).1).ok_or_else(|| anyhow!("the graph returned no `{name}`"))
        };
        let logits = pick_logits(&take("logits")?, wanted, self.takes_logits_index)?;
        let values = self.layers.iter().map(|layer| take(&layer.present)).collect::<Result<Vec<_>>>()?;
        let width = match values.first() {
            Some(value) => view_f32(value)?.0.get(2).copied().unwrap_or(width),
            None => width,
        };
        Ok((logits, Cache { values, lengths, width }))
    }
}

/// Logits of the wanted position of each row. A graph with `logits_index` returns just those ([B, 1, V]); others return
/// every position ([B, S, V]).
fn pick_logits(value: &DynValue, wanted: &[usize], pruned: bool) -> Result<Logits> {
    let (shape, data) = view_f32(value)?;
    let [rows, positions, vocabulary] = shape[..] else { bail!("`logits` is not a tensor of three dimensions") };
    ensure!(rows == wanted.len(), "`logits` has {rows} rows for a batch of {}", wanted.len());
    let mut picked = Vec::with_capacity(rows * vocabulary);
    for (row, &position) in wanted.iter().enumerate() {
        let position = if pruned { 0 } else { position };
        ensure!(position < positions, "`logits` has {positions} positions, position {position} was asked for");
        let start = (row * positions + position) * vocabulary;
        picked.extend_from_slice(&data[start..start + vocabulary]);
    }
    Ok(Logits { data: picked, vocabulary })
}
