//! Where the JSON objects of a reply begin and end, whatever prose surrounds them: one pass over balanced braces.
//!
//! Within an object strings and comments are told apart as the JSON5 parser does, up to its first error, so that the depth
//! counted here bounds its recursion.

/// A stretch of a reply from a brace to the one that closes it, or to the reply's end.
pub struct Object<'a> {
    /// The stretch, braces included.
    pub text: &'a str,
    /// Where it ends.
    pub end: End,
    /// Most brackets open at once.
    pub depth: usize,
}

/// Where an object ends.
#[derive(Clone, Copy)]
pub enum End {
    /// At the closing brace.
    Closed,
    /// Within a string of the object itself that this quote would close.
    Quoted(char),
    /// Anywhere else.
    Open,
}

#[derive(Clone, Copy)]
enum State {
    Plain,
    Quoted(char),
    LineComment,
    BlockComment,
}

/// The outermost objects of a text.
#[must_use]
pub fn objects(text: &str) -> Vec<Object<'_>> {
    let mut found = Vec::new();
    let (mut start, mut braces, mut brackets, mut depth) = (0, 0_usize, 0_usize, 0);
    let mut state = State::Plain;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if braces == 0 && c != '{' {
            continue;
        }
        match (state, c) {
            (State::Quoted(_), '\\') => {
                chars.next();
            }
            (State::Quoted(quote), c) if c == quote => state = State::Plain,
            (State::LineComment, '\n' | '\r' | '\u{2028}' | '\u{2029}') => state = State::Plain,
            (State::BlockComment, '*') if chars.next_if(|next| next.1 == '/').is_some() => state = State::Plain,
            (State::Plain, '"' | '\'') => state = State::Quoted(c),
            (State::Plain, '/') if chars.next_if(|next| next.1 == '/').is_some() => state = State::LineComment,
            (State::Plain, '/') if chars.next_if(|next| next.1 == '*').is_some() => state = State::BlockComment,
            (State::Plain, '{' | '[') => {
                if braces == 0 {
                    (start, brackets, depth) = (at, 0, 0);
                }
                braces += usize::from(c == '{');
                brackets += 1;
                depth = depth.max(brackets);
            }
            (State::Plain, ']') => brackets = brackets.saturating_sub(1),
            (State::Plain, '}') => {
                brackets = brackets.saturating_sub(1);
                braces -= 1;
                if braces == 0 {
                    found.push(Object { text: &text[start..=at], end: End::Closed, depth });
                }
            }
            _ => {}
        }
    }
    if braces > 0 {
        let end = match state {
            State::Quoted(quote) if brackets == 1 => End::Quoted(quote),
            _ => End::Open,
        };
        found.push(Object { text: &text[start..], end, depth });
    }
    found
}
