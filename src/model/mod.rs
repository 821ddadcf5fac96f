//! Models on disk and in memory: the registry, what is exported, sessions, tokenizers and chat templates.
//!
//! The only room that names `ort` and `tokenizers`. Everything above it works with token ids and `f32` slices.

pub mod artifact;
mod buffers;
pub mod chat;
mod cuda;
pub mod decoder;
mod decoder_graph;
pub mod decoder_text;
pub mod device;
pub mod element;
pub mod encoder;
pub mod facts;
pub mod footprint;
pub mod kv_buffer;
pub mod kv_cache;
pub mod manifest;
mod memory;
pub mod out_of_memory;
mod placement;
#[cfg(test)]
pub(crate) mod pretended;
pub mod provider;
pub mod registry;
pub mod runtime;
pub mod session;
pub mod slots;
pub mod tokenizer;
pub mod variant;
mod visibility;
