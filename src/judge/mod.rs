//! The LLM judge (Section 4.2, GPT based evaluation): sampled answers in, grades from 0 to 10 out.
//!
//! [`sample`] draws records, [`plan`] makes questions of them, [`verdict`] says what the replies that are there come to and
//! what is still to be asked, and a [`Backend`] asks: a [server](http), a decoder that poq runs [itself](local), or a
//! [recording](replay). Whatever comes back is stored by [`Replies`] before anything is made of it.

pub mod conversation;
pub mod estimate;
pub mod http;
pub mod injections;
pub mod local;
pub mod parse;
pub mod plan;
pub mod price;
pub mod replay;
pub mod rows;
pub mod sample;
pub mod verdict;

use crate::executor::{Interrupted, Quit};
use crate::settings::Judge;
use crate::store::Fingerprint;
use crate::store::replies::{Replies, Reply, ReplyRecord};
use anyhow::Result;
use conversation::Conversation;
use price::Purse;
use std::collections::HashMap;
use verdict::{Heard, Keys, Verdict};

/// One question to a judge about one answer.
#[derive(Debug, Clone)]
pub struct Case {
    /// The task that was answered.
    pub task_id: String,
    /// Node key of the inference node that answered.
    pub model: String,
    /// What the question is for.
    pub purpose: Purpose,
    /// Which repetition of the same question this is; 0 is the question itself.
    pub repeat: u32,
    /// What the judge is told, or why there is nothing to ask.
    pub conversation: Result<Conversation, String>,
}

/// What a question is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// To grade the answer.
    Judgement,
    /// To see whether the judge agrees with itself: the same question again.
    Repeat(u32),
    /// To see whether it matters what comes first, reference or candidate.
    Swap,
    /// To see how far an answer that dictates its score moves the judge.
    Injection(String),
    /// To see whether another judge agrees.
    Second,
}

impl Purpose {
    /// As written in `judge_checks`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Judgement => "judgement",
            Self::Repeat(_) => "repeat",
            Self::Swap => "swap",
            Self::Injection(_) => "injection",
            Self::Second => "second",
        }
    }

    /// Which of several; empty where there is but one.
    #[must_use]
    pub fn variant(&self) -> String {
        match self {
            Self::Repeat(number) => number.to_string(),
            Self::Injection(name) => name.clone(),
            Self::Judgement | Self::Swap | Self::Second => String::new(),
        }
    }
}

/// Who is asked, and how: what a reply depends on beside the question.
#[derive(Debug, Clone, PartialEq)]
pub struct Who {
    /// Name of the judge.
    pub name: String,
    /// Where it is: the server's address, or the hash of a local judge's files.
    pub place: String,
    /// 0 is greedy.
    pub temperature: f64,
    /// Limit on the tokens of a reply.
    pub max_output_tokens: usize,
    /// Seed of a local judge's streams.
    pub seed: u64,
}

impl Who {
    /// The judge of these settings.
    #[must_use]
    pub fn new(settings: &Judge, place: String) -> Self {
        Self {
            name: settings.model.clone(),
            place,
            temperature: settings.temperature,
            max_output_tokens: settings.max_output_tokens,
            seed: settings.seed,
        }
    }

    /// Hashes of a request. How it is dressed for one API or another is no part of it.
    #[must_use]
    pub fn keys(&self, conversation: &Conversation, repeat: u32) -> Keys {
        let mut content = Fingerprint::new("judge request")
            .text("judge", &self.name)
            .text("temperature", &self.temperature.to_bits().to_string())
            .text("max_output_tokens", &self.max_output_tokens.to_string())
            .text("repeat", &repeat.to_string());
        for turn in &conversation.0 {
            content = content.text(turn.role, &turn.content);
        }
        let content = content.key();
        let key = Fingerprint::new("judge request to").text("place", &self.place).text("content", &content).key();
        Keys { key, content }
    }
}

/// A question that has no reply yet.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Place of its case.
    pub index: usize,
    /// What the judge is told.
    pub conversation: Conversation,
    /// Its hashes.
    pub keys: Keys,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The judge replied, whatever it said.
    Reply(Reply),
    /// No reply came in the attempts there were, or the server does not take the question.
    Failed(String),
    /// It was not sent.
    NotAsked(String),
}

/// A question that is through.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Place of its case.
    pub index: usize,
    /// What became of it.
    pub answer: Answer,
    /// How often it was sent.
    pub attempts: u32,
    /// What the reply cost, in dollars; none where nobody knows.
    pub cost_usd: Option<f64>,
    /// What else may have been paid for, in dollars at most: attempts without a reply, and replies of unknown cost.
    pub lost_usd: f64,
    /// Whether a recording served it.
    pub replayed: bool,
}

/// Where it is told what becomes of questions; an error ends the asking.
pub trait Sink {
    /// A request is about to be sent that may cost so many dollars at most, with the attempts before it.
    fn sending(&mut self, index: usize, at_most_usd: f64) -> Result<()>;

    /// A question is through.
    fn answered(&mut self, answered: Answered, purse: &Purse) -> Result<()>;
}

/// Somebody who answers questions.
pub trait Backend {
    /// Puts the questions; each is answered once through `sink`, in any order. Fails when going on would be pointless (no
    /// such server, key refused) or a stop was asked for; what was answered before has been handed over then.
    fn ask(&mut self, asks: Vec<Ask>, purse: &mut Purse, quit: &Quit, sink: &mut dyn Sink) -> Result<()>;

    /// How it was asked, where that had to be found out.
    fn manner(&self) -> Option<String> {
        None
    }
}

/// Questions are put at most this often for a case: once, and once more after a reply that cannot be understood.
const ROUNDS: usize = 2;

/// What questions are put with.
pub struct Session<'a> {
    /// Who is asked.
    pub who: &'a Who,
    /// What was answered before, and where new replies go.
    pub replies: &'a mut Replies,
    /// What may be spent.
    pub purse: &'a mut Purse,
    /// Set by Ctrl-C.
    pub quit: &'a Quit,
}

impl Session<'_> {
    /// Puts what is not answered yet, stores every reply as it arrives, and says what each case came to. The same question
    /// is put once, however many cases ask it; cases that `failed` before are left at that. `done` hears how many cases
    /// more are through, and of the dollars spent so far.
    pub fn judge(
        &mut self,
        cases: &[Case],
        mut failed: Vec<Option<Verdict>>,
        backend: &mut dyn Backend,
        done: &mut dyn FnMut(usize, &Purse),
    ) -> Result<Vec<Verdict>> {
        let Self { who, replies, purse, quit } = self;
        for _ in 0..ROUNDS {
            let asks = open_questions(cases, who, replies, &failed);
            if asks.is_empty() {
                break;
            }
            let asked = asks.iter().map(|(ask, same)| (ask.index, (ask.keys.clone(), same.clone()))).collect();
            let asks = asks.into_iter().map(|(ask, _)| ask).collect();
            let mut keeper = Keeper { cases, who, replies, failed: &mut failed, asked, done: &mut *done };
            let outcome = backend.ask(asks, purse, quit, &mut keeper);
            replies.finish()?;
            outcome?;
            if quit.requested() {
                return Err(Interrupted.into());
            }
        }
        let verdict = |(case, failed): (&Case, Option<Verdict>)| {
            let heard = heard(case, who, replies);
            let not_asked = |verdict: Verdict| verdict.failing("it was not asked".to_owned(), 0);
            if heard.open.is_none() { heard.verdict } else { failed.unwrap_or_else(|| not_asked(heard.verdict)) }
        };
        Ok(cases.iter().zip(failed).map(verdict).collect())
    }
}

/// Stores what comes, and counts what is through.
struct Keeper<'a> {
    cases: &'a [Case],
    who: &'a Who,
    replies: &'a mut Replies,
    failed: &'a mut [Option<Verdict>],
    /// The keys of each question, and the cases that ask it.
    asked: HashMap<usize, (Keys, Vec<usize>)>,
    done: &'a mut dyn FnMut(usize, &Purse),
}

impl Sink for Keeper<'_> {
    fn sending(&mut self, index: usize, at_most_usd: f64) -> Result<()> {
        let (keys, same) = &self.asked[&index];
        let promise = ReplyRecord { promised_usd: at_most_usd, ..record(&self.cases[same[0]], keys) };
        if at_most_usd > 0.0 { self.replies.add(promise) } else { Ok(()) }
    }

    fn answered(&mut self, answered: Answered, purse: &Purse) -> Result<()> {
        let (keys, same) = &self.asked[&answered.index];
        if let Some(error) = answered.error() {
            for &index in same {
                let heard = heard(&self.cases[index], self.who, self.replies);
                let verdict = heard.verdict.failing(error.to_owned(), answered.attempts);
                let pending = matches!(answered.answer, Answer::NotAsked(_));
                self.failed[index] = Some(Verdict { pending, ..verdict });
            }
        }
        let Answered { answer, attempts, cost_usd, lost_usd, replayed, .. } = answered;
        let reply = if let Answer::Reply(reply) = answer { Some(reply) } else { None };
        // What was promised and not spent is taken back, too.
        if reply.is_some() || lost_usd > 0.0 || self.replies.is_promised(&keys.key) {
            let record = record(&self.cases[same[0]], keys);
            self.replies.add(ReplyRecord { attempts, cost_usd, lost_usd, replayed, reply, ..record })?;
        }
        let through = |index: &&usize| {
            let index = **index;
            self.failed[index].is_some() || heard(&self.cases[index], self.who, self.replies).open.is_none()
        };
        (self.done)(same.iter().filter(through).count(), purse);
        Ok(())
    }
}

/// What is kept of a question, before anything is known of the answer.
fn record(case: &Case, keys: &Keys) -> ReplyRecord {
    ReplyRecord {
        key: keys.key.clone(),
        content: keys.content.clone(),
        task_id: case.task_id.clone(),
        model: case.model.clone(),
        purpose: case.purpose.name().to_owned(),
        attempts: 0,
        cost_usd: None,
        lost_usd: 0.0,
        promised_usd: 0.0,
        replayed: false,
        reply: None,
    }
}

/// How far a case has come.
#[must_use]
pub fn heard(case: &Case, who: &Who, replies: &Replies) -> Heard {
    verdict::heard(case, who, |key| replies.get(key))
}

/// Lets a case be put again from the beginning.
pub fn forget(case: &Case, who: &Who, replies: &mut Replies) {
    for key in heard(case, who, replies).keys {
        replies.forget(&key);
    }
}

/// Questions without a reply, each with the cases that ask it.
fn open_questions(cases: &[Case], who: &Who, replies: &Replies, failed: &[Option<Verdict>]) -> Vec<(Ask, Vec<usize>)> {
    let mut asks: Vec<(Ask, Vec<usize>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, case) in cases.iter().enumerate().filter(|(index, _)| failed[*index].is_none()) {
        let Some((conversation, keys)) = heard(case, who, replies).open else { continue };
        let place = *places.entry(keys.key.clone()).or_insert(asks.len());
        if place == asks.len() {
            asks.push((Ask { index, conversation, keys }, Vec::new()));
        }
        asks[place].1.push(index);
    }
    asks
}

impl Answered {
    /// Why there is no reply.
    fn error(&self) -> Option<&str> {
        match &self.answer {
            Answer::Reply(_) => None,
            Answer::Failed(error) | Answer::NotAsked(error) => Some(error),
        }
    }
}
