//! Verdicts as rows of the tables.

use super::verdict::Verdict;
use super::{Case, Who, price};
use crate::settings::Price;
use crate::store::rows::{JudgeCheckRow, JudgementRow};
use std::collections::{HashMap, HashSet};

/// Makes rows of verdicts. Where cases share a question, the first one carries what it cost.
pub struct Rows<'a> {
    who: &'a Who,
    price: Option<Price>,
    seen: HashSet<String>,
}

impl<'a> Rows<'a> {
    /// For the verdicts of one judge.
    #[must_use]
    pub fn new(who: &'a Who, price: Option<Price>) -> Self {
        Self { who, price, seen: HashSet::new() }
    }

    /// The row of a judgement.
    pub fn judgement(&mut self, case: &Case, verdict: &Verdict) -> JudgementRow {
        let (work_key, first) = self.key(case);
        let last = verdict.replies.last();
        let tokens = |total: Option<u64>| total.and_then(|tokens| i64::try_from(tokens).ok());
        JudgementRow {
            task_id: case.task_id.clone(),
            model: case.model.clone(),
            judge: self.who.name.clone(),
            place: self.who.place.clone(),
            score: verdict.score,
            justification: verdict.justification.clone(),
            raw_reply: last.map(|reply| reply.refusal.clone().unwrap_or_else(|| reply.text.clone())),
            repaired: verdict.repaired,
            refused: verdict.refused,
            pending: verdict.pending,
            replies: i32::try_from(verdict.replies.len()).unwrap_or(i32::MAX),
            attempts: i32::try_from(verdict.attempts).unwrap_or(i32::MAX),
            finish_reason: last.and_then(|reply| reply.finish_reason.clone()),
            input_tokens: tokens(verdict.total(|reply| reply.input_tokens)),
            cached_tokens: tokens(verdict.total(|reply| reply.cached_tokens)),
            output_tokens: tokens(verdict.total(|reply| reply.output_tokens)),
            cost_usd: self.cost(verdict, first),
            latency_ms: last.and_then(|reply| reply.latency_ms),
            error: verdict.error.clone(),
            work_key,
        }
    }

    /// The row of a check; `baselines` are the grades of `judgements` by task and model.
    pub fn check(
        &mut self,
        case: &Case,
        verdict: &Verdict,
        baselines: &HashMap<(&str, &str), Option<f64>>,
    ) -> JudgeCheckRow {
        let row = self.judgement(case, verdict);
        let baseline = baselines.get(&(case.task_id.as_str(), case.model.as_str())).copied().flatten();
        JudgeCheckRow {
            task_id: row.task_id,
            model: row.model,
            check: case.purpose.name().to_owned(),
            variant: case.purpose.variant(),
            judge: row.judge,
            score: row.score,
            baseline,
            raw_reply: row.raw_reply,
            attempts: row.attempts,
            pending: row.pending,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cost_usd: row.cost_usd,
            error: row.error,
            work_key: row.work_key,
        }
    }

    /// The key of a case's first question, and whether no case before it had the same.
    fn key(&mut self, case: &Case) -> (String, bool) {
        let key = match &case.conversation {
            Ok(conversation) => self.who.keys(conversation, case.repeat).key,
            Err(_) => String::new(),
        };
        let first = self.seen.insert(key.clone());
        (key, first)
    }

    /// Nothing where nothing was answered; unknown where a price or a count of tokens is.
    fn cost(&self, verdict: &Verdict, first: bool) -> Option<f64> {
        if !first && !verdict.replies.is_empty() {
            return Some(0.0);
        }
        let price = self.price?;
        verdict.total(|reply| price::of_reply(price, reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Purpose;
    use crate::judge::conversation::{Conversation, Order};
    use crate::store::replies::Reply;
    use crate::store::samples;

    fn case(model: &str, output: &str) -> Case {
        let conversation = Conversation::about("s", &samples::task("t"), output, Order::ReferenceFirst);
        Case {
            task_id: "t".into(),
            model: model.into(),
            purpose: Purpose::Swap,
            repeat: 0,
            conversation: Ok(conversation),
        }
    }

    #[test]
    fn what_two_cases_share_is_paid_once_and_unknown_is_not_zero() {
        let who = Who { name: "j".into(), place: "p".into(), temperature: 0.0, max_output_tokens: 9, seed: 1 };
        let price =
            Price { input_usd_per_million: 1.0, cached_input_usd_per_million: None, output_usd_per_million: 2.0 };
        let reply = Reply { text: "x".into(), input_tokens: Some(1000), output_tokens: Some(500), ..Reply::default() };
        let verdict = Verdict { score: Some(3.0), replies: vec![reply.clone(), reply], ..Verdict::default() };
        let mut rows = Rows::new(&who, Some(price));
        let costs: Vec<Option<f64>> = [case("m", "same"), case("n", "same"), case("o", "other")]
            .iter()
            .map(|case| rows.judgement(case, &verdict).cost_usd)
            .collect();
        assert_eq!(costs, [Some(0.004), Some(0.0), Some(0.004)]);
        let row = Rows::new(&who, None).judgement(&case("m", "same"), &verdict);
        assert_eq!((row.cost_usd, row.input_tokens, row.cached_tokens, row.replies), (None, Some(2000), None, 2));

        let baselines = HashMap::from([(("t", "m"), Some(8.0))]);
        let check = Rows::new(&who, None).check(&case("m", "same"), &verdict, &baselines);
        assert_eq!((check.check.as_str(), check.baseline, check.score), ("swap", Some(8.0), Some(3.0)));
        let failed = Verdict::default().failing("no".into(), 3);
        let row = Rows::new(&who, Some(price)).judgement(&case("m", "x"), &failed);
        assert_eq!((row.cost_usd, row.raw_reply, row.attempts), (None, None, 3));
    }
}
