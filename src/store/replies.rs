//! `judge_replies.jsonl`: every reply of a judge, a line each, written the moment it arrives. It is what makes sure that
//! nobody pays twice, and what `poq judge --replay` serves to people without a key.
//!
//! A line is appended by one write and never changed. A kill may leave an unfinished last line: it is cut off when the file
//! is opened again.

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time between two syncs to the disk. A kill loses nothing that was written; a power cut loses this much.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyRecord {
    /// Hash of the request and of who was asked.
    pub key: String,
    /// Hash of the request alone: what a replay looks for.
    pub content: String,
    /// The task that was answered, for people.
    pub task_id: String,
    /// The model whose answer was judged, for people.
    pub model: String,
    /// `judgement`, or the check that it belongs to, for people.
    pub purpose: String,
    /// How often the request was sent.
    pub attempts: u32,
    /// What the reply cost, in dollars; null where nobody knows.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// What else may have been paid for, in dollars at most: attempts without a reply, and replies of unknown cost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_usd: f64,
    /// What the request may cost at most, in dollars, written before it is sent: a kill must not make it forgotten. The next
    /// record of the same key takes its place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub promised_usd: f64,
    /// Whether it was served from a recording, and so paid by somebody else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub replayed: bool,
    /// The reply; null where every attempt was lost.
    pub reply: Option<Reply>,
}

/// A judge's reply, whatever it holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// What the judge wrote.
    pub text: String,
    /// The judge's words when it declined by the protocol's own means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// `stop`, `length` or `content_filter`; null where the server does not say.
    pub finish_reason: Option<String>,
    /// Tokens of the request; null where the server does not say.
    pub input_tokens: Option<u64>,
    /// Of these, tokens that the server had cached; null where the server does not say.
    pub cached_tokens: Option<u64>,
    /// Tokens of the reply; null where the server does not say.
    pub output_tokens: Option<u64>,
    /// Time from sending to the end of the reply, in ms; of a local judge, of first token and decoding; null where it
    /// is not known.
    pub latency_ms: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// The file, open for more.
pub struct Replies {
    path: PathBuf,
    /// Not there before the first reply.
    file: Option<File>,
    synced: Instant,
    by_key: HashMap<String, ReplyRecord>,
    /// Promises that nothing has taken the place of.
    promised: HashMap<String, f64>,
    spent_usd: f64,
}

impl Replies {
    /// Opens the file, if it is there; the first reply makes it.
    pub fn open(path: &Path) -> Result<Self> {
        let mut replies = Self {
            path: path.to_owned(),
            file: None,
            synced: Instant::now(),
            by_key: HashMap::new(),
            promised: HashMap::new(),
            spent_usd: 0.0,
        };
        if !path.exists() {
            return Ok(replies);
        }
        let open = || -> Result<(File, String)> {
            let mut file = append(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            if whole < bytes.len() {
                bytes.truncate(whole);
                file.set_len(whole as u64)?;
            }
            Ok((file, String::from_utf8(bytes)?))
        };
        let (file, text) = open().with_context(|| format!("cannot open `{}`", path.display()))?;
        replies.file = Some(file);
        for record in records(path, &text)? {
            replies.index(record);
        }
        Ok(replies)
    }

    /// The reply to a request, if it was answered.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&ReplyRecord> {
        self.by_key.get(key)
    }

    /// Every reply that counts.
    pub fn iter(&self) -> impl Iterator<Item = &ReplyRecord> {
        self.by_key.values()
    }

    /// Dollars that the run has paid for everything in the file, or may have paid.
    #[must_use]
    pub fn spent_usd(&self) -> f64 {
        self.spent_usd + self.promised.values().sum::<f64>()
    }

    /// Whether a request was sent of which nothing has come yet.
    #[must_use]
    pub fn is_promised(&self, key: &str) -> bool {
        self.promised.contains_key(key)
    }

    /// Lets a request be put again; what it was answered stays in the file.
    pub fn forget(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    /// Writes a record.
    pub fn add(&mut self, record: ReplyRecord) -> Result<()> {
        let line = serde_json::to_string(&record)? + "\n";
        let mut write = || -> std::io::Result<()> {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(append(&self.path)?),
            };
            file.write_all(line.as_bytes())?;
            if self.synced.elapsed() >= SYNC_AFTER {
                self.synced = Instant::now();
                file.sync_data()?;
            }
            Ok(())
        };
        write().with_context(|| format!("cannot write `{}`; what was written before is kept", self.path.display()))?;
        self.index(record);
        Ok(())
    }

    /// Brings everything to the disk.
    pub fn finish(&mut self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data().with_context(|| format!("cannot write `{}`", self.path.display()))
    }

    fn index(&mut self, record: ReplyRecord) {
        self.promised.remove(&record.key);
        if record.promised_usd > 0.0 {
            self.promised.insert(record.key, record.promised_usd);
            return;
        }
        let paid = if record.replayed { 0.0 } else { record.cost_usd.unwrap_or(0.0) };
        self.spent_usd += paid + record.lost_usd;
        if record.reply.is_some() {
            self.by_key.insert(record.key.clone(), record);
        }
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

/// A recording to be served: replies by the hash of the request alone.
pub fn recording(path: &Path) -> Result<HashMap<String, ReplyRecord>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let records = records(path, &text)?;
    if records.is_empty() {
        bail!("`{}` holds no replies", path.display());
    }
    Ok(records
        .into_iter()
        .filter(|record| record.reply.is_some())
        .map(|record| (record.content.clone(), record))
        .collect())
}

fn records(path: &Path, text: &str) -> Result<Vec<ReplyRecord>> {
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| {
            let hint = "hint: delete the line; what it held is then asked again";
            format!("`{}`, line {} is damaged\n{hint}", path.display(), number + 1)
        })
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, text: Option<&str>) -> ReplyRecord {
        ReplyRecord {
            key: key.into(),
            content: format!("content of {key}"),
            task_id: "t".into(),
            model: "m".into(),
            purpose: "judgement".into(),
            attempts: 1,
            cost_usd: text.map(|_| 0.5),
            lost_usd: if text.is_none() { 0.25 } else { 0.0 },
            promised_usd: 0.0,
            replayed: false,
            reply: text.map(|text| Reply { text: text.into(), latency_ms: Some(0.1), ..Reply::default() }),
        }
    }

    #[test]
    fn replies_survive_and_an_unfinished_line_is_cut_off() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("judge_replies.jsonl");
        let mut replies = Replies::open(&path).expect("made");
        for record in [record("a", Some("x\ny")), record("b", None), record("a", Some("later"))] {
            replies.add(record).expect("written");
        }
        drop(replies);
        let whole = std::fs::read(&path).expect("read");
        let mut torn = whole.clone();
        torn.extend(b"{\"key\":\"c\",\"con");
        std::fs::write(&path, &torn).expect("written");

        let mut replies = Replies::open(&path).expect("opened again");
        assert_eq!(std::fs::read(&path).expect("read"), whole);
        assert_eq!(replies.get("a").and_then(|r| r.reply.as_ref()).map(|r| r.text.as_str()), Some("later"));
        assert!(replies.get("b").is_none(), "what was lost is no answer");
        assert!((replies.spent_usd() - 1.25).abs() < 1e-12 && replies.iter().count() == 1);
        // What was promised counts until it is known what came of it.
        replies.add(ReplyRecord { promised_usd: 2.0, cost_usd: None, ..record("c", None) }).expect("written");
        assert!((Replies::open(&path).expect("opened").spent_usd() - 3.25).abs() < 1e-12);
        replies.add(record("c", Some("z"))).expect("written");
        assert!((replies.spent_usd() - 1.75).abs() < 1e-12);
        replies.forget("a");
        assert!(replies.get("a").is_none());
        replies.finish().expect("synced");
        let served = recording(&path).expect("read");
        assert_eq!(served.len(), 2);
        assert!(served.contains_key("content of c"));
    }

    #[test]
    fn a_damaged_line_is_named() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("r.jsonl");
        std::fs::write(&path, "\n{\"key\":1}\n").expect("written");
        let error = format!("{:#}", Replies::open(&path).err().expect("refused"));
        assert!(error.contains("r.jsonl`, line 2"), "{error}");
        std::fs::write(&path, "").expect("written");
        assert!(recording(&path).is_err_and(|error| error.to_string().contains("no replies")));
    }
}
