//! What a case has come to, as a pure function of the replies that are there: ask, ask once more, or done. A killed run
//! goes on from it, a replay is nothing else, and no reply is asked for that is there already.

use super::conversation::Conversation;
use super::parse::{self, Failure};
use super::{Case, Who};
use crate::store::replies::{Reply, ReplyRecord};

/// Hashes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// With the judge that is asked.
    pub key: String,
    /// Without: what a recording is searched by.
    pub content: String,
}

/// What is to be done about a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Put this question; there is no reply to it yet.
    Ask(Conversation, Keys),
    /// Nothing: the judge has spoken.
    Done(Box<Verdict>),
}

/// What the replies to a case come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// From 0 to 10.
    pub score: Option<f64>,
    /// In the judge's words.
    pub justification: Option<String>,
    /// Whether the last reply needed mending to be understood; none without a score.
    pub repaired: Option<bool>,
    /// Whether the judge declined.
    pub refused: bool,
    /// The replies, in order.
    pub replies: Vec<Reply>,
    /// Requests sent for them.
    pub attempts: u32,
    /// Whether it was not asked, or not to the end, and is to be taken up again.
    pub pending: bool,
    /// Why there is no score.
    pub error: Option<String>,
}

impl Verdict {
    /// The same, ended by an error after so many more attempts.
    #[must_use]
    pub fn failing(self, error: String, attempts: u32) -> Self {
        Self { attempts: self.attempts + attempts, error: Some(error), ..self }
    }

    /// The sum of a figure over the replies; none where one of them lacks it.
    #[must_use]
    pub fn total<T: std::iter::Sum>(&self, figure: impl Fn(&Reply) -> Option<T>) -> Option<T> {
        if self.replies.is_empty() { None } else { self.replies.iter().map(figure).sum() }
    }
}

/// Looks how far a case has come.
pub fn step<'r>(case: &Case, who: &Who, find: impl Fn(&str) -> Option<&'r ReplyRecord>) -> Step {
    let conversation = match &case.conversation {
        Ok(conversation) => conversation,
        Err(error) => return Step::Done(Box::new(Verdict::default().failing(error.clone(), 0))),
    };
    let mut verdict = Verdict::default();
    let keys = who.keys(conversation, case.repeat);
    let Some(first) = find(&keys.key) else { return Step::Ask(conversation.clone(), keys) };
    let failure = match verdict.hear(first) {
        Ok(()) => return Step::Done(Box::new(verdict)),
        Err(failure) => failure,
    };
    if failure.is_refusal() {
        verdict.refused = true;
        verdict.error = Some(failure.to_string());
        return Step::Done(Box::new(verdict));
    }
    let text = verdict.replies.last().map_or("", |reply| reply.text.as_str());
    let again = conversation.once_more(text, &failure.to_string());
    let keys = who.keys(&again, case.repeat);
    let Some(second) = find(&keys.key) else { return Step::Ask(again, keys) };
    if let Err(second) = verdict.hear(second) {
        verdict.refused = second.is_refusal();
        verdict.error = Some(format!("{second}, asked once more; at first: {failure}"));
    }
    Step::Done(Box::new(verdict))
}

/// What was heard of a case that is not through: the first reply, if it came.
pub fn so_far<'r>(case: &Case, who: &Who, find: impl Fn(&str) -> Option<&'r ReplyRecord>) -> Verdict {
    let mut verdict = Verdict::default();
    let conversation = case.conversation.as_ref().ok();
    if let Some(first) = conversation.and_then(|conversation| find(&who.keys(conversation, case.repeat).key)) {
        // It could not be understood, or the case would be through.
        let _ = verdict.hear(first);
    }
    verdict
}

/// The key of the question that is put after a first reply that could not be understood; none where there is none.
pub fn second_key<'r>(case: &Case, who: &Who, find: impl Fn(&str) -> Option<&'r ReplyRecord>) -> Option<String> {
    let conversation = case.conversation.as_ref().ok()?;
    let first = find(&who.keys(conversation, case.repeat).key)?;
    let failure = Verdict::default().hear(first).err()?;
    let text = first.reply.as_ref().map_or("", |reply| reply.text.as_str());
    Some(who.keys(&conversation.once_more(text, &failure.to_string()), case.repeat).key)
}

impl Verdict {
    /// Takes a reply in.
    fn hear(&mut self, record: &ReplyRecord) -> Result<(), Failure> {
        let Some(reply) = &record.reply else { return Err(Failure::Empty) };
        self.attempts += record.attempts;
        self.replies.push(reply.clone());
        if reply.refusal.is_some() || reply.finish_reason.as_deref() == Some("content_filter") {
            return Err(Failure::Refusal);
        }
        let judgement = parse::parse(&reply.text)?;
        self.score = Some(judgement.score);
        self.justification = Some(judgement.justification);
        self.repaired = Some(judgement.repaired);
        Ok(())
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
