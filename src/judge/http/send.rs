//! One request to a server and what came of it.

use super::dialects::Refusal;
use super::secret::Secret;
use super::wire::{self, Dialect};
use crate::store::replies::Reply;
use anyhow::{Context, Result, anyhow};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

/// Status of a gateway behind which the request timed out; it has no name of its own.
const TIMED_OUT_BEHIND: u16 = 524;

/// Longest body that is read.
const BODY_BYTES: usize = 8 << 20;

/// Time in which a connection must come about.
const CONNECT: Duration = Duration::from_secs(10);

/// Environment variables that `OpenAI`'s own clients read, and the headers that they become.
const ORGANIZATION: (&str, &str) = ("OPENAI_ORG_ID", "openai-organization");
const PROJECT: (&str, &str) = ("OPENAI_PROJECT_ID", "openai-project");

/// The server does not accept the key, or wants one.
#[derive(Debug)]
pub struct KeyRefused(String);

impl std::fmt::Display for KeyRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyRefused {}

/// What came of a request.
#[derive(Debug)]
pub enum Sent {
    /// A reply.
    Reply(Reply),
    /// None, but another attempt may get one.
    Again {
        /// Why there is none.
        why: String,
        /// How long the server asks to wait.
        after: Option<Duration>,
        /// Whether the server may have computed a reply, and may want it paid.
        maybe_paid: bool,
    },
    /// The server does not take this request; another one it may take.
    Refused(Refusal),
    /// No other request would fare better.
    Stop(anyhow::Error),
}

/// A server.
pub struct Server {
    client: Client,
    base_url: String,
    key: Option<Secret>,
    key_env: String,
}

impl Server {
    /// Makes a client; nothing is sent yet. TLS is verified, proxies come from the environment, and redirects are not
    /// followed: a key goes where the user sent it.
    pub fn new(base_url: &str, key_env: &str, organization: Option<&str>, timeout: Duration) -> Result<Self> {
        // An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = Secret::from_env(key_env);
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            headers.insert(AUTHORIZATION, key.bearer().with_context(|| format!("`{key_env}`"))?);
        }
        let of_env = |variable: &str| std::env::var(variable).ok();
        let organization = organization.map(str::to_owned).or_else(|| of_env(ORGANIZATION.0));
        for ((variable, header), value) in [(ORGANIZATION, organization), (PROJECT, of_env(PROJECT.0))] {
            if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
                let value = HeaderValue::from_str(value.trim()).with_context(|| format!("`{variable}`"))?;
                headers.insert(header, value);
            }
        }
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("poq/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT.min(timeout))
            .timeout(timeout)
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self { client, base_url: base_url.trim_end_matches('/').to_owned(), key, key_env: key_env.to_owned() })
    }

    /// Where the API begins.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Whether a key goes over the network unencrypted.
    #[must_use]
    pub fn shows_key(&self) -> bool {
        let host = self.base_url.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or(rest));
        self.key.is_some() && host.is_some_and(|host| !matches!(host, "localhost" | "127.0.0.1" | "[" | "[::1]"))
    }

    /// Sends a request once.
    pub async fn send(&self, dialect: Dialect, body: &Value) -> Sent {
        let started = Instant::now();
        let url = format!("{}/{}", self.base_url, dialect.path());
        let response = match self.client.post(url).json(body).send().await {
            Ok(response) => response,
            Err(error) => return self.lost(error),
        };
        let (status, after) = (response.status(), retry_after(response.headers()));
        let body = self.body(response).await;
        if status != StatusCode::OK {
            // The status and the headers are there, whatever became of the rest.
            return self.failure(status, after, &body.unwrap_or_default());
        }
        let body = match body {
            Ok(body) => body,
            Err(sent) => return sent,
        };
        match dialect.reply(&body) {
            Ok(reply) => Sent::Reply(Reply {
                text: self.redact(&reply.text),
                refusal: reply.refusal.map(|text| self.redact(&text)),
                finish_reason: reply.finish_reason.map(|text| self.redact(&text)),
                latency_ms: Some(started.elapsed().as_secs_f64() * 1e3),
                ..reply
            }),
            Err(why) => Sent::Again { why: self.redact(&why), after: None, maybe_paid: true },
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Sent> {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES => body.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    let why = format!("its reply is longer than {} MiB", BODY_BYTES >> 20);
                    return Err(Sent::Again { why, after: None, maybe_paid: true });
                }
                Ok(None) => return Ok(body),
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// No whole response came.
    fn lost(&self, error: reqwest::Error) -> Sent {
        let maybe_paid = !error.is_connect();
        let what = if error.is_timeout() {
            "it did not answer in time"
        } else if error.is_connect() {
            "it cannot be reached"
        } else {
            "the connection was lost"
        };
        let error = anyhow!(error.without_url());
        let why = error.chain().skip(1).last().map_or_else(|| what.to_owned(), |cause| format!("{what}: {cause}"));
        Sent::Again { why: self.redact(&why), after: None, maybe_paid }
    }

    fn failure(&self, status: StatusCode, after: Option<Duration>, body: &[u8]) -> Sent {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let said = wire::message(&body).map(|said| format!(": {}", self.redact(&said))).unwrap_or_default();
        let why = format!("it answered {status}{said}");
        let server = &self.base_url;
        match status {
            // What the server says of a key may hold parts of it.
            StatusCode::UNAUTHORIZED => Sent::Stop(self.unwelcome(status)),
            StatusCode::FORBIDDEN => Sent::Stop(self.unwelcome(status).context(why)),
            StatusCode::PAYMENT_REQUIRED => Sent::Stop(anyhow!("`{server}` wants to be paid first{said}")),
            StatusCode::TOO_MANY_REQUESTS if wire::code(&body) == Some("insufficient_quota") => {
                Sent::Stop(anyhow!("the account at `{server}` has nothing left{said}"))
            }
            StatusCode::NOT_FOUND if wire::code(&body) == Some("model_not_found") => {
                Sent::Stop(anyhow!("`{server}` does not know the model{said}"))
            }
            StatusCode::CONFLICT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Sent::Again { why, after, maybe_paid: false }
            }
            // Not implemented: like a path that is not there.
            StatusCode::NOT_IMPLEMENTED => refused(status, &body, why),
            // A gateway gave up; what stands behind it may have gone on.
            StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                Sent::Again { why, after, maybe_paid: true }
            }
            status if status.is_server_error() => {
                Sent::Again { why, after, maybe_paid: status.as_u16() == TIMED_OUT_BEHIND }
            }
            status if status.is_redirection() => Sent::Stop(anyhow!(
                "`{server}` answered {status}: it is somewhere else\nhint: give the address it redirects to as `judge.base_url`"
            )),
            status => refused(status, &body, why),
        }
    }

    fn unwelcome(&self, status: StatusCode) -> anyhow::Error {
        let (server, variable) = (&self.base_url, &self.key_env);
        let why = match &self.key {
            Some(_) => format!("`{server}` does not accept the key in `{variable}` ({status})"),
            None => {
                format!("`{server}` wants a key ({status})\nhint: put it into the environment variable `{variable}`")
            }
        };
        KeyRefused(why).into()
    }

    fn redact(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }
}

/// A request that is not taken. One that a filter keeps from the model is declined, as by the model itself.
fn refused(status: StatusCode, body: &Value, why: String) -> Sent {
    let code = wire::code(body).map(str::to_owned);
    if code.as_deref() == Some("content_filter") {
        let finish_reason = Some("content_filter".to_owned());
        return Sent::Reply(Reply { refusal: Some(why), finish_reason, ..Reply::default() });
    }
    Sent::Refused(Refusal { status, code, why })
}

/// How long a server asks to wait: milliseconds, seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |number: f64| Duration::try_from_secs_f64(number).ok();
    if let Some(wait) = text("retry-after-ms").and_then(|value| value.parse::<f64>().ok()) {
        return seconds(wait / 1e3);
    }
    let value = text(RETRY_AFTER.as_str())?;
    value
        .parse::<f64>()
        .ok()
        .map_or_else(|| httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).ok(), seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server::new(url, "POQ_TEST_NO_SUCH_KEY", None, Duration::from_secs(1)).expect("a client")
    }

    fn waits(name: &'static str, value: &str) -> Option<Duration> {
        retry_after(&HeaderMap::from_iter([(
            reqwest::header::HeaderName::from_static(name),
            HeaderValue::from_str(value).expect("a value"),
        )]))
    }

    #[test]
    fn all_three_forms_of_retry_after_are_read() {
        assert_eq!(waits("retry-after", "2"), Some(Duration::from_secs(2)));
        assert_eq!(waits("retry-after", " 0.5 "), Some(Duration::from_millis(500)));
        assert_eq!(waits("retry-after-ms", "150"), Some(Duration::from_millis(150)));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
        let wait = waits("retry-after", &later).expect("read");
        assert!(wait > Duration::from_secs(27) && wait <= Duration::from_secs(30));
        for nonsense in ["soon", "-1", "nan", "1e400"] {
            assert_eq!(waits("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn statuses_mean_what_they_mean() {
        let server = server("https://h/v1/");
        assert_eq!(server.base_url(), "https://h/v1");
        let of = |status: u16, body: &str| {
            server.failure(StatusCode::from_u16(status).expect("a status"), None, body.as_bytes())
        };
        let stops = |sent: Sent| matches!(sent, Sent::Stop(_));
        let again = |sent: Sent| matches!(sent, Sent::Again { maybe_paid: false, .. });
        assert!(stops(of(401, "")) && stops(of(403, "")) && stops(of(302, "")) && stops(of(402, "")));
        assert!(stops(of(429, r#"{"error": {"code": "insufficient_quota"}}"#)));
        assert!(stops(of(404, r#"{"error": {"code": "model_not_found", "message": "no m"}}"#)));
        assert!(again(of(429, "{}")) && again(of(500, "<html>")) && again(of(529, "")));
        for status in [400, 404, 405, 413, 422, 501] {
            assert!(matches!(of(status, ""), Sent::Refused(_)), "{status}");
        }
        for status in [408, 502, 504, 524] {
            assert!(matches!(of(status, ""), Sent::Again { maybe_paid: true, .. }), "{status}");
        }
        let filtered = of(400, r#"{"error": {"code": "content_filter", "message": "no"}}"#);
        assert!(matches!(filtered, Sent::Reply(Reply { refusal: Some(_), .. })));
    }

    #[test]
    fn a_key_in_the_clear_is_noticed() {
        let with_key =
            |url: &str| Server { key: std::env::var_os("PATH").and_then(|_| Secret::from_env("PATH")), ..server(url) };
        assert!(with_key("http://judge.example/v1").shows_key());
        for fine in ["https://judge.example/v1", "http://localhost:8000/v1", "http://127.0.0.1:1", "http://[::1]:80/v1"]
        {
            assert!(!with_key(fine).shows_key(), "{fine}");
        }
        assert!(!server("http://judge.example/v1").shows_key(), "no key, nothing to show");
    }
}
