//! From a task to the text a model reads, and from the text it wrote to the answer that is scored.

use crate::dataset::TaskType;
use crate::executor::Tokenise;
use crate::executor::job::Text;
use crate::model::chat::{ChatTemplate, Message};
use crate::model::decoder::DecoderText;
use crate::model::tokenizer::Encoding;
use crate::settings::Generation;
use crate::store::rows::TaskRow;
use anyhow::{Result, bail, ensure};

/// The chat-formatted prompt of a task: one plain instruction per task type, the same for every model, through each
/// model's own chat template.
pub fn render(task: &TaskRow, settings: &Generation, template: &ChatTemplate) -> Result<String> {
    ensure!(!task.input.trim().is_empty(), "the input is empty");
    let instruction = instruction(task, settings)?;
    let prompt = template.render(&[Message { role: "user", content: &instruction }])?;
    ensure!(!prompt.trim().is_empty(), "the chat template rendered an empty prompt");
    Ok(prompt)
}

/// Fills the instruction. Only the template's own placeholders are replaced, never braces inside a passage.
fn instruction(task: &TaskRow, settings: &Generation) -> Result<String> {
    let template = match TaskType::from_name(&task.task_type) {
        Some(TaskType::Qa) => &settings.qa_prompt,
        Some(TaskType::Summarization) => &settings.summarization_prompt,
        None => bail!("unknown task type `{}`; it must be `qa` or `summarization`", task.task_type),
    };
    let mut text = String::with_capacity(template.len() + task.input.len());
    let mut rest = template.as_str();
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        let after = &rest[start..];
        let filled = [
            ("{question}", task.question.as_deref()),
            ("{context}", task.context.as_deref().or(Some(&task.input))),
            ("{input}", Some(task.input.as_str())),
        ]
        .into_iter()
        .find(|(name, _)| after.starts_with(name));
        match filled {
            Some((name, Some(value))) => {
                text.push_str(value);
                rest = &after[name.len()..];
            }
            Some((name, None)) => bail!("the prompt uses `{name}`, which this task does not have"),
            None => {
                text.push('{');
                rest = &after[1..];
            }
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// The answer to score: what the model wrote, without the role echo that small models begin with, trimmed. Special
/// tokens are gone already, for the tokenizer does not decode them.
#[must_use]
pub fn clean(output: &str) -> String {
    let text = output.trim();
    let text = text.strip_prefix("assistant\n").unwrap_or(text);
    text.trim().to_owned()
}

/// Tokenises chat-formatted prompts and refuses those that leave no room for the answer.
pub struct PromptTokeniser<'a> {
    /// Tokenizer and context length.
    pub text: &'a DecoderText,
    /// Room that the answer needs.
    pub max_new_tokens: usize,
}

impl Tokenise for PromptTokeniser<'_> {
    fn tokenise(&self, text: &Text) -> Result<Encoding> {
        let Text::One(prompt) = text else { bail!("a decoder reads one text; this is a bug") };
        // The template wrote the special tokens already.
        let encoding = self.text.tokenizer.encode(prompt, false)?;
        ensure!(!encoding.ids.is_empty(), "the prompt has no tokens");
        ensure!(
            encoding.ids.len() <= self.text.max_length.saturating_sub(self.max_new_tokens),
            "the prompt has {} tokens; the model takes {}, of which {} are kept for the answer",
            encoding.ids.len(),
            self.text.max_length,
            self.max_new_tokens
        );
        Ok(encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kind: &str, question: Option<&str>, context: &str) -> TaskRow {
        TaskRow {
            task_id: "t".into(),
            dataset: "d".into(),
            task_type: kind.into(),
            input: format!("{} {context}", question.unwrap_or_default()),
            question: question.map(Into::into),
            context: Some(context.into()),
            reference: "r".into(),
            references: vec!["r".into()],
        }
    }

    fn settings(qa_prompt: &str) -> Generation {
        Generation { qa_prompt: qa_prompt.into(), ..Generation::default() }
    }

    #[test]
    fn placeholders_are_filled_once_and_braces_in_passages_stay() {
        let filled = instruction(
            &task("qa", Some("Why {context}?"), "Because {question}."),
            &settings("{context}|{question}|{x}"),
        );
        assert_eq!(filled.expect("fills"), "Because {question}.|Why {context}?|{x}");
    }

    #[test]
    fn a_missing_question_is_an_error() {
        let error = instruction(&task("qa", None, "c"), &settings("{question}")).expect_err("refused").to_string();
        assert!(error.contains("{question}"), "{error}");
    }

    #[test]
    fn an_unknown_task_type_is_an_error() {
        let error = instruction(&task("poetry", None, "c"), &settings("")).expect_err("refused").to_string();
        assert!(error.contains("`poetry`"), "{error}");
    }

    #[test]
    fn cleaning_trims_and_drops_a_role_echo() {
        assert_eq!(clean(" assistant\n In 1911. \n"), "In 1911.");
        assert_eq!(clean("the assistant\nsaid"), "the assistant\nsaid");
    }
}
