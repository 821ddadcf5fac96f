//! The one place where text becomes markup. Everything that a model, a file or a user wrote passes here, or through the
//! page's template, which escapes in the same way.

use minijinja::HtmlEscape;

/// Text as it stands in HTML and XML, in elements and in quoted attributes. Characters that XML cannot hold are left out.
pub(super) fn escape(text: &str) -> String {
    let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    let clean: String = text.chars().filter(|c| allowed(*c) && !matches!(c, '\u{fffe}' | '\u{ffff}')).collect();
    // A slash ends nothing by itself, and paths are to be found in the source.
    HtmlEscape(&clean).to_string().replace("&#x2f;", "/")
}

/// Text in which what stands between backticks is code.
pub(super) fn inline(text: &str) -> String {
    // An odd number of backticks encloses nothing.
    if !text.matches('`').count().is_multiple_of(2) {
        return escape(text);
    }
    let parts = text.split('`').enumerate();
    parts
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(escape("<b a='\"'>&\u{1}"), "&lt;b a=&#x27;&quot;&#x27;&gt;&amp;");
        assert_eq!(inline("say `a<b` & go"), "say <code>a&lt;b</code> &amp; go");
        assert_eq!(inline("one ` alone"), "one ` alone");
        assert_eq!(escape("a/b &#x2f;"), "a/b &amp;#x2f;");
    }
}
