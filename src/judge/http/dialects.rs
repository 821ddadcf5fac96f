//! Which of the ways to ask a server understands: found out with the first question, kept from then on.

use super::wire::{Api, Dialect, Form};
use crate::settings::Backend;
use reqwest::StatusCode;

/// Questions refused in every dialect after which the server, and not the question, is to blame.
const HOPELESS: usize = 3;

/// The ways that are left to try.
#[derive(Debug, Clone, Default)]
pub struct Dialects {
    all: Vec<Dialect>,
    /// Place of the one in use.
    current: usize,
    settled: bool,
    /// Questions that were taken in no dialect.
    refused: usize,
    /// Why the question at hand was refused where the API was there.
    reason: Option<String>,
}

/// What to do after a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Put the question again, in another dialect.
    TryAnother,
    /// Give the question up, for this reason: the server takes others.
    NotThisQuestion(String),
    /// Give up, for this reason.
    NoDialectLeft(String),
}

/// A refusal, as the server puts it.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The server's own name for it.
    pub code: Option<String>,
    /// In words.
    pub why: String,
}

impl Refusal {
    /// A path that is not there is there for no form of the question.
    fn is_of_the_path(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
    }

    /// Whether it is this question that is too long or otherwise refused, however it is put.
    fn is_of_the_question(&self) -> bool {
        let codes =
            ["context_length_exceeded", "exceed_context_size_error", "content_filter", "string_above_max_length"];
        self.code.as_deref().is_some_and(|code| codes.contains(&code)) || self.status == StatusCode::PAYLOAD_TOO_LARGE
    }
}

impl Dialects {
    /// The ways to try for this kind of judge, the strictest first. `Auto` begins with the API that the server is more
    /// likely to do well: `OpenAI`'s own has had schemas in both from the start, while others that know the Responses API may
    /// take a schema there and not keep to it.
    #[must_use]
    pub fn new(kind: Backend, openai: bool) -> Self {
        let apis: &[Api] = match kind {
            Backend::Responses => &[Api::Responses],
            Backend::Chat => &[Api::Chat],
            _ if openai => &[Api::Responses, Api::Chat],
            _ => &[Api::Chat, Api::Responses],
        };
        let forms = [Form::Schema, Form::Object, Form::Text];
        let dialect = |api, form| Dialect { api, form, temperature: true, completion_tokens: false };
        let all = apis.iter().flat_map(|&api| forms.map(|form| dialect(api, form))).collect();
        Self { all, ..Self::default() }
    }

    /// The one in use.
    #[must_use]
    pub fn current(&self) -> Dialect {
        self.all[self.current]
    }

    /// The one that the server understands, once that is known.
    #[must_use]
    pub fn settled(&self) -> Option<Dialect> {
        self.settled.then(|| self.current())
    }

    /// The server understood.
    pub fn settle(&mut self, dialect: Dialect) {
        if !self.settled {
            self.current = self.all.iter().position(|known| *known == dialect).unwrap_or(self.current);
            self.settled = true;
        }
    }

    /// The server did not take a question as it was put.
    pub fn refused(&mut self, dialect: Dialect, refusal: &Refusal) -> Next {
        if self.settled || refusal.is_of_the_question() {
            return Next::NotThisQuestion(refusal.why.clone());
        }
        if self.leave_out(dialect, &refusal.why) {
            return Next::TryAnother;
        }
        let absent = refusal.is_of_the_path();
        if !absent {
            self.reason.get_or_insert_with(|| refusal.why.clone());
        }
        let skip = |other: &Dialect| absent && other.api == dialect.api;
        if let Some(next) = (self.current + 1..self.all.len()).find(|&place| !skip(&self.all[place])) {
            self.current = next;
            return Next::TryAnother;
        }
        self.current = 0;
        let Some(reason) = self.reason.take() else { return Next::NoDialectLeft(refusal.why.clone()) };
        self.refused += 1;
        if self.refused >= HOPELESS { Next::NoDialectLeft(reason) } else { Next::NotThisQuestion(reason) }
    }

    /// Leaves out a field that the server says it does not know; false where it says nothing of the kind.
    fn leave_out(&mut self, dialect: Dialect, why: &str) -> bool {
        let temperature = dialect.temperature && why.contains("temperature");
        let tokens = dialect.api == Api::Chat && !dialect.completion_tokens && why.contains("max_completion_tokens");
        for known in &mut self.all {
            known.temperature &= !temperature;
            known.completion_tokens |= tokens;
        }
        temperature || tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, why: &str) -> Refusal {
        Refusal { status: StatusCode::from_u16(status).expect("a status"), code: None, why: why.into() }
    }

    fn walk(mut dialects: Dialects, statuses: &[u16]) -> (Vec<Dialect>, Next) {
        let (mut tried, mut next) = (Vec::new(), Next::TryAnother);
        for &status in statuses {
            tried.push(dialects.current());
            next = dialects.refused(dialects.current(), &refusal(status, &status.to_string()));
        }
        (tried, next)
    }

    #[test]
    fn an_api_that_is_not_there_is_tried_once() {
        let (tried, next) = walk(Dialects::new(Backend::Auto, true), &[404]);
        assert_eq!((tried[0].api, next), (Api::Responses, Next::TryAnother));
        let (tried, next) = walk(Dialects::new(Backend::Auto, false), &[404, 405]);
        assert_eq!((tried[0].api, tried[1].api), (Api::Chat, Api::Responses));
        assert_eq!(next, Next::NoDialectLeft("405".into()));
        let (_, next) = walk(Dialects::new(Backend::Chat, false), &[501]);
        assert_eq!(next, Next::NoDialectLeft("501".into()));
    }

    #[test]
    fn forms_are_tried_from_strict_to_free_and_one_question_does_not_condemn_a_server() {
        let (tried, next) = walk(Dialects::new(Backend::Chat, false), &[400, 422, 400]);
        let forms: Vec<Form> = tried.iter().map(|dialect| dialect.form).collect();
        assert_eq!(forms, [Form::Schema, Form::Object, Form::Text]);
        assert_eq!(next, Next::NotThisQuestion("400".into()));
        let (_, next) = walk(Dialects::new(Backend::Auto, false), &[400, 400, 400, 404]);
        assert_eq!(next, Next::NotThisQuestion("400".into()), "the API that is there has said why");
        assert_eq!(walk(Dialects::new(Backend::Chat, false), &[400; 9]).1, Next::NoDialectLeft("400".into()));
        let mut dialects = Dialects::new(Backend::Chat, false);
        let long = Refusal { code: Some("context_length_exceeded".into()), ..refusal(400, "too long") };
        for _ in 0..9 {
            assert_eq!(dialects.refused(dialects.current(), &long), Next::NotThisQuestion("too long".into()));
        }
    }

    #[test]
    fn fields_that_newer_models_refuse_are_left_out() {
        let mut dialects = Dialects::new(Backend::Chat, true);
        let first = refusal(400, "Use 'max_completion_tokens' instead.");
        assert_eq!(dialects.refused(dialects.current(), &first), Next::TryAnother);
        let second = refusal(400, "'temperature' does not support 0 with this model.");
        assert_eq!(dialects.refused(dialects.current(), &second), Next::TryAnother);
        let current = dialects.current();
        assert!(current.completion_tokens && !current.temperature && current.form == Form::Schema);
        assert_eq!(dialects.refused(current, &second), Next::TryAnother, "said again, it is no longer about the field");
        assert_eq!(dialects.current().form, Form::Object);
    }

    #[test]
    fn what_is_settled_stays() {
        let mut dialects = Dialects::new(Backend::Auto, false);
        assert_eq!(dialects.settled(), None);
        dialects.refused(dialects.current(), &refusal(400, "no"));
        let used = dialects.current();
        dialects.settle(used);
        assert_eq!(dialects.settled(), Some(used));
        assert_eq!(dialects.refused(used, &refusal(400, "no")), Next::NotThisQuestion("no".into()));
        assert_eq!(dialects.current(), used);
    }
}
