//! Rows of the tables that `poq judge` writes.

use super::Row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `judge_sample`: a record whose answers are judged. Written before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgeSampleRow {
    /// The record.
    pub task_id: String,
    /// Key of its data set.
    pub dataset: String,
    /// `qa` or `summarization`.
    pub task_type: String,
    /// Place in the sample of its data set and task type, from 0: a smaller sample is the beginning of a larger one.
    #[schemars(extend("unit" = "number"))]
    pub place: i32,
}

/// `judgements`: what an LLM judge says of one answer (Section 4.2, GPT based evaluation).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgementRow {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node that answered.
    pub model: String,
    /// Name of the judge.
    pub judge: String,
    /// Where it is: the address of the server's API, or `local` and a hash of its files.
    pub place: String,
    /// The grade, from 0 to 10; null when there is no grade.
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub score: Option<f64>,
    /// Why, in the judge's words; null when there is no grade.
    pub justification: Option<String>,
    /// What the judge wrote last; null where nothing was asked or came.
    pub raw_reply: Option<String>,
    /// Whether the reply was not the JSON that was asked for, and was understood all the same; null when there is no grade.
    pub repaired: Option<bool>,
    /// Whether the judge declined to grade.
    pub refused: bool,
    /// Whether it was not asked, or not to the end (a budget, a recording without the reply): the next `poq judge` does.
    pub pending: bool,
    /// Replies: 2 where the first could not be understood and the judge was asked once more.
    pub replies: i32,
    /// Requests sent, those included that got no reply.
    pub attempts: i32,
    /// `stop`, `length` or `content_filter`; null where nothing came or the server does not say.
    pub finish_reason: Option<String>,
    /// Tokens of the requests that were answered; null where the server does not say.
    pub input_tokens: Option<i64>,
    /// Of these, tokens that the server had cached; null where the server does not say.
    pub cached_tokens: Option<i64>,
    /// Tokens of the replies; null where the server does not say.
    pub output_tokens: Option<i64>,
    /// What the replies cost, in dollars, 0 for a local judge; null without a price or a count of tokens.
    #[schemars(extend("unit" = "US dollars"))]
    pub cost_usd: Option<f64>,
    /// Time from sending to the end of the last reply, in ms; null where nothing came.
    #[schemars(extend("unit" = "ms"))]
    pub latency_ms: Option<f64>,
    /// Why there is no grade; null when there is a grade.
    pub error: Option<String>,
    /// Hash of the request and of who was asked.
    pub work_key: String,
}

/// `judge_checks`: what a judge says of one answer when it is put to the test itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgeCheckRow {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node that answered.
    pub model: String,
    /// `repeat` (the same question again), `swap` (the candidate before the reference), `injection` (an attempt to dictate the
    /// score added to the answer) or `second` (another judge).
    pub check: String,
    /// Which repetition or which injection; empty where there is but one.
    pub variant: String,
    /// Name of the judge.
    pub judge: String,
    /// The grade, from 0 to 10; null when there is no grade.
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub score: Option<f64>,
    /// The grade of the same answer in `judgements`; null when that has no grade.
    #[schemars(extend("unit" = "points, 0 to 10"))]
    pub baseline: Option<f64>,
    /// What the judge wrote last; null where nothing was asked or came.
    pub raw_reply: Option<String>,
    /// Requests sent, those included that got no reply.
    pub attempts: i32,
    /// Whether it was not asked, or not to the end: the next `poq judge` does.
    pub pending: bool,
    /// Tokens of the requests that were answered; null where the server does not say.
    pub input_tokens: Option<i64>,
    /// Tokens of the replies; null where the server does not say.
    pub output_tokens: Option<i64>,
    /// What the replies cost, in dollars, 0 for a local judge; null without a price or a count of tokens.
    #[schemars(extend("unit" = "US dollars"))]
    pub cost_usd: Option<f64>,
    /// Why there is no grade; null when there is a grade.
    pub error: Option<String>,
    /// Hash of the request and of who was asked.
    pub work_key: String,
}

/// What judgements and checks cost together, in dollars; none where one of them is not known.
#[must_use]
pub fn cost_usd(judgements: &[JudgementRow], checks: &[JudgeCheckRow]) -> Option<f64> {
    let asked = judgements.iter().filter(|row| row.replies > 0).map(|row| row.cost_usd);
    let checked = checks.iter().filter(|row| row.raw_reply.is_some()).map(|row| row.cost_usd);
    asked.chain(checked).sum()
}

impl Row for JudgeSampleRow {
    const TABLE: &'static str = "judge_sample";
}

impl Row for JudgementRow {
    const TABLE: &'static str = "judgements";
}

impl Row for JudgeCheckRow {
    const TABLE: &'static str = "judge_checks";
}
