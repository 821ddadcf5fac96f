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

/// How far a case has come.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heard {
    /// What the replies so far come to; the end of it where nothing is open.
    pub verdict: Verdict,
    /// The question that has no reply yet.
    pub open: Option<(Conversation, Keys)>,
    /// Keys of the questions that have one.
    pub keys: Vec<String>,
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
#[must_use]
pub fn heard<'r>(case: &Case, who: &Who, find: impl Fn(&str) -> Option<&'r ReplyRecord>) -> Heard {
    let mut heard = Heard::default();
    let question = match &case.conversation {
        Ok(conversation) => conversation,
        Err(error) => return Heard { verdict: Verdict::default().failing(error.clone(), 0), ..heard },
    };
    let Some(first) = heard.put(question, who, case.repeat, &find) else { return heard };
    let Err(failure) = first else { return heard };
    if failure.is_refusal() {
        heard.verdict.refused = true;
        heard.verdict.error = Some(failure.to_string());
        return heard;
    }
    let text = heard.verdict.replies.last().map_or("", |reply| reply.text.as_str());
    let again = question.once_more(text, &failure.to_string());
    if let Some(Err(second)) = heard.put(&again, who, case.repeat, &find) {
        heard.verdict.refused = second.is_refusal();
        heard.verdict.error = Some(format!("{second}, asked once more; at first: {failure}"));
    }
    heard
}

impl Heard {
    /// Takes in the reply to a question; none where there is no reply, and the question is open then.
    fn put<'r>(
        &mut self,
        question: &Conversation,
        who: &Who,
        repeat: u32,
        find: impl Fn(&str) -> Option<&'r ReplyRecord>,
    ) -> Option<Result<(), Failure>> {
        let keys = who.keys(question, repeat);
        if let Some(record) = find(&keys.key) {
            self.keys.push(keys.key);
            Some(self.verdict.hear(record))
        } else {
            self.open = Some((question.clone(), keys));
            None
        }
    }
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
