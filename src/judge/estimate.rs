//! What is coming, before anything is sent: requests, tokens and dollars. Where replies are there already, they say how many
//! tokens a byte and a reply really take.

use super::{Case, Who, heard, price};
use crate::settings::Price;
use crate::store::replies::{Replies, Reply};
use serde::Serialize;
use std::collections::HashSet;

/// What is coming of one judge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Name of the judge.
    pub judge: String,
    /// Where it is.
    pub place: String,
    /// Questions there are.
    pub questions: usize,
    /// Of these, questions that are answered already, or that have nothing to ask.
    pub done: usize,
    /// Requests to come, as long as the first reply to each can be understood.
    pub requests: usize,
    /// Tokens of these requests, about.
    pub input_tokens: usize,
    /// Tokens of the replies, about; null where there is no reply to judge by.
    pub output_tokens: Option<usize>,
    /// The same at most.
    pub output_tokens_at_most: usize,
    /// Dollars, about; null without a price or a reply to judge by.
    pub usd: Option<f64>,
    /// Dollars, at most, each reply understood; null without a price.
    pub usd_at_most: Option<f64>,
}

impl Estimate {
    /// Looks at what is not answered yet; cases that are `left` at a failure are done.
    #[must_use]
    pub fn new(cases: &[Case], left: &[bool], who: &Who, price: Option<Price>, replies: &Replies) -> Self {
        let mut keys = HashSet::new();
        let mut bytes = Vec::new();
        let mut answered: Vec<(usize, Reply)> = Vec::new();
        let mut done = 0;
        for (case, left) in cases.iter().zip(left) {
            let found = heard(case, who, replies);
            match found.open {
                Some((conversation, asked)) if !left => {
                    bytes.extend(keys.insert(asked.key).then(|| conversation.bytes()));
                }
                _ => done += 1,
            }
            let first = found.verdict.replies.into_iter().next();
            answered.extend(case.conversation.as_ref().ok().zip(first).map(|(asked, reply)| (asked.bytes(), reply)));
        }
        let total: usize = bytes.iter().sum();
        let input_tokens = match tokens_per_byte(&answered) {
            Some(ratio) => (total as f64 * ratio).ceil() as usize,
            None => price::tokens_of(total),
        };
        let lengths: Vec<f64> =
            answered.iter().filter_map(|(_, reply)| reply.output_tokens.map(|t| t as f64)).collect();
        let output_tokens = crate::statistics::mean(&lengths).map(|mean| (mean * bytes.len() as f64).ceil() as usize);
        let dollars = |price: Price, output: usize| {
            (input_tokens as f64 * price.input_usd_per_million + output as f64 * price.output_usd_per_million) / 1e6
        };
        let at_most = |price| bytes.iter().map(|&bytes| price::at_most(price, bytes, who.max_output_tokens)).sum();
        Self {
            judge: who.name.clone(),
            place: who.place.clone(),
            questions: cases.len(),
            done,
            requests: bytes.len(),
            input_tokens,
            output_tokens,
            output_tokens_at_most: bytes.len() * who.max_output_tokens,
            usd: price.zip(output_tokens).map(|(price, output)| dollars(price, output)),
            usd_at_most: price.map(at_most),
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { judge, place, questions, done, requests, input_tokens, output_tokens_at_most, .. } = self;
        let output = match self.output_tokens {
            Some(tokens) => format!("about {tokens}, at most {output_tokens_at_most}"),
            None => format!("at most {output_tokens_at_most}"),
        };
        let dollars = match (self.usd, self.usd_at_most) {
            (Some(usd), Some(most)) => format!("about ${usd:.4}, at most ${most:.4}"),
            (None, Some(most)) => format!("at most ${most:.4}"),
            (_, None) => format!("unknown: no price in `[judge.prices.\"{judge}\"]`"),
        };
        format!(
            "{judge} at {place}\n  questions      {questions}, {done} of them done\n  requests       {requests}\n  \
             input tokens   about {input_tokens}\n  output tokens  {output}\n  cost           {dollars}"
        )
    }
}

fn tokens_per_byte(answered: &[(usize, Reply)]) -> Option<f64> {
    let counted: Vec<(usize, u64)> =
        answered.iter().filter_map(|(bytes, reply)| Some((*bytes, reply.input_tokens?))).collect();
    let bytes: usize = counted.iter().map(|(bytes, _)| bytes).sum();
    (bytes > 0).then(|| counted.iter().map(|(_, tokens)| tokens).sum::<u64>() as f64 / bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Purpose;
    use crate::judge::conversation::{Conversation, Order};
    use crate::store::replies::ReplyRecord;
    use crate::store::samples;

    #[test]
    fn what_is_coming_is_what_is_not_there() {
        let directory = tempfile::tempdir().expect("directory");
        let mut replies = Replies::open(&directory.path().join("r.jsonl")).expect("made");
        let who = Who { name: "j".into(), place: "p".into(), temperature: 0.0, max_output_tokens: 100, seed: 1 };
        let price =
            Price { input_usd_per_million: 1.0, cached_input_usd_per_million: None, output_usd_per_million: 2.0 };
        let case = |output: &str| Case {
            task_id: "t".into(),
            model: "m".into(),
            purpose: Purpose::Judgement,
            repeat: 0,
            conversation: Ok(Conversation::about("s", &samples::task("t"), output, Order::ReferenceFirst)),
        };
        let silent = Case { conversation: Err("no answer".into()), ..case("") };
        let cases = [case("a"), case("b"), case("b"), case("c"), silent];
        let bytes = cases[0].conversation.as_ref().expect("asked").bytes();
        let before = Estimate::new(&cases, &[false; 5], &who, Some(price), &replies);
        assert_eq!((before.questions, before.done, before.requests), (5, 1, 3));
        assert_eq!((before.output_tokens, before.output_tokens_at_most), (None, 300));
        let most = 3.0 * price::at_most(price, bytes, 100);
        assert!((before.usd_at_most.expect("priced") - most).abs() < 1e-12 && before.usd.is_none());
        assert!(Estimate::new(&cases, &[false; 5], &who, None, &replies).text().contains("unknown"));

        let keys = who.keys(cases[0].conversation.as_ref().expect("asked"), 0);
        let reply = Reply {
            text: r#"{"score": 1, "justification": ""}"#.into(),
            input_tokens: Some(bytes as u64 / 2),
            output_tokens: Some(20),
            ..Reply::default()
        };
        let record = ReplyRecord {
            key: keys.key,
            content: keys.content,
            task_id: "t".into(),
            model: "m".into(),
            purpose: "judgement".into(),
            attempts: 1,
            cost_usd: None,
            lost_usd: 0.0,
            promised_usd: 0.0,
            replayed: false,
            reply: Some(reply),
        };
        replies.add(record).expect("written");
        let after = Estimate::new(&cases, &[false; 5], &who, Some(price), &replies);
        assert_eq!((after.done, after.requests, after.output_tokens), (2, 2, Some(40)));
        assert!(after.input_tokens.abs_diff(bytes) <= 1, "half a token a byte, as measured");
        let left = [false, true, true, false, false];
        assert_eq!(Estimate::new(&cases, &left, &who, Some(price), &replies).requests, 1, "a failure is left at that");
        assert!(after.usd.expect("known") < after.usd_at_most.expect("known"));
    }
}
