//! Chat templates, rendered as transformers renders them: Jinja with trimmed blocks and loop controls, and what Python
//! and transformers add to it.

mod clock;
mod filters;
mod json;
mod methods;
mod source;
#[cfg(test)]
mod tests;

pub use clock::Clock;

use super::manifest::HINT;
use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value};
use std::collections::BTreeMap;
use std::path::Path;

const NAME: &str = "chat";

/// One message of a conversation.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'a str,
    /// Text.
    pub content: &'a str,
}

impl Message<'_> {
    fn value(&self) -> Value {
        Value::from_pairs([("role", self.role), ("content", self.content)])
    }
}

/// A compiled chat template with the tokens it may name.
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

impl ChatTemplate {
    /// Compiles a template file.
    pub fn open(path: &Path, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<Self> {
        let source = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the chat template `{}`\n{HINT}", path.display()))?;
        Self::new(&source, bos_token, eos_token).with_context(|| format!("chat template `{}`", path.display()))
    }

    /// Compiles a template.
    pub fn new(source: &str, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.context("the template syntax is invalid; this is a bug")?);
        environment.set_unknown_method_callback(methods::call);
        filters::add(&mut environment);
        environment.add_function("raise_exception", raise_exception);
        environment.add_template_owned(NAME, source::rewrite(source)).context("it is not valid Jinja")?;
        Ok(Self { environment, bos_token: bos_token.map(str::to_owned), eos_token: eos_token.map(str::to_owned) }
            .with_clock(None))
    }

    /// Sets the moment that templates take for now. Without one, a template that asks for the date is refused: its
    /// prompts would differ from day to day.
    #[must_use]
    pub fn with_clock(mut self, clock: Option<Clock>) -> Self {
        self.environment.add_function("strftime_now", move |format: &str| match clock {
            Some(clock) => clock.strftime(format),
            None => Err(refused(
                "the template asks for today's date, and prompts must not change from day to day: set `generation.date`",
            )),
        });
        self
    }

    /// Renders a conversation, ending where the assistant's answer begins.
    pub fn render(&self, messages: &[Message<'_>]) -> Result<String> {
        self.render_values(messages.iter().map(Message::value).collect(), true, &BTreeMap::new())
    }

    /// Renders messages of any shape, with variables of the caller's.
    fn render_values(
        &self,
        messages: Value,
        add_generation_prompt: bool,
        variables: &BTreeMap<String, Value>,
    ) -> Result<String> {
        let template = self.environment.get_template(NAME).context("the chat template is gone; this is a bug")?;
        let own = [
            ("messages", messages),
            ("tools", Value::from(())), // none, yet defined
            ("documents", Value::from(())),
            ("bos_token", token(self.bos_token.as_deref())),
            ("eos_token", token(self.eos_token.as_deref())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ];
        let given = variables.iter().map(|(name, value)| (name.as_str(), value.clone()));
        template.render(Value::from_pairs(own.into_iter().chain(given))).context("the chat template failed to render")
    }
}

/// A token that the model does not have is undefined to its template, as in Python, and prints nothing.
fn token(token: Option<&str>) -> Value {
    token.map_or(Value::UNDEFINED, Value::from)
}

/// What templates call on a conversation they cannot render.
fn raise_exception(message: &Value) -> Result<Value, minijinja::Error> {
    Err(refused(message.to_string()))
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, message)
}
