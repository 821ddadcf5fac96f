//! Chat templates, rendered as transformers renders them: Jinja with trimmed blocks, loop controls and Python's string
//! methods.

use super::manifest::HINT;
use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
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
        Self::new(source, bos_token, eos_token).with_context(|| format!("chat template `{}`", path.display()))
    }

    /// Compiles a template.
    pub fn new(source: String, bos_token: Option<&str>, eos_token: Option<&str>) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.context("the template syntax is invalid; this is a bug")?);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source).context("it is not valid Jinja")?;
        Ok(Self { environment, bos_token: bos_token.map(str::to_owned), eos_token: eos_token.map(str::to_owned) })
    }

    /// Renders a conversation, ending where the assistant's answer begins.
    pub fn render(&self, messages: &[Message<'_>]) -> Result<String> {
        let template = self.environment.get_template(NAME).context("the chat template is gone; this is a bug")?;
        template
            .render(context! {
                messages => messages.iter().map(Message::value).collect::<Value>(),
                bos_token => token(self.bos_token.as_ref()),
                eos_token => token(self.eos_token.as_ref()),
                add_generation_prompt => true,
            })
            .context("the chat template failed to render")
    }
}

/// A token that the model does not have is undefined to its template, as in Python, and prints nothing.
fn token(token: Option<&String>) -> Value {
    token.map_or(Value::UNDEFINED, |token| Value::from(token.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_trimmed_and_python_methods_work() {
        let source = "{%- for message in messages %}\n    {%- if message.content.strip().startswith('H') %}\nH:\n    {% endif %}\n{{ message['role'] + ':' + message['content'] }}\n{% endfor %}\n{% if add_generation_prompt %}\n{{ bos_token }}assistant{% endif %}";
        let template = ChatTemplate::new(source.into(), Some("<s>"), None).expect("valid");
        let text = template.render(&[Message { role: "user", content: "Hi" }]).expect("renders");
        assert_eq!(text, "H:\nuser:Hi\n<s>assistant");
    }

    #[test]
    fn a_missing_token_prints_nothing() {
        let template = ChatTemplate::new("{{ bos_token }}|{{ eos_token }}".into(), None, Some("</s>")).expect("valid");
        assert_eq!(template.render(&[]).expect("renders"), "|</s>");
    }

    #[test]
    fn a_template_may_refuse() {
        let template = ChatTemplate::new("{{ raise_exception('no system role') }}".into(), None, None).expect("valid");
        let error = format!("{:#}", template.render(&[]).expect_err("refused"));
        assert!(error.contains("no system role"), "{error}");
    }
}
