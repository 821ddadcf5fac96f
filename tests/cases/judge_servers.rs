//! Servers that misbehave, a client that is killed, and a real server: every row ends scored or failed with its reason, and
//! nothing is sent more often than the policy allows.

#![allow(clippy::print_stderr)]

use crate::judge::{KEY, command, grader, judge, judgements, run_of};
use crate::support::server::{Act, Seen, Server};
use crate::support::{Ran, Scratch, answers, import, repository};
use poq::store::rows::JudgementRow;
use serde_json::json;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const GOOD: &str = r#"{"score": 7, "justification": "right"}"#;

/// What goes wrong, by the word that the answer holds; and how the row must end.
const TROUBLE: [(&str, &str); 12] = [
    ("wait", "scored"),
    ("broken", "scored"),
    ("always-broken", "no reply in 3 attempts"),
    ("cut", "scored"),
    ("late", "no reply in 3 attempts"),
    ("prose", "scored"),
    ("prose-twice", "holds no JSON object, asked once more"),
    ("eleven", "the score 11 lies outside 0..10"),
    ("empty", "the reply is empty"),
    ("refusal", "the judge declined"),
    ("fence", "scored"),
    ("not-json-body", "scored"),
];

fn misbehave(seen: &Seen) -> Act {
    let text = seen.text();
    let trouble = TROUBLE.iter().rev().find(|(word, _)| text.contains(&format!("trouble {word}."))).map_or("", |t| t.0);
    let again = text.contains("It cannot be used");
    let first = seen.before == 0;
    match trouble {
        "wait" if first => Act::status(429, r#"{"error": {"message": "slow down"}}"#).header("retry-after", "1"),
        "broken" if seen.before < 2 => Act::status(500, "<html>oops</html>"),
        "always-broken" => Act::status(503, format!(r#"{{"error": {{"message": "down, says {KEY}"}}}}"#)),
        "cut" if first => Act::says(seen, GOOD).cut(20),
        "late" => Act::says(seen, GOOD).after(Duration::from_millis(1500)),
        "prose" if !again => Act::says(seen, "I would give it a seven."),
        "prose-twice" => Act::says(seen, &format!("Seven it is. {KEY}")),
        "eleven" => Act::says(seen, r#"{"score": 11, "justification": "better than good"}"#),
        "empty" => Act::says(seen, ""),
        "refusal" => {
            let message = json!({"content": null, "refusal": "I will not grade this."});
            Act::status(200, json!({"choices": [{"finish_reason": "stop", "message": message}]}).to_string())
        }
        "fence" => Act::says(seen, &format!("```json\n{GOOD}\n```")),
        "not-json-body" if first => Act::status(200, "<html>a proxy's page</html>"),
        _ => Act::says(seen, GOOD),
    }
}

fn troubled() -> Scratch {
    let scratch = Scratch::new();
    let content = answers(TROUBLE.len(), 1, |t, _| format!("trouble {}.", TROUBLE[t].0));
    import(&scratch, &content, &["tiny_bi"], &[]);
    scratch
}

fn by_trouble(scratch: &Scratch) -> HashMap<&'static str, JudgementRow> {
    let number = |row: &JudgementRow| row.task_id[1..].parse::<usize>().expect("a number");
    judgements(scratch).into_iter().map(|row| (TROUBLE[number(&row)].0, row)).collect()
}

#[test]
fn whatever_a_server_does_every_row_ends_scored_or_failed_with_its_reason() {
    let scratch = troubled();
    let server = Server::start(misbehave);
    let more = ["--timeout", "0.7", "--max-retries", "2", "--concurrency", "12"];
    judge(&scratch, &server.url(), &more, 1).says(&["the judge declined to grade 1 answers"]);
    let rows = by_trouble(&scratch);
    assert_eq!(rows.len(), TROUBLE.len(), "no row is lost");
    for (word, end) in TROUBLE {
        let row = &rows[word];
        if end == "scored" {
            assert_eq!((row.score, row.error.as_deref()), (Some(7.0), None), "{word}: {row:?}");
        } else {
            let error = row.error.as_deref().unwrap_or_default();
            assert!(row.score.is_none() && error.contains(end), "{word}: {row:?}");
        }
    }
    assert_eq!((rows["fence"].repaired, rows["prose"].replies, rows["wait"].attempts), (Some(true), 2, 2));
    assert!(rows["refusal"].refused && rows["refusal"].raw_reply.as_deref() == Some("I will not grade this."));
    assert!(rows["always-broken"].error.as_deref().is_some_and(|e| e.contains("503") && e.contains("[key]")));
    assert!(rows["late"].error.as_deref().is_some_and(|e| e.contains("did not answer in time")));
    // Three attempts for a question, and a second question after a reply that cannot be understood.
    assert!(server.sent().values().all(|&times| times <= 3), "{:?}", server.sent().values());
    for (word, most) in [("refusal", 1), ("prose", 2), ("eleven", 2), ("empty", 2), ("fence", 1), ("late", 3)] {
        let times = server.seen().iter().filter(|seen| seen.text().contains(&format!("trouble {word}."))).count();
        assert_eq!(times, most, "{word}");
    }
    let wait: Vec<_> = server.seen().into_iter().filter(|seen| seen.text().contains("trouble wait.")).collect();
    assert!(wait[1].at - wait[0].at >= Duration::from_secs(1), "Retry-After is honoured");

    // Failures are left alone until they are asked for, then only they are.
    let before = server.seen().len();
    judge(&scratch, &server.url(), &more, 1).says(&["judge: 12 rows, nothing to do"]);
    assert_eq!(server.seen().len(), before);
    judge(&scratch, &server.url(), &[&more[..], &["--retry-failed"]].concat(), 1);
    let again: Vec<Seen> = server.seen().split_off(before);
    let failing = |seen: &Seen| {
        TROUBLE.iter().any(|(word, end)| *end != "scored" && seen.text().contains(&format!("trouble {word}.")))
    };
    assert!(!again.is_empty() && again.iter().all(failing));
}

#[test]
fn a_server_that_wants_another_key_or_path_or_is_gone_ends_the_stage_with_a_hint() {
    let scratch = run_of(4, 1);
    let refuses = |status: u16, body: String| Server::start(move |_| Act::status(status, body.clone()));
    let said = format!(r#"{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}"#);
    let server = refuses(401, said);
    judge(&scratch, &server.url(), &[], 2).says(&["does not accept the key in `OPENAI_API_KEY`"]);
    assert_eq!(server.seen().len(), 1, "once is enough");
    let server = refuses(401, "{}".into());
    judge(&scratch, &server.url(), &["--key-env", "POQ_NO_SUCH_KEY"], 2).says(&["wants a key", "`POQ_NO_SUCH_KEY`"]);
    let server = refuses(404, "{}".into());
    judge(&scratch, &server.url(), &["--backend", "auto"], 2).says(&["takes no request", "/v1"]);
    assert_eq!(server.seen().len(), 2, "each API once");
    let server = refuses(404, r#"{"error": {"code": "model_not_found", "message": "no model grader"}}"#.into());
    judge(&scratch, &server.url(), &[], 2).says(&["does not know the model", "no model grader"]);
    let server = refuses(429, r#"{"error": {"code": "insufficient_quota", "message": "add money"}}"#.into());
    judge(&scratch, &server.url(), &[], 2).says(&["has nothing left", "add money"]);
    let server = refuses(302, String::new());
    judge(&scratch, &server.url(), &[], 2).says(&["somewhere else"]);
    judge(&scratch, "http://127.0.0.1:9/v1", &["--max-retries", "1"], 2)
        .says(&["does not answer", "cannot be reached"]);
    assert!(!scratch.path("results/own/judgements.parquet").exists());
}

#[test]
fn a_server_is_spoken_to_as_it_understands() {
    let of = |script: fn(&Seen) -> Act, backend: &str| {
        let scratch = run_of(3, 1);
        let server = Server::start(script);
        judge(&scratch, &server.url(), &["--backend", backend], 0).says(&["3 of 3 answers graded"]);
        server
            .seen()
            .into_iter()
            .map(|seen| (seen.path, seen.body["response_format"]["type"].clone()))
            .collect::<Vec<_>>()
    };
    let strict = "/v1/chat/completions".to_owned();
    let seen = of(
        |seen| {
            if seen.body["response_format"]["type"] == "json_schema" { Act::status(400, "{}") } else { grader(seen) }
        },
        "chat",
    );
    assert_eq!(seen[..2], [(strict.clone(), "json_schema".into()), (strict.clone(), "json_object".into())]);
    assert!(seen.len() == 4 && seen[1..].iter().all(|seen| seen.1 == "json_object"), "found out once: {seen:?}");
    let seen =
        of(|seen| if seen.path.ends_with("completions") { Act::status(404, "{}") } else { grader(seen) }, "auto");
    assert!(seen.len() == 4 && seen[1..].iter().all(|seen| seen.0 == "/v1/responses"), "{seen:?}");
    assert!(of(grader, "auto").iter().all(|seen| seen.0 == strict));
    assert!(of(grader, "responses").iter().all(|seen| seen.0 == "/v1/responses"));
}

#[test]
fn one_question_that_a_server_does_not_take_is_one_failed_row() {
    let scratch = run_of(5, 1);
    let server = Server::start(|seen| {
        if seen.asked().contains("lamp 3 says") {
            Act::status(400, r#"{"error": {"message": "too long"}}"#)
        } else {
            grader(seen)
        }
    });
    judge(&scratch, &server.url(), &[], 1);
    let rows = judgements(&scratch);
    let failed: Vec<&JudgementRow> = rows.iter().filter(|row| row.error.is_some()).collect();
    assert!(rows.len() == 5 && failed.len() == 1 && failed[0].task_id == "t003");
    assert!(failed[0].error.as_deref().is_some_and(|error| error.contains("400") && error.contains("too long")));
}

#[test]
fn ten_kills_pay_for_nothing_twice() {
    let scratch = run_of(60, 2);
    let slow = |seen: &Seen| grader(seen).after(Duration::from_millis(30));
    let server = Server::start(slow);
    let replies = scratch.path("results/own/judge_replies.jsonl");
    let more = ["--n-group", "60", "--concurrency", "4", "--quiet"];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for kill in 0..10 {
        let recorded = std::fs::read_to_string(&replies).unwrap_or_default();
        let known = recorded.matches('\n').count();
        let before = server.seen().len();
        let mut child = command(&scratch, &server.url(), &more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("poq starts");
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_millis(40 + (state >> 40) % 120);
        std::thread::sleep(moment);
        if kill % 2 == 0 {
            child.kill().expect("kill");
        } else {
            // Ctrl-C: what is under way is waited for.
            let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
            assert!(interrupted.success());
        }
        child.wait().expect("wait");
        std::thread::sleep(Duration::from_millis(50));
        // What was recorded is not asked again; what was under way at the moment of a kill may be.
        let after: Vec<Seen> = server.seen().split_off(before);
        assert!(
            after.iter().filter(|seen| seen.before > 0).count() <= 4,
            "kill {kill}: more was asked again than was under way"
        );
        assert!(known <= 120);
    }
    judge(&scratch, &server.url(), &more, 0);
    let rows = judgements(&scratch);
    assert!(rows.len() == 120 && rows.iter().all(|row| row.score.is_some()));
    let calm = run_of(60, 2);
    judge(&calm, &server.url(), &more, 0);
    let plain = |scratch: &Scratch| -> Vec<JudgementRow> {
        judgements(scratch)
            .into_iter()
            .map(|row| JudgementRow { latency_ms: None, place: String::new(), work_key: String::new(), ..row })
            .collect()
    };
    assert_eq!(plain(&scratch), plain(&calm), "killed ten times or undisturbed: the same rows");
}

#[test]
fn a_recorded_reply_is_never_asked_for_again() {
    let scratch = run_of(30, 1);
    let server = Server::start(|seen| grader(seen).after(Duration::from_millis(20)));
    let more = ["--concurrency", "2"];
    let mut child = command(&scratch, &server.url(), &more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("poq starts");
    let replies = scratch.path("results/own/judge_replies.jsonl");
    while std::fs::read_to_string(&replies).unwrap_or_default().lines().count() < 7 {
        std::thread::sleep(Duration::from_millis(5));
        assert!(child.try_wait().expect("wait").is_none(), "it ended before it could be killed");
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    let recorded = std::fs::read_to_string(&replies).expect("read").matches('\n').count();
    let before = server.seen().len();
    judge(&scratch, &server.url(), &more, 0);
    assert_eq!(server.seen().len() - before, 30 - recorded, "exactly what was not recorded");
}

/// A real server: llama.cpp's own, from a package, with the weights of `smollm2_135m`.
struct LlamaServer(Child, String);

impl LlamaServer {
    /// None where package or weights are not there; said aloud, so that nobody takes it for a pass.
    fn start() -> Option<Self> {
        let python = repository().join(".venv/judge/bin/python");
        let weights = repository().join("models/.cache/artifacts/b179c9523d0e6a0f-weights.gguf");
        if !python.exists() || !weights.exists() {
            eprintln!("not run: a real server needs `just judge-server` and `just models`");
            return None;
        }
        let mut child = Command::new(python)
            .arg(repository().join("tests/judge_server.py"))
            .arg(weights)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut url).expect("it says where it is");
        assert!(url.starts_with("http://"), "the server did not start: `{url}`");
        Some(Self(child, format!("{}/v1", url.trim())))
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn thirty_records_are_judged_by_a_real_server() {
    let Some(server) = LlamaServer::start() else { return };
    let scratch = run_of(30, 1);
    let output =
        command(&scratch, &server.1, &["--concurrency", "2", "--backend", "auto"]).output().expect("poq starts");
    let ran = Ran::from(output);
    // A model of 135 M parameters finds scores like 950 for some answers: rows with that reason are as they should be.
    assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.stderr);
    let rows = judgements(&scratch);
    assert_eq!(rows.len(), 30);
    for row in &rows {
        let graded = row.score.is_some_and(|score| (0.0..=10.0).contains(&score)) && row.replies <= 2;
        let refused = row.error.as_deref().is_some_and(|error| error.contains("asked once more")) && row.replies == 2;
        assert!(graded != refused, "{row:?}");
        assert!(row.input_tokens > Some(50) && row.output_tokens > Some(5) && row.finish_reason.is_some(), "{row:?}");
    }
    assert!(rows.iter().filter(|row| row.score.is_some()).count() >= 10, "{}", ran.stderr);
}
