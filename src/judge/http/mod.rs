//! A judge behind HTTP: any server that speaks `OpenAI`'s Responses API or its chat completions.
//!
//! `wire` knows how requests and replies look, `send` sends one and says what came of it, `pace` keeps to limits per
//! minute. Here is the loop: so many requests under way, retries with back-off, a pause when the server asks for one,
//! a budget that is asked before every request, and a first request that finds out what the server understands.

mod dialects;
mod pace;
mod secret;
mod send;
mod wire;

use super::price::{self, Purse};
use super::{Answer, Answered, Ask, Backend, Sink, Who};
use crate::executor::Quit;
use crate::settings::{Judge, Price, check_url};
use anyhow::{Context as _, Result, anyhow};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use dialects::{Dialects, Next};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use pace::Pace;
use secret::Secret;
pub use send::KeyRefused;
use send::{Sent, Server};
use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use wire::Dialect;

/// Where `OpenAI`'s API begins.
const OPENAI: &str = "https://api.openai.com/v1";

/// Environment variable of `OpenAI`'s own clients.
const BASE_URL: &str = "OPENAI_BASE_URL";

/// Delay before the second attempt; it doubles from then on, and up to the same again is added by chance.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// Longest delay that is chosen here; a server may ask for more.
const LONGEST_DELAY: Duration = Duration::from_mins(1);

/// Longest wait that a server may ask for before the stage ends instead.
const PATIENCE: Duration = Duration::from_mins(10);

/// Time between two looks at the quit flag.
const GLANCE: Duration = Duration::from_millis(100);

/// Questions in a row without a reply after which the server counts as gone.
const GONE: usize = 10;

/// The same for a server that has not replied yet.
const NEVER_THERE: usize = 3;

/// A server that judges.
pub struct Http {
    server: Server,
    who: Who,
    price: Option<Price>,
    settings: Judge,
    dialects: Dialects,
}

/// Whether there is a key for the judge of these settings.
#[must_use]
pub fn has_key(settings: &Judge) -> bool {
    Secret::from_env(&settings.key_env).is_some()
}

/// Where the judge of these settings is.
pub fn base_url(settings: &Judge) -> Result<String> {
    let given = || std::env::var(BASE_URL).ok().map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
    let url = match (&settings.base_url, given()) {
        (Some(url), _) => url.clone(),
        (None, Some(url)) => {
            check_url(BASE_URL, &url, &settings.key_env)?;
            url
        }
        (None, None) => OPENAI.to_owned(),
    };
    Ok(url.trim_end_matches('/').to_owned())
}

/// A question on its way.
struct Job {
    ask: Ask,
    attempts: u32,
    delays: ExponentialBackoff,
    not_before: Option<Instant>,
    /// Dollars that one attempt may cost at most.
    at_most: f64,
    lost_usd: f64,
}

/// What came of an attempt; none where a stop was asked for before it was made.
type Attempted = (Job, Dialect, Option<Sent>);

impl Http {
    /// Makes a client for the judge of these settings; nothing is sent yet.
    pub fn new(settings: &Judge) -> Result<Self> {
        let url = base_url(settings)?;
        let timeout = Duration::from_secs_f64(settings.timeout_s);
        let server = Server::new(&url, &settings.key_env, settings.organization.as_deref(), timeout)?;
        let dialects = Dialects::new(settings.backend, url == OPENAI);
        Ok(Self { who: Who::new(settings, url), server, price: settings.price(), settings: settings.clone(), dialects })
    }

    /// Something to know before anything is sent.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let url = self.server.base_url();
        self.server.shows_key().then(|| format!("the key in `{}` goes to `{url}` unencrypted", self.settings.key_env))
    }

    fn job(&self, ask: Ask) -> Job {
        let at_most = self
            .price
            .map_or(0.0, |price| price::at_most(price, ask.conversation.bytes(), self.settings.max_output_tokens));
        let delays = ExponentialBuilder::default()
            .with_min_delay(FIRST_DELAY)
            .with_max_delay(LONGEST_DELAY)
            .with_max_times(self.settings.max_retries as usize)
            .with_jitter()
            .build();
        Job { ask, attempts: 0, delays, not_before: None, at_most, lost_usd: 0.0 }
    }

    /// Tokens that a request counts for.
    fn tokens(&self, ask: &Ask) -> usize {
        price::tokens_of(ask.conversation.bytes()) + self.settings.max_output_tokens
    }

    async fn attempt(
        &self,
        mut job: Job,
        dialect: Dialect,
        hold: &Cell<Option<Instant>>,
        pace: &Pace,
        quit: &Quit,
    ) -> Attempted {
        let ready = async {
            if let Some(moment) = job.not_before {
                sleep_until(moment).await;
            }
            pace.wait(self.tokens(&job.ask)).await;
            // The server may have asked for a pause meanwhile, and for another one during that.
            while let Some(moment) = hold.get().filter(|moment| *moment > Instant::now()) {
                sleep_until(moment).await;
            }
        };
        if !before_quit(ready, quit).await {
            return (job, dialect, None);
        }
        job.attempts += 1;
        let body = dialect.body(&self.who, &job.ask.conversation);
        let sent = self.server.send(dialect, &body).await;
        (job, dialect, Some(sent))
    }

    async fn run(&mut self, asks: Vec<Ask>, purse: &mut Purse, quit: &Quit, sink: &mut dyn Sink) -> Result<()> {
        let largest = asks.iter().map(|ask| self.tokens(ask)).max().unwrap_or(0);
        let pace = Pace::new(self.settings.requests_per_minute, self.settings.tokens_per_minute, largest);
        let (dialects, hold) = (std::mem::take(&mut self.dialects), Cell::new(None));
        let queue = asks.into_iter().map(|ask| self.job(ask)).collect();
        let mut flight = Flight {
            http: self,
            queue,
            dialects,
            purse,
            sink,
            hold: &hold,
            unanswered: (0, String::new()),
            stop: None,
        };
        let outcome = flight.fly(&pace, quit).await;
        self.dialects = flight.dialects;
        outcome
    }
}

/// The loop: questions that wait, and what was learnt of the server.
struct Flight<'a> {
    http: &'a Http,
    queue: VecDeque<Job>,
    dialects: Dialects,
    purse: &'a mut Purse,
    sink: &'a mut dyn Sink,
    /// The server asked everybody to wait until then.
    hold: &'a Cell<Option<Instant>>,
    /// Questions in a row that got no reply, and why the last one got none.
    unanswered: (usize, String),
    /// Why nothing more is sent.
    stop: Option<anyhow::Error>,
}

impl Flight<'_> {
    async fn fly(&mut self, pace: &Pace, quit: &Quit) -> Result<()> {
        let mut flying = FuturesUnordered::new();
        loop {
            while self.stop.is_none() && !quit.requested() {
                // Until it is known what the server understands, one question has to find out.
                let room = if self.dialects.settled().is_some() { self.http.settings.concurrency } else { 1 };
                if flying.len() >= room {
                    break;
                }
                let Some(job) = self.queue.pop_front() else { break };
                if !self.purse.allows(job.at_most) {
                    self.queue.push_front(job);
                    if flying.is_empty() {
                        // Nothing under way could give some of its promise back.
                        self.give_up(&over_budget(self.purse))?;
                    }
                    break;
                }
                self.purse.promise(job.at_most);
                self.sink.sending(job.ask.index, job.lost_usd + job.at_most)?;
                flying.push(self.http.attempt(job, self.dialects.current(), self.hold, pace, quit));
            }
            let Some((job, dialect, sent)) = flying.next().await else { break };
            self.land(job, dialect, sent)?;
        }
        if self.dialects.settled().is_none() && self.unanswered.0 > 0 {
            let url = self.http.server.base_url();
            self.stop_for(anyhow!("`{url}` does not answer: {}", self.unanswered.1));
        }
        // What was sent for them may have to be paid: it must not be forgotten.
        self.give_up("not asked to the end: the asking was stopped")?;
        self.stop.take().map_or(Ok(()), Err)
    }

    /// Ends every question that waits.
    fn give_up(&mut self, why: &str) -> Result<()> {
        while let Some(job) = self.queue.pop_front() {
            self.sink.answered(job.through(Answer::NotAsked(why.to_owned()), None), self.purse)?;
        }
        Ok(())
    }

    /// Takes in what came of an attempt.
    fn land(&mut self, mut job: Job, dialect: Dialect, sent: Option<Sent>) -> Result<()> {
        let promised = job.at_most;
        match sent {
            None => {
                self.purse.settle(promised, 0.0);
                self.queue.push_front(job);
            }
            Some(Sent::Reply(reply)) => {
                self.dialects.settle(dialect);
                self.unanswered.0 = 0;
                let cost = self.http.price.and_then(|price| price::of_reply(price, &reply));
                if cost.is_none() {
                    job.lost_usd += job.at_most;
                }
                self.purse.settle(promised, cost.unwrap_or(job.at_most));
                self.sink.answered(job.through(Answer::Reply(reply), cost), self.purse)?;
            }
            Some(Sent::Again { why, after, maybe_paid }) => {
                let lost = if maybe_paid { job.at_most } else { 0.0 };
                job.lost_usd += lost;
                self.purse.settle(promised, lost);
                self.again(job, &why, after)?;
            }
            Some(Sent::Refused(refusal)) => {
                self.purse.settle(promised, 0.0);
                match self.dialects.refused(dialect, &refusal) {
                    Next::TryAnother => self.queue.push_front(job),
                    Next::NotThisQuestion(why) => {
                        self.sink.answered(job.through(Answer::Failed(why), None), self.purse)?;
                    }
                    Next::NoDialectLeft(why) => {
                        self.queue.push_front(job);
                        let url = self.http.server.base_url();
                        self.stop_for(anyhow!(
                            "`{url}` takes no request of poq's: {why}\n\
                             hint: does the address end where the API begins, e.g. in /v1?"
                        ));
                    }
                }
            }
            Some(Sent::Stop(error)) => {
                self.purse.settle(promised, 0.0);
                self.queue.push_front(job);
                self.stop_for(error);
            }
        }
        Ok(())
    }

    /// No reply came: the question waits for another attempt, or is given up.
    fn again(&mut self, mut job: Job, why: &str, after: Option<Duration>) -> Result<()> {
        let url = self.http.server.base_url();
        if let Some(wait) = after.filter(|wait| *wait > PATIENCE) {
            self.stop_for(anyhow!("`{url}` asks to wait for {} s: {why}", wait.as_secs()));
            self.queue.push_front(job);
            return Ok(());
        }
        let now = Instant::now();
        self.hold.set(self.hold.get().max(after.map(|wait| now + wait)));
        if let Some(delay) = job.delays.next() {
            job.not_before = Some(now + delay.max(after.unwrap_or_default()));
            self.queue.push_front(job);
            return Ok(());
        }
        let why = format!("no reply in {} attempts: the last time {why}", job.attempts);
        self.unanswered = (self.unanswered.0 + 1, why.clone());
        let patience = if self.dialects.settled().is_some() { GONE } else { NEVER_THERE };
        if self.unanswered.0 >= patience {
            self.stop_for(anyhow!("`{url}` does not answer: {why}"));
        }
        self.sink.answered(job.through(Answer::Failed(why), None), self.purse)
    }

    fn stop_for(&mut self, error: anyhow::Error) {
        self.stop.get_or_insert(error);
    }
}

impl Job {
    fn through(self, answer: Answer, cost_usd: Option<f64>) -> Answered {
        let Self { ask, attempts, lost_usd, .. } = self;
        Answered { index: ask.index, answer, attempts, cost_usd, lost_usd, replayed: false }
    }
}

fn over_budget(purse: &Purse) -> String {
    format!(
        "not asked: the budget of ${} might be passed; ${:.6} are spent",
        purse.budget().unwrap_or(0.0),
        purse.spent()
    )
}

/// Waits for something; false where a stop was asked for first.
async fn before_quit(ready: impl Future<Output = ()>, quit: &Quit) -> bool {
    let stopped = async {
        while !quit.requested() {
            sleep(GLANCE).await;
        }
    };
    matches!(select(pin!(ready), pin!(stopped)).await, Either::Left(_)) && !quit.requested()
}

impl Backend for Http {
    fn ask(&mut self, asks: Vec<Ask>, purse: &mut Purse, quit: &Quit, sink: &mut dyn Sink) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the network's runtime")?;
        runtime.block_on(self.run(asks, purse, quit, sink))
    }

    fn manner(&self) -> Option<String> {
        self.dialects.settled().map(Dialect::name)
    }
}
