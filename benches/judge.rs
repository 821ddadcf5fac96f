//! A thousand judgements by a server that takes 50 ms for each, 32 at a time: how much longer than the 32 waves that this is
//! at least. What is measured is the client: connections, pacing, parsing, and storing every reply as it arrives.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

#[allow(dead_code)] // the tests use more of it
#[path = "../tests/support/server.rs"]
mod server;

use poq::executor::Quit;
use poq::judge::conversation::{Conversation, Order};
use poq::judge::http::Http;
use poq::judge::price::Purse;
use poq::judge::{Case, Purpose, Session, Who};
use poq::settings::{Backend, Judge};
use poq::store::replies::Replies;
use poq::store::samples;
use server::{Act, Server};
use std::time::{Duration, Instant};

const JUDGEMENTS: usize = 1000;
const CONCURRENCY: usize = 32;
const LATENCY: Duration = Duration::from_millis(50);
const REPEATS: usize = 5;

fn main() {
    let ideal = LATENCY.as_secs_f64() * JUDGEMENTS.div_ceil(CONCURRENCY) as f64;
    let mut seconds: Vec<f64> = (0..REPEATS).map(|_| run()).collect();
    seconds.sort_by(f64::total_cmp);
    println!(
        "judge: {JUDGEMENTS} judgements, {CONCURRENCY} at a time, {} ms each: median {:.3} s of {REPEATS} ({:.3} to {:.3}), \
         {:.3} times the ideal {ideal:.2} s",
        LATENCY.as_millis(),
        seconds[REPEATS / 2],
        seconds[0],
        seconds[REPEATS - 1],
        seconds[REPEATS / 2] / ideal
    );
}

fn run() -> f64 {
    let server = Server::start(|seen| Act::says(seen, r#"{"score": 7, "justification": "fine"}"#).after(LATENCY));
    let settings = Judge {
        backend: Backend::Chat,
        model: "bench".into(),
        base_url: Some(server.url()),
        concurrency: CONCURRENCY,
        ..Judge::default()
    };
    let cases: Vec<Case> = (0..JUDGEMENTS).map(|number| case(&settings, number)).collect();
    let directory = tempfile::tempdir().unwrap();
    let mut replies = Replies::open(&directory.path().join("replies.jsonl")).unwrap();
    let who = Who::new(&settings, server.url());
    let mut http = Http::new(&settings).unwrap();
    let (mut purse, quit) = (Purse::default(), Quit::default());
    let mut session = Session { who: &who, replies: &mut replies, purse: &mut purse, quit: &quit };
    let started = Instant::now();
    let verdicts = session.judge(&cases, vec![None; cases.len()], &mut http, &mut |_, _| {}).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    assert!(verdicts.iter().all(|verdict| verdict.score == Some(7.0)), "every answer is graded");
    assert_eq!(server.seen().len(), JUDGEMENTS, "each once");
    seconds
}

fn case(settings: &Judge, number: usize) -> Case {
    let task = samples::task(&format!("t{number}"));
    let output = format!("answer number {number}");
    let conversation = Conversation::about(&settings.system_prompt, &task, &output, Order::ReferenceFirst);
    Case {
        task_id: task.task_id,
        model: "m".into(),
        purpose: Purpose::Judgement,
        repeat: 0,
        conversation: Ok(conversation),
    }
}
