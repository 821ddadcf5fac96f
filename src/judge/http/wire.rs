//! The two APIs as they go over the wire: what a question looks like as a request, and what a reply's body says.

use crate::judge::Who;
use crate::judge::conversation::Conversation;
use crate::store::replies::Reply;
use serde_json::{Value, json};

/// An API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `POST /responses`.
    Responses,
    /// `POST /chat/completions`.
    Chat,
}

/// How the JSON reply is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By a strict schema, which the server keeps the model to.
    Schema,
    /// As some JSON object.
    Object,
    /// By the prompt alone.
    Text,
}

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The API.
    pub api: Api,
    /// How the JSON reply is asked for.
    pub form: Form,
    /// Whether a temperature is sent: reasoning models refuse it.
    pub temperature: bool,
    /// Whether chat completions call the limit on tokens `max_completion_tokens`, as newer models of `OpenAI`'s want it.
    pub completion_tokens: bool,
}

impl Dialect {
    /// Path below the base URL.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self.api {
            Api::Responses => "responses",
            Api::Chat => "chat/completions",
        }
    }

    /// As people call it.
    #[must_use]
    pub fn name(self) -> String {
        let api = match self.api {
            Api::Responses => "Responses API",
            Api::Chat => "chat completions",
        };
        let form = match self.form {
            Form::Schema => "strict JSON schema",
            Form::Object => "JSON object",
            Form::Text => "plain text",
        };
        format!("{api}, {form}")
    }

    /// The request's body.
    #[must_use]
    pub fn body(self, who: &Who, conversation: &Conversation) -> Value {
        let (name, tokens) = (&who.name, who.max_output_tokens);
        let mut body = match self.api {
            Api::Responses => {
                json!({"model": name, "input": conversation, "max_output_tokens": tokens, "store": false})
            }
            Api::Chat if self.completion_tokens => {
                json!({"model": name, "messages": conversation, "max_completion_tokens": tokens})
            }
            Api::Chat => json!({"model": name, "messages": conversation, "max_tokens": tokens}),
        };
        if self.temperature {
            body["temperature"] = who.temperature.into();
        }
        match self.api {
            Api::Responses => {
                let format = match self.form {
                    Form::Schema => schema(),
                    Form::Object => json!({"type": "json_object"}),
                    Form::Text => return body,
                };
                body["text"] = json!({ "format": format });
                body
            }
            Api::Chat => {
                let format = match self.form {
                    Form::Schema => {
                        let mut inner = schema();
                        let kind = inner["type"].take();
                        inner.as_object_mut().map(|fields| fields.remove("type"));
                        json!({"type": kind, "json_schema": inner})
                    }
                    Form::Object => json!({"type": "json_object"}),
                    Form::Text => return body,
                };
                body["response_format"] = format;
                body
            }
        }
    }

    /// What a body of status 200 says; an error text where it is none of this API's.
    pub fn reply(self, body: &[u8]) -> Result<Reply, String> {
        let body: Value =
            serde_json::from_slice(body).map_err(|error| format!("the body of its reply is not JSON: {error}"))?;
        // Some servers report errors with status 200.
        if let Some(said) = message(&body).filter(|_| body["error"].is_object() || body["error"].is_string()) {
            return Err(format!("its reply is an error: {said}"));
        }
        match self.api {
            Api::Responses => responses(&body),
            Api::Chat => chat(&body),
        }
    }
}

/// The strict schema, in the form of the Responses API.
fn schema() -> Value {
    json!({
        "type": "json_schema",
        "name": "judgement",
        "strict": true,
        "schema": {
            "type": "object",
            "properties": {
                "score": {"type": "number", "description": "from 0 to 10"},
                "justification": {"type": "string", "description": "one short sentence"},
            },
            "required": ["score", "justification"],
            "additionalProperties": false,
        },
    })
}

fn responses(body: &Value) -> Result<Reply, String> {
    let output = body["output"].as_array().ok_or("its reply has no `output`")?;
    let parts = || {
        output
            .iter()
            .filter(|item| item["type"] == "message")
            .flat_map(|item| item["content"].as_array().map(Vec::as_slice).unwrap_or_default())
    };
    let texts: Vec<&str> =
        parts().filter(|part| part["type"] == "output_text").filter_map(|p| p["text"].as_str()).collect();
    let finish = match (body["status"].as_str(), body["incomplete_details"]["reason"].as_str()) {
        (Some("incomplete"), Some("max_output_tokens")) => Some("length"),
        (Some("incomplete"), Some("content_filter")) => Some("content_filter"),
        (Some("completed"), _) => Some("stop"),
        (other, reason) => reason.or(other),
    };
    let usage = &body["usage"];
    Ok(Reply {
        text: texts.concat(),
        refusal: said(parts().find(|part| part["type"] == "refusal").map(|part| &part["refusal"])),
        finish_reason: finish.map(str::to_owned),
        input_tokens: usage["input_tokens"].as_u64(),
        cached_tokens: usage["input_tokens_details"]["cached_tokens"].as_u64(),
        output_tokens: usage["output_tokens"].as_u64(),
        latency_ms: None,
    })
}

fn chat(body: &Value) -> Result<Reply, String> {
    let choice = body["choices"].get(0).ok_or("its reply has no `choices`")?;
    let (message, usage) = (&choice["message"], &body["usage"]);
    if !message.is_object() {
        return Err("its reply has no message".to_owned());
    }
    Ok(Reply {
        text: content(&message["content"]),
        refusal: said(message.get("refusal")),
        finish_reason: choice["finish_reason"].as_str().map(str::to_owned),
        input_tokens: usage["prompt_tokens"].as_u64(),
        cached_tokens: usage["prompt_tokens_details"]["cached_tokens"].as_u64(),
        output_tokens: usage["completion_tokens"].as_u64(),
        latency_ms: None,
    })
}

/// A message's text: one string, or parts.
fn content(value: &Value) -> String {
    let parts = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let texts = parts.iter().filter_map(|part| part["text"].as_str());
    value.as_str().map_or_else(|| texts.collect(), str::to_owned)
}

/// A text that says something.
fn said(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

/// The server's own words for an error.
#[must_use]
pub fn message(body: &Value) -> Option<String> {
    let error = &body["error"];
    let said = error["message"].as_str().or_else(|| error.as_str()).or_else(|| body["message"].as_str());
    said.or_else(|| body["detail"].as_str()).map(str::to_owned)
}

/// The server's own name for an error, e.g. `insufficient_quota`.
#[must_use]
pub fn code(body: &Value) -> Option<&str> {
    body["error"]["code"].as_str().or_else(|| body["error"]["type"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::conversation::Turn;

    fn who() -> Who {
        Who { name: "j".into(), place: "p".into(), temperature: 0.0, max_output_tokens: 50, seed: 1 }
    }

    fn asked() -> Conversation {
        Conversation(vec![
            Turn { role: "system", content: "grade".into() },
            Turn { role: "user", content: "this".into() },
        ])
    }

    #[test]
    fn requests_are_those_of_the_two_apis() {
        let dialect = |api, form| Dialect { api, form, temperature: true, completion_tokens: false };
        let of = |api, form| dialect(api, form).body(&who(), &asked());
        let newer = Dialect { temperature: false, completion_tokens: true, ..dialect(Api::Chat, Form::Schema) };
        let newer = newer.body(&who(), &asked());
        assert!(newer.get("temperature").is_none() && newer.get("max_tokens").is_none());
        assert_eq!(newer["max_completion_tokens"], 50);
        let responses = of(Api::Responses, Form::Schema);
        assert_eq!(responses["input"][1], json!({"role": "user", "content": "this"}));
        assert_eq!(responses["text"]["format"]["schema"]["required"], json!(["score", "justification"]));
        assert_eq!((&responses["text"]["format"]["strict"], &responses["store"]), (&json!(true), &json!(false)));
        assert_eq!(responses["max_output_tokens"], 50);
        let chat = of(Api::Chat, Form::Schema);
        assert_eq!(chat["messages"][0]["role"], "system");
        assert_eq!(chat["response_format"]["type"], "json_schema");
        assert_eq!(chat["response_format"]["json_schema"]["name"], "judgement");
        assert!(chat["response_format"]["json_schema"].get("type").is_none());
        assert_eq!(of(Api::Chat, Form::Object)["response_format"], json!({"type": "json_object"}));
        assert!(of(Api::Chat, Form::Text).get("response_format").is_none());
        assert!(of(Api::Responses, Form::Text).get("text").is_none());
    }

    #[test]
    fn replies_of_both_apis_are_read() {
        let responses =
            Dialect { api: Api::Responses, form: Form::Schema, temperature: true, completion_tokens: false };
        let body = json!({"status": "completed", "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "{\"score\""}, {"type": "output_text", "text": ": 1}"}]},
        ], "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3}});
        let reply = responses.reply(body.to_string().as_bytes()).expect("read");
        assert_eq!((reply.text.as_str(), reply.finish_reason.as_deref()), ("{\"score\": 1}", Some("stop")));
        assert_eq!((reply.input_tokens, reply.cached_tokens, reply.output_tokens), (Some(9), Some(4), Some(3)));
        let cut = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": []});
        assert_eq!(responses.reply(cut.to_string().as_bytes()).expect("read").finish_reason.as_deref(), Some("length"));
        let refusal = json!({"status": "completed", "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]});
        assert_eq!(responses.reply(refusal.to_string().as_bytes()).expect("read").refusal.as_deref(), Some("no"));
        assert!(
            responses
                .reply(b"{\"status\": \"failed\", \"output\": [], \"error\": {\"message\": \"broke\"}}")
                .is_err_and(|e| e.contains("broke"))
        );

        let chat = Dialect { api: Api::Chat, ..responses };
        let body = json!({"choices": [{"finish_reason": "stop", "message": {"content": "x"}}], "usage": {"prompt_tokens": 7, "completion_tokens": 2}});
        let reply = chat.reply(body.to_string().as_bytes()).expect("read");
        assert_eq!((reply.text.as_str(), reply.input_tokens, reply.cached_tokens), ("x", Some(7), None));
        let parts = json!({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "refusal": ""}}]});
        let reply = chat.reply(parts.to_string().as_bytes()).expect("read");
        assert_eq!((reply.text.as_str(), reply.refusal), ("ab", None));
        assert!(chat.reply(br#"{"error": {"message": "no such thing"}}"#).is_err_and(|e| e.contains("no such thing")));
        let empty = json!({"choices": [{"finish_reason": "content_filter", "message": {"content": null}}]});
        assert_eq!(chat.reply(empty.to_string().as_bytes()).expect("read").text, "");
        for bad in ["", "<html>", "{}", "{\"choices\": []}", "[1]", "{\"choices\": [{}]}"] {
            assert!(chat.reply(bad.as_bytes()).is_err() && responses.reply(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_are_told_in_the_server_s_words() {
        let body = json!({"error": {"message": "too fast", "code": "rate_limit_exceeded"}});
        assert_eq!((message(&body).as_deref(), code(&body)), (Some("too fast"), Some("rate_limit_exceeded")));
        assert_eq!(message(&json!({"detail": "nope"})).as_deref(), Some("nope"));
        assert_eq!(message(&json!({"error": "plain"})).as_deref(), Some("plain"));
        assert_eq!(message(&json!([1])), None);
    }
}
