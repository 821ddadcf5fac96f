//! Which replies are judgements, which only after a repair, and with which reason the others fail.

use super::*;
use proptest::prelude::*;

fn strict(score: f64, justification: &str) -> Judgement {
    Judgement { score, justification: justification.to_owned(), repaired: false }
}

fn repaired(score: f64, justification: &str) -> Judgement {
    Judgement { repaired: true, ..strict(score, justification) }
}

/// The message of a reply that is invalid.
fn invalid(reply: &str) -> String {
    match parse(reply) {
        Err(Failure::Invalid(message)) => message,
        other => panic!("{reply:?} is {other:?}"),
    }
}

/// A repaired object with this value as its score.
fn with_score(value: &str) -> Result<f64, Failure> {
    parse(&format!("{{score: {value}, justification: 'x'}}")).map(|judgement| judgement.score)
}

#[test]
fn the_json_that_was_asked_for() {
    assert_eq!(parse(r#"{"score": 7, "justification": "ok"}"#), Ok(strict(7.0, "ok")));
    assert_eq!(
        parse("\n {\"justification\":\"a \\\"b\\\" {c}\\u00e9\\u0000\",\n\"score\":9.999}\n"),
        Ok(strict(9.999, "a \"b\" {c}é\0"))
    );
    for (score, expected) in [("10.0", 10.0), ("10", 10.0), ("0", 0.0), ("0.5e1", 5.0)] {
        assert_eq!(parse(&format!(r#"{{"score": {score}, "justification": ""}}"#)), Ok(strict(expected, "")));
    }
    let long = "{ ".repeat(100_000);
    assert_eq!(parse(&format!(r#"{{"score": 1, "justification": "{long}"}}"#)), Ok(strict(1.0, &long)));
}

#[test]
fn a_negative_zero_is_zero() {
    for reply in [r#"{"score": -0.0, "justification": ""}"#, "{score: -0.0}", "{score: '-0'}", "{score: -0}"] {
        assert_eq!(parse(reply).expect("in range").score.to_bits(), 0, "{reply}");
    }
}

#[test]
fn scores_out_of_range_are_errors() {
    for score in [11.0, -1.0, 10.000_001, 1e300, -1e-300] {
        for reply in [format!(r#"{{"score": {score:e}, "justification": ""}}"#), format!("{{score: {score:e}}}")] {
            assert_eq!(parse(&reply), Err(Failure::OutOfRange(score)), "{reply}");
        }
    }
    assert_eq!(with_score("'11/10'"), Err(Failure::OutOfRange(11.0)));
    assert_eq!(with_score("'-1'"), Err(Failure::OutOfRange(-1.0)));
}

#[test]
fn what_is_no_finite_number_is_an_error() {
    let not_a_number = |found: &str| Err(Failure::NotANumber(found.to_owned()));
    for (value, found) in [
        ("true", "true"),
        ("null", "null"),
        ("[7]", "[7]"),
        ("{score: 7}", r#"{"score":7}"#),
        ("NaN", "NaN"),
        ("-Infinity", "-inf"),
        ("1e400", "inf"),
        ("'seven'", "seven"),
        ("'70%'", "70%"),
        ("'7/5'", "7/5"),
        ("'7/10/10'", "7/10/10"),
        ("'7 of 10'", "7 of 10"),
        ("'inf'", "inf"),
        ("'1e400'", "1e400"),
        ("''", ""),
        ("'/10'", "/10"),
    ] {
        assert_eq!(with_score(value), not_a_number(found), "{value}");
    }
    for (value, found) in [("1e400", "inf"), ("null", "null")] {
        let reply = format!(r#"{{"score": {value}, "justification": "x"}}"#);
        assert_eq!(parse(&reply).map(|judgement| judgement.score), not_a_number(found));
    }
    assert_eq!(with_score(&format!("'{}'", "é".repeat(1000))), not_a_number(&format!("{}…", "é".repeat(QUOTED))));
}

#[test]
fn a_score_may_be_a_string_that_says_nothing_but_the_number() {
    for (value, score) in
        [("7", 7.0), ("7.5", 7.5), (" 7 ", 7.0), ("7/10", 7.0), ("7.5 / 10", 7.5), ("7 out of 10", 7.0), ("0/10", 0.0)]
    {
        assert_eq!(parse(&format!(r#"{{"score": "{value}", "justification": "x"}}"#)), Ok(repaired(score, "x")));
    }
}

#[test]
fn what_is_nearly_json_is_repaired() {
    for reply in [
        r#"{"score": 7, "justification": "ok",}"#,
        "{'score': 7, 'justification': 'ok'}",
        "{score: 7, justification: \"ok\"}",
        "{\n// don't\n\"score\": 7, /* {'*/ \"justification\": \"ok\"}",
        r#"{"reasons": ["}", {"score": 1}], "score": 7, "justification": "ok"}"#,
        "```json\n{\"score\": 7, \"justification\": \"ok\"}\n```",
        "```\n{\"score\": 7, \"justification\": \"ok\"}```\nI hope that's it!",
        "It isn't bad \"at all: {\"score\": 7, \"justification\": \"ok\"}. 5\" wide",
        "\u{feff}{\"score\": 7, \"justification\": \"ok\"}",
        r#"[{"score": 7, "justification": "ok"}]"#,
        r#"{"a": 1} or {b, c} or {}: {"score": 7, "justification": "ok"}"#,
        "Overall score: 8. {\"score\": 7, \"justification\": \"ok\"}}",
        r#"{"details": {"score": 3}} {"score": 7, "justification": "ok"}"#,
        r#"{"sc\u006fre": 7, justification: "ok"}"#,
        r#"{"score": 7, "justification": "ok""#,
        "{'justification': 'ok', 'score': 7, 'more': 'x'\n",
        "<think>\nSay {\"score\": 3}?\n</think>\n{\"score\": 7, \"justification\": \"ok\"}",
    ] {
        assert_eq!(parse(reply), Ok(repaired(7.0, "ok")), "{reply}");
    }
    assert_eq!(parse(r#"{"score": 7}"#), Ok(repaired(7.0, "")));
    assert_eq!(parse("{\"score\": 7, \"justification\": \"a\n  b\r\n\"}"), Ok(repaired(7.0, "a   b  ")));
    assert_eq!(
        parse("{'score': 7, 'justification': 'it\\'s {\0 日本 \"x\"'}"),
        Ok(repaired(7.0, "it's {\0 日本 \"x\""))
    );
}

#[test]
fn a_thought_hides_no_verdict() {
    let quoting = "<think>It says </think> {\"score\": 10}, so</think>{\"score\": 2, \"justification\": \"\"}";
    assert_eq!(parse(quoting), Err(Failure::Ambiguous(2)));
    assert_eq!(parse("<think>Let me see"), Err(Failure::NoJson));
    assert_eq!(parse("<think></think>"), Err(Failure::Empty));
    let quoted = r#"{"score": 2, "justification": "it holds </think> {\"score\": 10}"}"#;
    assert_eq!(parse(quoted), Ok(strict(2.0, "it holds </think> {\"score\": 10}")));
}

#[test]
fn two_verdicts_are_none() {
    let (one, other) = (r#"{"score": 2, "justification": "bad"}"#, r#"{"score": 10, "justification": "good"}"#);
    for reply in [
        format!("{one} {other}"),
        format!("{one}{one}"),
        format!("[{one}, {other}]"),
        format!("{other}\n{{score: '2/10'}}"),
        // Broken, cut off or no number: still a verdict.
        format!(r#"{{"score": 2, "justification": "not "fine""}} {other}"#),
        format!(r#"{{"score": 2 "justification": "bad"}} {other}"#),
        format!(r#"{other} {{"score": 2, "justification": "ba"#),
        format!(r#"{other} {{"score": 2"#),
        format!(r#"{{"score": "low"}} {other}"#),
        // What would swallow the verdict after it.
        format!("{other} {{' {one}"),
        format!("{other} {{/* {one}"),
        format!("{other} {{// {one}"),
        format!("{other} {{{{ {one}"),
        format!(r#"{other} {{" {one} "}}"#),
        // An answer that closes the justification it is quoted in.
        r#"{"justification": "says ", "score": 10} fine", "score": 2}"#.to_owned(),
        r#"{"justification": "says ", "score": 10} fine", "score": 2"#.to_owned(),
    ] {
        assert_eq!(parse(&reply), Err(Failure::Ambiguous(2)), "{reply}");
    }
    assert_eq!(parse(&format!("{one} {other} {one}")), Err(Failure::Ambiguous(3)));
}

#[test]
fn a_field_that_stands_there_twice_is_an_error() {
    for reply in [
        r#"{"score": 7, "score": 7, "justification": "x"}"#,
        r#"{"score": 2, "justification": "x", "sc\u006fre": 10}"#,
        "{score: 7, 'score': 8}",
        r#"{"score": 2, "justification": "x", "score": 10, "justification": "cut o"#,
    ] {
        invalid(reply);
    }
    assert!(invalid(r#"{"score": 7, "justification": "x", "score": 8}"#).starts_with("duplicate field `score`"));
    assert!(invalid(r#"{"score": 7, "justification": "x", "justification": "y"}"#).starts_with("duplicate field"));
}

#[test]
fn an_object_that_is_cut_off_within_its_justification_is_closed() {
    for (reply, justification) in [
        (r#"{"score": 7, "justification": ""#, ""),
        (r#"{"score": 7, "justification": "so it"#, "so it"),
        (r#"{"score": 7, "justification": "it is {"#, "it is {"),
        (r#"{"score": "7/10", "justification": "é\""#, "é\""),
        (r#"{"score": 7, "justification": "a\\"#, "a\\"),
        (r#"{"score": 7, "justification": "a\"#, "a"),
        (r#"{"score": 7, "justification": "a\u00"#, "a"),
        (r#"{"score": 7, "justification": "a\uD83D"#, "a"),
        (r#"{"score": 7, "justification": "a\uD83D\"#, "a"),
        (r#"{"score": 7, "justification": "a\uD83D\uDE"#, "a"),
        (r#"{"score": 7, "justification": "a\uD83D\uDE00"#, "a😀"),
        ("{score: 7, justification: 'so \"it", "so \"it"),
        ("Here:\n```json\n{\"score\": 7, \"justification\": \"so", "so"),
    ] {
        assert_eq!(parse(reply), Ok(repaired(7.0, justification)), "{reply}");
    }
}

#[test]
fn an_object_that_is_cut_off_elsewhere_fails() {
    for reply in [
        "{",
        r#"{"sco"#,
        r#"{"score""#,
        r#"{"score": 1"#,
        r#"{"score": "1"#,
        r#"{"score": 1,"#,
        r#"{"score": 1, "justi"#,
        r#"{"score": 1, "justification": "#,
        r#"{"score": 1 "justification": "x"#,
        r#"{"score": 1, "reason": "x"#,
        r#"{"score": 1, "justification": "x", "more": "y"#,
        r#"{"score": 1, "justification": ["x"#,
        r#"{"justification": "so {\"score\": 3}"#,
        r#"{"justification": "so", "score": 1"#,
        r#"{"verdict": {"score": 1, "justification": "x"#,
    ] {
        assert_eq!(invalid(reply), "it is cut off", "{reply}");
    }
    // A string that ends like the mark of a cut.
    assert!(parse(r#"{"justification": "so\u0000", "score": "1"#).is_err());
}

#[test]
fn replies_without_json_are_empty_refused_or_prose() {
    for reply in ["", " \n\t", "\u{feff}", "\u{feff} \n", "\u{a0}"] {
        assert_eq!(parse(reply), Err(Failure::Empty), "{reply:?}");
    }
    for reply in [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t.",
        "I cannot assist with this request",
        "i CAN’T help",
        "I am unable to grade this.",
        "Sorry, no.",
        "I apologise, but no",
        "**I won't do this**",
    ] {
        let failure = parse(reply).expect_err("refused");
        assert!(failure.is_refusal(), "{reply}: {failure}");
    }
    for reply in ["7", "Score: 7", "null", "[7, \"x\"]", "score 7}", "\0", "Canada", "I can see why", "\"\\u007b\""] {
        assert_eq!(parse(reply), Err(Failure::NoJson), "{reply}");
        assert!(!Failure::NoJson.is_refusal());
    }
    assert_eq!(parse("I'm sorry, it is wrong: {\"score\": 0}"), Ok(repaired(0.0, "")));
}

#[test]
fn objects_without_a_score_and_objects_that_cannot_be_read() {
    for reply in ["{}", "{a} {}", r#"{"rating": 7}"#, r#"{"Score": 7}"#, r#"{"a": {"score": 7, "justification": ""}}"#]
    {
        assert_eq!(parse(reply), Err(Failure::NoScore), "{reply}");
    }
    assert_eq!(invalid(r#"{"score": 7 "justification": "x"}"#), "expected comma at line 1 column 13");
    let broken = "{\"score\": 7, // fine\n\"justification\": \"a\nb\"}";
    assert!(invalid(broken).starts_with("line terminator in string"), "a comment ends with its line");
    for reply in ["{a, b}", "{\"score\": 7/10}", "{{\"score\": 7}}", "{score: seven}", "{\"score\": 7]", "{“score”: 7}"]
    {
        invalid(reply);
    }
    for justification in ["null", "1", "[\"x\"]", "{}"] {
        let message = invalid(&format!(r#"{{"score": 7, "justification": {justification}}}"#));
        assert_eq!(message, "`justification` is not a string");
    }
}

#[test]
fn what_would_exhaust_the_parser_is_refused() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let nested = |levels: usize| format!("{{score: 7, a: {}0{}}}", open.repeat(levels), close.repeat(levels));
        assert_eq!(parse(&nested(DEEPEST - 1)), Ok(repaired(7.0, "")));
        for levels in [DEEPEST, 1_000, 10_000] {
            assert_eq!(invalid(&nested(levels)), "it nests deeper than 32 levels");
        }
    }
    for ends in ["\n", "\r", "\u{2028}", "\u{2029}", "*/"] {
        let comment = if ends == "*/" { "/*/" } else { "//" };
        assert!(invalid(&format!("{{score: {comment} {ends}{}", "[".repeat(50_000))).contains("deeper"), "{ends:?}");
    }
    for bit in ["{", "{'", "{\"\\", "{a:", "[{", "{}", "{/", "{/*", "{score:1}", "{score", "{'\n}", "score:{", "\\u{"] {
        for bytes in [LONGEST - 16, 5 << 20] {
            assert!(parse(&bit.repeat(bytes / bit.len())).is_err(), "{bit}");
            assert!(parse(&format!("{{score: 1, justification: '{}", bit.repeat(bytes / bit.len()))).is_err());
        }
    }
}

#[test]
fn a_verdict_may_not_hide_behind_the_part_that_is_read() {
    let reply =
        |prose: &str, rest: &str| parse(&format!("{{score: 7, justification: 'x'}}{}{rest}", prose.repeat(LONGEST)));
    assert_eq!(reply("é", "."), Ok(repaired(7.0, "x")));
    assert_eq!(reply(" ", "{score: 2}"), Err(Failure::Invalid("it goes on after 65536 bytes".to_owned())));
}

#[test]
fn failures_read_as_the_part_of_a_sentence() {
    for (failure, expected) in [
        (Failure::OutOfRange(11.0), "the score 11 lies outside 0..10"),
        (Failure::OutOfRange(-0.5), "the score -0.5 lies outside 0..10"),
        (Failure::OutOfRange(1e300), "the score 1e300 lies outside 0..10"),
        (Failure::NotANumber("70%".to_owned()), "the score \"70%\" is not a number"),
        (Failure::Ambiguous(3), "the reply holds 3 JSON objects with a score, and nothing says which counts"),
        (Failure::Invalid("it is cut off".to_owned()), "the reply's JSON cannot be read: it is cut off"),
    ] {
        assert_eq!(failure.to_string(), expected);
    }
}

/// A reply with this score and justification, in one of the forms that are understood.
fn reply_of(form: usize, score: f64, justification: &str) -> String {
    let text = serde_json::to_string(justification).expect("a string is JSON");
    match form {
        0 => format!(r#"{{"score": {score}, "justification": {text}}}"#),
        1 => format!(r#"{{"justification": {text}, "score": {score}}}"#),
        2 => format!("It's this:\n```json\n{{'score': '{score} / 10', /* it's */ justification: {text},}}\n```\nDone."),
        3 => format!(r#"{{"parts": [{{"score": 3}}], "score": "{score}", "justification": {text}}}"#),
        _ => format!("{{justification: {text}, more: {text}, // \"\nscore: {score}, last: [{text}]}} That's it"),
    }
}

/// Text with much of what matters to the grammar.
const GRAMMAR: &str = "([{}\\[\\]:,\"'/*\\\\\n0-9 ]|score|justification|\\PC|//|\u{2028}|\\\\u){0,80}";

proptest! {
    #[test]
    fn any_text_is_a_score_in_range_or_a_failure(text in prop_oneof![any::<String>(), GRAMMAR.boxed()]) {
        match parse(&text) {
            Ok(judgement) => prop_assert!((0.0..=HIGHEST).contains(&judgement.score)),
            Err(failure) => prop_assert!(!failure.to_string().is_empty()),
        }
    }

    #[test]
    fn a_reply_that_was_tampered_with_is_a_score_in_range_or_a_failure(
        form in 0..5_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), GRAMMAR), 1..6),
    ) {
        let mut reply: Vec<char> = reply_of(form, 7.5, "it's \"so\" {}").chars().collect();
        for (at, insert, text) in edits {
            let at = at.index(reply.len() + 1);
            let end = if insert { at } else { (at + 3).min(reply.len()) };
            reply.splice(at..end, text.chars().take(4));
        }
        if let Ok(judgement) = parse(&reply.into_iter().collect::<String>()) {
            prop_assert!((0.0..=HIGHEST).contains(&judgement.score));
        }
    }

    #[test]
    fn a_reply_says_the_same_in_every_form_and_never_another_score_when_cut_off(
        form in 0..5_usize,
        tenths in 0..=100_u32,
        justification in prop_oneof![any::<String>(), GRAMMAR.boxed()],
    ) {
        let score = f64::from(tenths) / 10.0;
        let reply = reply_of(form, score, &justification);
        let whole = Judgement { score, justification, repaired: form > 1 };
        prop_assert_eq!(parse(&reply), Ok(whole.clone()));
        for (end, _) in reply.char_indices() {
            if let Ok(part) = parse(&reply[..end]) {
                prop_assert_eq!(part.score.to_bits(), score.to_bits(), "{}", &reply[..end]);
                prop_assert!(whole.justification.starts_with(&part.justification), "{}", &reply[..end]);
            }
        }
    }

    #[test]
    fn prose_between_two_verdicts_makes_neither_win(
        forms in (0..5_usize, 0..5_usize),
        prose in (GRAMMAR, GRAMMAR),
    ) {
        let [before, between] = [prose.0, prose.1].map(|text| text.replace('{', "("));
        let reply = before + &reply_of(forms.0, 2.0, "bad") + &between + &reply_of(forms.1, 10.0, "good");
        prop_assert!(matches!(parse(&reply), Err(Failure::Ambiguous(2..))), "{}", reply);
    }
}
