//! The text side of a decoder: everything that turns a conversation into tokens and tokens back into text.

use super::chat::{ChatTemplate, Clock};
use super::manifest::Exported;
use super::registry::Model;
use super::tokenizer::Tokenizer;
use anyhow::{Result, anyhow};

/// Tokenizer, chat template and stop tokens of one decoder.
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
    /// Loads tokenizer and template of an exported decoder; `date` is the day that the template is told.
    pub fn open(model: &Model, exported: &Exported, date: Option<Clock>) -> Result<Self> {
        let facts = model.decoder_facts()?;
        let tokenizer = Tokenizer::open(&exported.file("tokenizer.json"), None)?;
        let template = ChatTemplate::open(
            &exported.file(&facts.chat_template),
            facts.bos_token.as_deref(),
            facts.eos_token.as_deref(),
        )?
        .with_clock(date);
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
