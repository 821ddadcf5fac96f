//! What is done to a template's source before it is compiled.

use std::borrow::Cow;

/// Line ends become line feeds, as in Jinja, and the tags by which transformers marks what the assistant says become
/// those of a block with its own scope, which is all they are to a prompt.
pub(super) fn rewrite(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut tags = source.split("{%");
    let mut rewritten = tags.next().unwrap_or_default().to_owned();
    for tag in tags {
        rewritten.push_str("{%");
        rewritten.push_str(&without_generation(tag));
    }
    rewritten
}

/// What follows the opening of a tag, with another name where the tag is `generation` or `endgeneration`.
fn without_generation(tag: &str) -> Cow<'_, str> {
    let start = tag.len() - tag.trim_start_matches(['-', '+']).trim_start().len();
    for (name, other) in [("generation", "with"), ("endgeneration", "endwith")] {
        let Some(rest) = tag[start..].strip_prefix(name) else { continue };
        if rest.trim_start().trim_start_matches(['-', '+']).starts_with("%}") {
            return format!("{}{other}{rest}", &tag[..start]).into();
        }
    }
    tag.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_generation_tags_are_renamed() {
        for (source, rewritten) in [
            ("{% generation %}a{% endgeneration %}", "{% with %}a{% endwith %}"),
            ("{%- generation +%}{%+endgeneration-%}", "{%- with +%}{%+endwith-%}"),
            ("{%-\n generation\n%}", "{%-\n with\n%}"),
            ("{% set generation = 1 %}{{ generation }}", "{% set generation = 1 %}{{ generation }}"),
            ("{% generation_of(1) %}{% generations %}", "{% generation_of(1) %}{% generations %}"),
            ("{% generation", "{% generation"),
            ("a\r\nb\rc\n", "a\nb\nc\n"),
            ("", ""),
        ] {
            assert_eq!(rewrite(source), rewritten, "{source}");
        }
    }
}
