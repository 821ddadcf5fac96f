//! Text to token ids and back, with truncation inside the tokenizer.

use super::manifest::HINT;
use anyhow::{Result, anyhow};
use std::path::Path;
use std::sync::OnceLock;
use tokenizers::{EncodeInput, PostProcessor, TruncationDirection, TruncationParams, TruncationStrategy};

/// A loaded tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_length: Option<usize>,
    /// The same with room for one token more: made when it is first needed, which with most tokenizers is never.
    roomier: OnceLock<Result<tokenizers::Tokenizer, String>>,
}

/// Token ids of one text or pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// 0 for the first text and 1 for the second.
    pub type_ids: Vec<u32>,
    /// Whether the text was cut to the maximum length.
    pub truncated: bool,
}

impl Tokenizer {
    /// Loads a `tokenizer.json`. With `max_length`, longer inputs are cut, the longer text of a pair first; without,
    /// nothing is cut. Padding is the batch's business, so whatever the file says of it is ignored.
    pub fn open(path: &Path, max_length: Option<usize>) -> Result<Self> {
        let failed =
            |error: tokenizers::Error| anyhow!("cannot load the tokenizer `{}`: {error}\n{HINT}", path.display());
        let mut inner = tokenizers::Tokenizer::from_file(path).map_err(failed)?;
        inner.with_truncation(max_length.map(truncation)).map_err(failed)?;
        inner.with_padding(None);
        Ok(Self { inner, max_length, roomier: OnceLock::new() })
    }

    /// Encodes a text; `special` adds the tokens of the model's own template (`[CLS]` and the like).
    pub fn encode(&self, text: &str, special: bool) -> Result<Encoding> {
        self.encode_input(text.into(), special)
    }

    /// Encodes a pair with the model's own template.
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<Encoding> {
        self.encode_input((first, second).into(), true)
    }

    fn encode_input(&self, input: EncodeInput<'_>, special: bool) -> Result<Encoding> {
        let is_pair = matches!(input, EncodeInput::Dual(..));
        let failed = |error: tokenizers::Error| anyhow!("the tokenizer failed: {error}");
        let encoding = self.inner.encode_fast(input.clone(), special).map_err(failed)?;
        let truncated = !encoding.get_overflowing().is_empty()
            || self.may_hide_a_cut(encoding.len(), is_pair, special) && {
                let roomier = self.roomier()?.encode_fast(input, special).map_err(failed)?;
                roomier.len() > encoding.len()
            };
        Ok(Encoding { ids: encoding.get_ids().to_vec(), type_ids: encoding.get_type_ids().to_vec(), truncated })
    }

    /// Whether an encoding without overflow may have been cut all the same: the tokenizer stops reading at the maximum
    /// length, so a text that reaches it exactly looks whole, unless special tokens then push something out.
    fn may_hide_a_cut(&self, length: usize, is_pair: bool, special: bool) -> bool {
        let added = self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(is_pair));
        Some(length) == self.max_length && !(special && added > 0)
    }

    fn roomier(&self) -> Result<&tokenizers::Tokenizer> {
        let build = || {
            let mut tokenizer = self.inner.clone();
            tokenizer.with_truncation(self.max_length.map(|max_length| truncation(max_length + 1)))?;
            Ok(tokenizer)
        };
        let roomier = self.roomier.get_or_init(|| build().map_err(|error: tokenizers::Error| error.to_string()));
        roomier.as_ref().map_err(|error| anyhow!("the tokenizer failed: {error}"))
    }

    /// Text of generated tokens, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(|error| anyhow!("the tokenizer failed to decode: {error}"))
    }

    /// The largest token id it knows.
    #[must_use]
    pub fn largest_id(&self) -> u32 {
        self.inner.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// Byte offset in the text at which each token begins; special tokens are not added.
    pub fn offsets(&self, text: &str) -> Result<Vec<usize>> {
        let encoding = self.inner.encode(text, false).map_err(|error| anyhow!("the tokenizer failed: {error}"))?;
        Ok(encoding.get_offsets().iter().map(|&(start, _)| start).collect())
    }

    /// Id of a token by its exact text.
    #[must_use]
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

fn truncation(max_length: usize) -> TruncationParams {
    TruncationParams {
        direction: TruncationDirection::Right,
        max_length,
        strategy: TruncationStrategy::LongestFirst,
        stride: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2, "[CLS]": 3}, "unk_token": "[UNK]"}}"#;

    const TEMPLATE: &str = r#"{"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [3], "tokens": ["[CLS]"]}}}"#;

    fn open(json: &str, max_length: Option<usize>) -> Tokenizer {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("tokenizer.json");
        std::fs::write(&path, json).expect("write");
        Tokenizer::open(&path, max_length).expect("opens")
    }

    fn seen(encoding: Result<Encoding>) -> (Vec<u32>, bool) {
        let encoding = encoding.expect("encodes");
        (encoding.ids, encoding.truncated)
    }

    #[test]
    fn a_cut_text_is_said_to_be_cut_without_special_tokens_too() {
        let plain = open(PLAIN, Some(3));
        for special in [true, false] {
            assert_eq!(seen(plain.encode("a b", special)), (vec![1, 2], false));
            assert_eq!(seen(plain.encode("a b a ", special)), (vec![1, 2, 1], false));
            assert_eq!(seen(plain.encode("a b a b", special)), (vec![1, 2, 1], true));
        }
        assert_eq!(seen(plain.encode_pair("a b", "a")), (vec![1, 2, 1], false));
        assert_eq!(seen(plain.encode_pair("a b a b", "")), (vec![1, 2, 1], true));
        assert_eq!(seen(plain.encode_pair("b b", "a a")), (vec![2, 1, 1], true));
        assert_eq!(seen(open(PLAIN, None).encode("a b a b", true)), (vec![1, 2, 1, 2], false));
    }

    #[test]
    fn special_tokens_count() {
        let template =
            open(&PLAIN.replace(r#""post_processor": null"#, &format!(r#""post_processor": {TEMPLATE}"#)), Some(3));
        assert_eq!(seen(template.encode("a b", true)), (vec![3, 1, 2], false));
        assert_eq!(seen(template.encode("a b a", true)), (vec![3, 1, 2], true));
        assert_eq!(seen(template.encode("a b a", false)), (vec![1, 2, 1], false));
        assert_eq!(seen(template.encode("a b a b", false)), (vec![1, 2, 1], true));
    }
}
