//! A judge behind HTTP: any server that speaks `OpenAI`'s Responses API or its chat completions.
//!
//! [`wire`] knows how requests and replies look, [`send`] sends one and says what came of it, [`pace`] keeps to limits per
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
use crate::settings::{Judge, Price};
use anyhow::{Context as _, Result, anyhow};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use dialects::{Dialects, Next};
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use pace::Pace;
use send::{Sent, Server};
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

/// Where the judge of these settings is.
#[must_use]
pub fn base_url(settings: &Judge) -> String {
    let given = || std::env::var(BASE_URL).ok().map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
    settings.base_url.clone().or_else(given).unwrap_or_else(|| OPENAI.to_owned()).trim_end_matches('/').to_owned()
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
        let url = base_url(settings);
        anyhow::ensure!(
            url.starts_with("http://") || url.starts_with("https://"),
            "`{BASE_URL}` must begin with http:// or https://"
        );
        let server = Server::new(&url, &settings.key_env, Duration::from_secs_f64(settings.timeout_s))?;
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
        hold: Option<Instant>,
        pace: &Pace,
        quit: &Quit,
    ) -> Attempted {
        let ready = async {
            if let Some(moment) = job.not_before.max(hold) {
                sleep_until(moment).await;
            }
            pace.wait(self.tokens(&job.ask)).await;
        };
        if !before_quit(ready, quit).await {
            return (job, dialect, None);
        }
        job.attempts += 1;
        let body = dialect.body(&self.who, &job.ask.conversation);
        let sent = self.server.send(dialect, &body).await;
        (job, dialect, Some(sent))
    }

    async fn run(&mut self, asks: Vec<Ask>, purse: &mut Purse, quit: &Quit, sink: Sink<'_>) -> Result<()> {
        let largest = asks.iter().map(|ask| self.tokens(ask)).max().unwrap_or(0);
        let pace = Pace::new(self.settings.requests_per_minute, self.settings.tokens_per_minute, largest);
        let mut dialects = std::mem::take(&mut self.dialects);
        let outcome = self.drive(asks, &mut dialects, &pace, purse, quit, sink).await;
        self.dialects = dialects;
        outcome
    }

    async fn drive(
        &self,
        asks: Vec<Ask>,
        dialects: &mut Dialects,
        pace: &Pace,
        purse: &mut Purse,
        quit: &Quit,
        sink: Sink<'_>,
    ) -> Result<()> {
        let mut queue: VecDeque<Job> = asks.into_iter().map(|ask| self.job(ask)).collect();
        let mut flying = FuturesUnordered::new();
        let mut state = Conduct::default();
        loop {
            while state.stop.is_none() && !quit.requested() {
                // Until it is known what the server understands, one question has to find out.
                let room = if dialects.settled().is_some() { self.settings.concurrency } else { 1 };
                if flying.len() >= room {
                    break;
                }
                let Some(job) = queue.pop_front() else { break };
                if !purse.allows(job.at_most) {
                    queue.push_front(job);
                    if flying.is_empty() {
                        // Nothing under way could give some of its promise back.
                        for job in queue.drain(..) {
                            sink(job.through(Answer::NotAsked(over_budget(purse)), None), purse)?;
                        }
                    }
                    break;
                }
                purse.promise(job.at_most);
                flying.push(self.attempt(job, dialects.current(), state.hold, pace, quit));
            }
            let Some((job, dialect, sent)) = flying.next().await else { break };
            self.land(job, dialect, sent, dialects, &mut state, &mut queue, purse, sink)?;
        }
        state.stop.map_or(Ok(()), Err)
    }

    /// Takes in what came of an attempt.
    #[allow(clippy::too_many_arguments)] // the whole state of the loop
    fn land(
        &self,
        mut job: Job,
        dialect: Dialect,
        sent: Option<Sent>,
        dialects: &mut Dialects,
        state: &mut Conduct,
        queue: &mut VecDeque<Job>,
        purse: &mut Purse,
        sink: Sink<'_>,
    ) -> Result<()> {
        let promised = job.at_most;
        match sent {
            None => purse.settle(promised, 0.0),
            Some(Sent::Reply(reply)) => {
                dialects.settle(dialect);
                state.unanswered = 0;
                let cost = self.price.and_then(|price| price::of_reply(price, &reply));
                if cost.is_none() {
                    job.lost_usd += job.at_most;
                }
                purse.settle(promised, cost.unwrap_or(job.at_most));
                sink(job.through(Answer::Reply(reply), cost), purse)?;
            }
            Some(Sent::Again { why, after, maybe_paid }) => {
                let lost = if maybe_paid { job.at_most } else { 0.0 };
                job.lost_usd += lost;
                purse.settle(promised, lost);
                if let Some(wait) = after.filter(|wait| *wait > PATIENCE) {
                    let seconds = wait.as_secs();
                    state.stop_for(anyhow!("`{}` asks to wait for {seconds} s: {why}", self.server.base_url()));
                    return Ok(());
                }
                let now = Instant::now();
                state.hold = state.hold.max(after.map(|wait| now + wait));
                if let Some(delay) = job.delays.next() {
                    job.not_before = Some(now + delay.max(after.unwrap_or_default()));
                    queue.push_front(job);
                    return Ok(());
                }
                state.unanswered += 1;
                let why = format!("no reply in {} attempts: the last time {why}", job.attempts);
                let patience = if dialects.settled().is_some() { GONE } else { NEVER_THERE };
                if state.unanswered >= patience {
                    let url = self.server.base_url();
                    state.stop_for(anyhow!("`{url}` does not answer: {why}"));
                }
                sink(job.through(Answer::Failed(why), None), purse)?;
            }
            Some(Sent::Refused { status, why }) => {
                purse.settle(promised, 0.0);
                match dialects.refused(dialect, status) {
                    Next::TryAnother => queue.push_front(job),
                    Next::NotThisQuestion => sink(job.through(Answer::Failed(why), None), purse)?,
                    Next::NoDialectLeft => {
                        let url = self.server.base_url();
                        state.stop_for(anyhow!(
                            "`{url}` takes no request of poq's: {why}\nhint: does the address end where the API begins, e.g. in /v1?"
                        ));
                    }
                }
            }
            Some(Sent::Stop(error)) => {
                purse.settle(promised, 0.0);
                state.stop_for(error);
            }
        }
        Ok(())
    }
}

/// What the loop has learnt.
#[derive(Default)]
struct Conduct {
    /// The server asked everybody to wait until then.
    hold: Option<Instant>,
    /// Questions in a row that got no reply.
    unanswered: usize,
    /// Why nothing more is sent.
    stop: Option<anyhow::Error>,
}

impl Conduct {
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
    fn ask(&mut self, asks: Vec<Ask>, purse: &mut Purse, quit: &Quit, sink: Sink<'_>) -> Result<()> {
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
