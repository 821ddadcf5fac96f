//! A small HTTP server that does what a script says: answers, refuses, dawdles, or cuts the connection. It remembers every
//! request.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Path, e.g. `/v1/chat/completions`.
    pub path: String,
    /// Value of the `Authorization` header.
    pub authorization: Option<String>,
    /// Body.
    pub body: Value,
    /// When it was there.
    pub at: Instant,
    /// How often this body came before.
    pub before: usize,
    /// Whether the whole answer was sent.
    pub answered: bool,
}

impl Seen {
    /// The last message to the judge.
    pub fn asked(&self) -> &str {
        let messages = self.body.get("messages").or_else(|| self.body.get("input"));
        messages
            .and_then(Value::as_array)
            .and_then(|m| m.last())
            .and_then(|m| m["content"].as_str())
            .unwrap_or_default()
    }

    /// Everything that the judge was told.
    pub fn text(&self) -> String {
        self.body.to_string()
    }
}

/// What the server does about a request.
#[derive(Debug, Clone)]
pub struct Act {
    /// Waits first.
    pub delay: Duration,
    /// Status.
    pub status: u16,
    /// Headers beside the length.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
    /// Cuts the connection after so many bytes of the body.
    pub cut: Option<usize>,
}

impl Act {
    /// A body with a status.
    pub fn status(status: u16, body: impl Into<String>) -> Self {
        Self { delay: Duration::ZERO, status, headers: Vec::new(), body: body.into(), cut: None }
    }

    /// A judge's reply, in the form of the API that was asked.
    pub fn says(seen: &Seen, text: &str) -> Self {
        let usage = (seen.text().len() as u64 / 4, text.len() as u64 / 4);
        let body = if seen.path.ends_with("/responses") {
            json!({"status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}],
                   "usage": {"input_tokens": usage.0, "output_tokens": usage.1}})
        } else {
            json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
                   "usage": {"prompt_tokens": usage.0, "completion_tokens": usage.1}})
        };
        Self::status(200, body.to_string())
    }

    /// The same with a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same after a while.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// The same, cut off.
    pub fn cut(self, bytes: usize) -> Self {
        Self { cut: Some(bytes), ..self }
    }
}

type Script = dyn Fn(&Seen) -> Act + Send + Sync;

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    counts: HashMap<String, usize>,
}

/// The server; it stops when it is dropped.
pub struct Server {
    address: String,
    log: Arc<Mutex<Log>>,
    stopped: Arc<AtomicBool>,
}

impl Server {
    /// Starts it on a free port.
    pub fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (log, stopped) = (Arc::new(Mutex::new(Log::default())), Arc::new(AtomicBool::new(false)));
        let script: Arc<Script> = Arc::new(script);
        let shared = (Arc::clone(&log), Arc::clone(&stopped));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.1.load(Ordering::Relaxed) {
                    break;
                }
                let (script, log) = (Arc::clone(&script), Arc::clone(&shared.0));
                std::thread::spawn(move || {
                    // The client may be killed at any moment.
                    let _ = serve(stream, script.as_ref(), &log);
                });
            }
        });
        Self { address, log, stopped }
    }

    /// Where its API begins.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.log.lock().expect("the log").seen.clone()
    }

    /// How often each body was sent.
    pub fn sent(&self) -> HashMap<String, usize> {
        self.log.lock().expect("the log").counts.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(stream: TcpStream, script: &Script, log: &Mutex<Log>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some((path, authorization, body)) = read(&mut reader)? {
        let (seen, place) = {
            let mut log = log.lock().expect("the log");
            let count = log.counts.entry(body.to_string()).or_default();
            let before = *count;
            *count += 1;
            let seen = Seen { path, authorization, body, at: Instant::now(), before, answered: false };
            log.seen.push(seen.clone());
            (seen, log.seen.len() - 1)
        };
        let act = script(&seen);
        std::thread::sleep(act.delay);
        let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", act.status, act.body.len());
        for (name, value) in &act.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let body = &act.body.as_bytes()[..act.cut.unwrap_or(act.body.len())];
        writer.write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
        writer.flush()?;
        if act.cut.is_some() {
            return writer.shutdown(Shutdown::Both);
        }
        log.lock().expect("the log").seen[place].answered = true;
    }
    Ok(())
}

/// Path, key and body of the next request; none at the connection's end.
fn read(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Option<String>, Value)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a length"),
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((path, authorization, serde_json::from_slice(&body).unwrap_or(Value::Null))))
}
