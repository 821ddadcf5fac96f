//! What answering came to: of a row, and of a whole run.

use std::time::Duration;

/// What a row's generation came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Generated tokens, the stop token left out.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
    /// Prompt tokens that were not read for this row, because the row before it has them too.
    pub prefix_tokens: usize,
    /// From the beginning of the prompt pass to the first token.
    pub first_token: Duration,
    /// From entering a slot to the last token; zero if the first token was the last.
    pub decode: Duration,
    /// Slots that decoded together.
    pub slots: usize,
    /// Greedy choices between two logits closer than [`NEAR_TIE`](super::sampling::NEAR_TIE).
    pub near_ties: usize,
}

/// Why a row stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop token was drawn.
    Stop,
    /// The limit on new tokens was reached.
    Length,
}

impl Finish {
    /// As written in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A row that is through: the caller's number and its answer or why there is none.
pub type Finished = (usize, Result<Answer, String>);

/// What a run of the engine amounted to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Rows that came out, failed ones included.
    pub rows: usize,
    /// Rows that failed.
    pub failed: usize,
    /// Tokens of the answered prompts.
    pub prompt_tokens: usize,
    /// Prompt tokens that were read, by rows that are not wanted and by passes that failed too.
    pub read_tokens: usize,
    /// Tokens of the answered prompts that were read for the prompt before it.
    pub shared_tokens: usize,
    /// Tokens generated, stop tokens excluded.
    pub output_tokens: usize,
    /// Prompt passes.
    pub passes: usize,
    /// Decode steps.
    pub steps: usize,
    /// Filled slots, summed over steps.
    pub filled: usize,
    /// All slots, summed over steps.
    pub slots: usize,
    /// Greedy choices that were near ties.
    pub near_ties: usize,
    /// What the budget of the KV cache came down to because memory ran out; none if it did not.
    pub shrunk_to: Option<usize>,
    /// Most bytes of keys and values held at once.
    pub kv_bytes: usize,
    /// Time spent reading prompts.
    pub prefill: Duration,
    /// Time spent in decode steps.
    pub decode: Duration,
    /// Wall time.
    pub elapsed: Duration,
    /// Whether a quit request ended it early.
    pub interrupted: bool,
}

impl Totals {
    /// Share of the slots that held a row.
    #[must_use]
    pub fn slot_use(&self) -> f64 {
        if self.slots == 0 { 0.0 } else { self.filled as f64 / self.slots as f64 }
    }

    /// Share of the prompt tokens that were not read, because another prompt had read them.
    #[must_use]
    pub fn shared(&self) -> f64 {
        if self.prompt_tokens == 0 { 0.0 } else { self.shared_tokens as f64 / self.prompt_tokens as f64 }
    }
}
