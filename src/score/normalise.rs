//! Answer text as the official `SQuAD` evaluation compares it: lower case, no ASCII punctuation, no articles, single
//! spaces.
//!
//! The reference is Python, whose notions of a word character and of white space differ from Rust's and from most
//! regex engines'; both are spelt out here. Tables of newer Unicode versions than Python's may know more letters.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Normalises a text; its tokens are what `split(' ')` gives, none if it is empty.
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut plain = text.to_lowercase();
    plain.retain(|c| !c.is_ascii_punctuation());
    let mut bare = String::with_capacity(plain.len());
    let mut rest = plain.as_str();
    while !rest.is_empty() {
        let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        bare.push_str(if matches!(word, "a" | "an" | "the") { " " } else { word });
        let gap = &rest[word.len()..];
        let gap = &gap[..gap.find(is_word).unwrap_or(gap.len())];
        bare.push_str(gap);
        rest = &rest[word.len() + gap.len()..];
    }
    bare.split(is_space).filter(|token| !token.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `\w` of Python's `re`: `str.isalnum()` or underscore. `isalnum` is exactly the letters and numbers by general
/// category; combining marks are neither.
fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    matches!(c.general_category_group(), GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number)
}

/// White space of Python's `str.split()`: Unicode's, and the four information separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_rule_of_the_reference_holds() {
        let cases = [
            ("The  Norman's\tarmy!", "normans army"),
            ("an a the AN", ""),
            ("anthem a-the-b theatre", "anthem atheb theatre"),
            ("a.", ""),
            // A combining mark is no word character, so the article stands alone; a composed letter is one.
            ("a\u{301} b", "\u{301} b"),
            ("\u{e1} b", "\u{e1} b"),
            // Numbers of every kind are word characters.
            ("a² aⅣ a٣ a½", "a² aⅳ a٣ a½"),
            // Dashes and quotes outside ASCII stay, and bound words.
            ("the–end “a” ‘an’", "–end “ ” ‘ ’"),
            ("x\x1cy\x1dz\u{85}u\u{a0}v\u{202f}w\u{3000}t", "x y z u v w t"),
            ("\u{200b}a\u{200b}", "\u{200b} \u{200b}"),
            ("ΟΔΟΣ İ", "οδος i\u{307}"),
            ("snake_case a_b", "snakecase ab"),
            ("$1,234.56", "123456"),
        ];
        for (text, expected) in cases {
            assert_eq!(normalise(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_single_spaced_tokens(text in "\\PC*|[a-zA Z.\\s]*") {
            let normal = normalise(&text);
            prop_assert!(normal.is_empty() || normal.split(' ').all(|t| !t.is_empty() && !t.contains(is_space)));
        }
    }
}
