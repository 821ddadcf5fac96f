//! From a task to the text a model reads, and from the text it wrote to the answer that is scored.

use crate::dataset::TaskType;
use crate::model::chat::Message;
use crate::model::decoder_text::DecoderText;
use crate::settings::Generation;
use crate::store::rows::TaskRow;
use anyhow::{Result, bail, ensure};

/// A prompt as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Chat-formatted text.
    pub text: String,
    /// Whether the passage or article was cut.
    pub truncated: bool,
}

/// The chat-formatted prompt of a task: one plain instruction per task type, the same for every model, through each
/// model's own chat template. A prompt that leaves no room for the answer loses the end of its passage or article, never a
/// word of the question or the template.
pub fn render(task: &TaskRow, settings: &Generation, model: &DecoderText) -> Result<Rendered> {
    ensure!(!task.input.trim().is_empty(), "the input is empty");
    let render = |task: &TaskRow| {
        let instruction = instruction(task, settings)?;
        let prompt = model.template.render(&[Message { role: "user", content: &instruction }])?;
        ensure!(!prompt.trim().is_empty(), "the chat template rendered an empty prompt");
        Ok(prompt)
    };
    let text = render(task)?;
    let room = model.max_length.saturating_sub(settings.max_new_tokens);
    // A token is at least a byte long, save one that a tokenizer may put in front.
    if text.len() < room {
        return Ok(Rendered { text, truncated: false });
    }
    let count = |text: &str| Ok::<usize, anyhow::Error>(model.tokenizer.encode(text, false)?.ids.len());
    let tokens = count(&text)?;
    if tokens <= room {
        return Ok(Rendered { text, truncated: false });
    }
    let too_long = || {
        format!(
            "the prompt has {tokens} tokens, and the model takes {}, of which {} are kept for the answer",
            model.max_length, settings.max_new_tokens
        )
    };
    let Some(passage) = passage(task, settings) else {
        bail!("{}; the prompt has no `{{context}}` that could be cut", too_long());
    };
    let starts = model.tokenizer.offsets(passage)?;
    let mut kept = starts.len().saturating_sub(tokens - room);
    while kept > 0 {
        let text = render(&with_passage(task, beginning(passage, starts[kept])))?;
        let tokens = count(&text)?;
        if tokens <= room {
            return Ok(Rendered { text, truncated: true });
        }
        kept = kept.saturating_sub(tokens - room);
    }
    bail!("{}; it would not fit without its passage either", too_long())
}

/// Tokens of a chat-formatted prompt; the template wrote the special tokens already.
pub fn tokenise(prompt: &str, model: &DecoderText, settings: &Generation) -> Result<Vec<u32>> {
    let ids = model.tokenizer.encode(prompt, false)?.ids;
    ensure!(!ids.is_empty(), "the prompt has no tokens");
    let room = model.max_length.saturating_sub(settings.max_new_tokens);
    ensure!(
        ids.len() <= room,
        "the prompt has {} tokens, and the model takes {}, of which {} are kept for the answer",
        ids.len(),
        model.max_length,
        settings.max_new_tokens
    );
    Ok(ids)
}

/// The part of a task that may be cut: the context; or the input, where nothing else is in it.
fn passage<'t>(task: &'t TaskRow, settings: &Generation) -> Option<&'t str> {
    let template = template(task, settings).ok()?;
    match &task.context {
        Some(context) if template.contains("{context}") && !template.contains("{input}") => Some(context),
        None if task.question.is_none() => Some(&task.input),
        _ => None,
    }
}

fn with_passage(task: &TaskRow, passage: &str) -> TaskRow {
    let mut cut = task.clone();
    match &mut cut.context {
        Some(context) => passage.clone_into(context),
        None => passage.clone_into(&mut cut.input),
    }
    cut
}

/// The text before a byte offset, which may lie inside a character, without white space at its end.
fn beginning(text: &str, end: usize) -> &str {
    let end = (0..=end.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text[..end].trim_end()
}

fn template<'s>(task: &TaskRow, settings: &'s Generation) -> Result<&'s str> {
    match TaskType::from_name(&task.task_type) {
        Some(TaskType::Qa) => Ok(&settings.qa_prompt),
        Some(TaskType::Summarization) => Ok(&settings.summarization_prompt),
        None => bail!("unknown task type `{}`; it must be `qa` or `summarization`", task.task_type),
    }
}

/// Fills the instruction. Only the template's own placeholders are replaced, never braces inside a passage.
fn instruction(task: &TaskRow, settings: &Generation) -> Result<String> {
    let template = template(task, settings)?;
    let mut text = String::with_capacity(template.len() + task.input.len());
    let mut rest = template;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn task(kind: &str, question: Option<&str>, context: &str) -> TaskRow {
        TaskRow {
            task_type: kind.into(),
            input: format!("{} {context}", question.unwrap_or_default()),
            question: question.map(Into::into),
            context: Some(context.into()),
            ..samples::task("t")
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
