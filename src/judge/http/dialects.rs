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
    refused: usize,
}

/// What to do after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Put the question again, in another dialect.
    TryAnother,
    /// Give the question up: the server takes others.
    NotThisQuestion,
    /// Give up.
    NoDialectLeft,
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
        let all = apis.iter().flat_map(|&api| forms.map(|form| Dialect { api, form })).collect();
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

    /// The server took a question in no way that it was put.
    pub fn refused(&mut self, dialect: Dialect, status: StatusCode) -> Next {
        if self.settled {
            return Next::NotThisQuestion;
        }
        // A path that is not there is there for no form of the question.
        let absent =
            matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
        let skip = |other: &Dialect| absent && other.api == dialect.api;
        let next = (self.current + 1..self.all.len()).find(|&place| !skip(&self.all[place]));
        if let Some(next) = next {
            self.current = next;
            return Next::TryAnother;
        }
        self.refused += 1;
        self.current = 0;
        if absent || self.refused >= HOPELESS { Next::NoDialectLeft } else { Next::NotThisQuestion }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(mut dialects: Dialects, statuses: &[u16]) -> (Vec<Dialect>, Next) {
        let (mut tried, mut next) = (Vec::new(), Next::TryAnother);
        for &status in statuses {
            tried.push(dialects.current());
            next = dialects.refused(dialects.current(), StatusCode::from_u16(status).expect("a status"));
        }
        (tried, next)
    }

    #[test]
    fn an_api_that_is_not_there_is_tried_once() {
        let (tried, next) = walk(Dialects::new(Backend::Auto, true), &[404]);
        assert_eq!((tried[0].api, next), (Api::Responses, Next::TryAnother));
        let (tried, next) = walk(Dialects::new(Backend::Auto, false), &[404, 405]);
        assert_eq!((tried[0].api, tried[1].api, next), (Api::Chat, Api::Responses, Next::NoDialectLeft));
        let (_, next) = walk(Dialects::new(Backend::Chat, false), &[501]);
        assert_eq!(next, Next::NoDialectLeft);
    }

    #[test]
    fn forms_are_tried_from_strict_to_free_and_one_question_does_not_condemn_a_server() {
        let (tried, next) = walk(Dialects::new(Backend::Chat, false), &[400, 422, 400]);
        let forms: Vec<Form> = tried.iter().map(|dialect| dialect.form).collect();
        assert_eq!((forms, next), (vec![Form::Schema, Form::Object, Form::Text], Next::NotThisQuestion));
        assert_eq!(walk(Dialects::new(Backend::Chat, false), &[400; 9]).1, Next::NoDialectLeft);
    }

    #[test]
    fn what_is_settled_stays() {
        let mut dialects = Dialects::new(Backend::Auto, false);
        assert_eq!(dialects.settled(), None);
        dialects.refused(dialects.current(), StatusCode::BAD_REQUEST);
        let used = dialects.current();
        dialects.settle(used);
        assert_eq!(dialects.settled(), Some(used));
        assert_eq!(dialects.refused(used, StatusCode::BAD_REQUEST), Next::NotThisQuestion);
        assert_eq!(dialects.current(), used);
    }
}
