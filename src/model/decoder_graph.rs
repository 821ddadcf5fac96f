//! What the inputs and outputs of a decoder's graph say of it.

use super::element::Element;
use super::kv_buffer::KvBuffer;
use super::kv_cache::KvShape;
use super::out_of_memory;
use super::session::Session;
use anyhow::{Context, Result, anyhow, bail, ensure};
use ort::session::IoBinding;

/// Names and sizes of a decoder graph.
#[derive(Debug, Clone)]
pub(super) struct DecoderGraph {
    /// `past_key_values.*` with the `present.*` that continues it.
    pub(super) caches: Vec<(String, String)>,
    pub(super) kv: KvShape,
    pub(super) vocabulary: usize,
    /// Dimensions of `logits_index`: [B] or [B, W]; none if the graph returns the logits of every position.
    pub(super) index_rank: Option<usize>,
    pub(super) takes_position_ids: bool,
    /// Type of `attention_bias`; none if the graph has no such input.
    pub(super) bias: Option<Element>,
}

impl DecoderGraph {
    /// Reads them from the graph, and refuses one that is no decoder.
    pub(super) fn read(session: &Session) -> Result<Self> {
        let has = |name: &str| session.inputs().iter().any(|input| input == name);
        ensure!(has("input_ids") && has("attention_mask"), "its graph lacks `input_ids` or `attention_mask`");
        let mut caches = Vec::new();
        for past in session.inputs() {
            let Some(rest) = past.strip_prefix("past_key_values.") else { continue };
            let present = format!("present.{rest}");
            ensure!(session.outputs().contains(&present), "its graph takes `{past}` but returns no `{present}`");
            caches.push((past.clone(), present));
        }
        let mut kv: Option<KvShape> = None;
        for (past, _) in &caches {
            let shape = session.input_shape(past)?;
            let [_, heads, _, dim] = shape[..] else { bail!("`{past}` is not a tensor of four dimensions") };
            let heads = fixed("number of KV heads", heads)?;
            let (dim, element) = (fixed("head dimension", dim)?, session.input_element(past)?);
            let layer = KvShape { tensors: caches.len(), heads, dim, element };
            ensure!(kv.is_none_or(|kv| kv == layer), "the KV caches of its layers differ in shape or type");
            kv = Some(layer);
        }
        let logits = session.output_shape("logits")?;
        let vocabulary = fixed("vocabulary", logits.last().copied().unwrap_or(-1))?;
        let index_rank = if has("logits_index") { Some(session.input_shape("logits_index")?.len()) } else { None };
        let bias = if has("attention_bias") { Some(session.input_element("attention_bias")?) } else { None };
        Ok(Self {
            caches,
            kv: kv.context("its graph has no `past_key_values` inputs")?,
            vocabulary,
            index_rank,
            takes_position_ids: has("position_ids"),
            bias,
        })
    }

    /// Binds every layer's past and present to one tensor.
    pub(super) fn bind_cache(&self, binding: &mut IoBinding, kv: &mut KvBuffer) -> Result<()> {
        for ((past, present), tensor) in self.caches.iter().zip(kv.tensors_mut()) {
            let failed = |error| out_of_memory::error(&format!("cannot bind `{past}`"), &error);
            binding.bind_input(past, tensor).map_err(failed)?;
            binding.bind_output(present, tensor).map_err(failed)?;
        }
        Ok(())
    }
}

fn fixed(name: &str, value: i64) -> Result<usize> {
    usize::try_from(value).ok().filter(|&v| v > 0).ok_or_else(|| anyhow!("its {name} is not fixed in the graph"))
}
