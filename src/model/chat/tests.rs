use super::*;
use serde::Deserialize;

/// Cases known to differ, and why. None of them is a way in which published templates are written.
const DIFFERENT: [(&str, &str); 2] = [
    ("construct_escaped_slash", "`\\/` in a string is `/`, as in JSON; Python keeps the backslash"),
    ("construct_percent_operator", "`%` formats no strings, and operators cannot be replaced; the render fails"),
];

/// What transformers' renderer made of a template and a conversation; `export/record_chat_templates.py` records it.
#[derive(Deserialize)]
struct Case {
    family: String,
    conversation: String,
    template: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    messages: Value,
    add_generation_prompt: bool,
    #[serde(default)]
    variables: BTreeMap<String, Value>,
    now: Option<Clock>,
    expected: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

impl Case {
    fn render(&self) -> Result<String> {
        let template = ChatTemplate::new(&self.template, self.bos_token.as_deref(), self.eos_token.as_deref())?;
        template.with_clock(self.now).render_values(self.messages.clone(), self.add_generation_prompt, &self.variables)
    }

    /// What is wrong with a rendering, if anything is.
    fn difference(&self) -> Option<String> {
        let rendered = self.render();
        let right = match (&rendered, &self.expected, &self.error) {
            (Ok(text), Some(expected), None) => text == expected,
            (Err(error), None, Some(expected)) => format!("{error:#}").contains(expected.as_str()),
            _ => false,
        };
        let wanted = self.expected.as_ref().or(self.error.as_ref());
        (!right).then(|| format!("{}, {}: {rendered:?} is not {wanted:?}", self.family, self.conversation))
    }
}

#[test]
fn recorded_cases_render_as_transformers_renders_them() {
    let text = include_str!("../../../tests/expected/chat_templates.json");
    let recorded: Recorded = serde_json::from_str(text).expect("recorded cases");
    assert!(recorded.cases.len() >= 239);
    let (mut wrong, mut different) = (Vec::new(), Vec::new());
    for case in &recorded.cases {
        let known = DIFFERENT.iter().any(|(family, _)| *family == case.family);
        match case.difference() {
            Some(_) if known => different.push(case.family.as_str()),
            Some(difference) => wrong.push(difference),
            None => {}
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(different, DIFFERENT.map(|(family, _)| family), "a case that no longer differs leaves the list");
}

fn render(source: &str) -> String {
    let template = ChatTemplate::new(source, None, Some("</s>")).expect("valid");
    template.render(&[Message { role: "user", content: "Hi" }]).expect("renders")
}

fn refusal(source: &str) -> String {
    let template = ChatTemplate::new(source, None, None).expect("valid");
    format!("{:#}", template.render(&[]).expect_err("refused"))
}

#[test]
fn blocks_are_trimmed_and_python_methods_work() {
    let source = "{%- for message in messages %}\n    {%- if message.content.strip().startswith('H') %}\nH:\n    {% endif %}\n{{ message['role'] + ':' + message['content'] }}\n{% endfor %}\n{% if add_generation_prompt %}\n{{ eos_token }}assistant{% endif %}";
    assert_eq!(render(source), "H:\nuser:Hi\n</s>assistant");
}

#[test]
fn a_missing_token_prints_nothing() {
    assert_eq!(render("{{ bos_token }}|{{ eos_token }}"), "|</s>");
}

#[test]
fn a_template_may_refuse() {
    assert!(refusal("{{ raise_exception('no system role') }}").contains("no system role"));
    assert!(refusal("{{ raise_exception(42) }}").contains("42"));
}

#[test]
fn without_a_clock_a_template_that_asks_for_the_date_is_refused() {
    assert!(refusal("{{ strftime_now('%d %b %Y') }}").contains("set `generation.date`"));
    let source = "{% if date_string is not defined %}{{ strftime_now('%d %b %Y') }}{% endif %}";
    let dated =
        ChatTemplate::new(source, None, None).expect("valid").with_clock(Some("2024-07-26".parse().expect("date")));
    assert_eq!(dated.render(&[]).expect("renders"), "26 Jul 2024");
}

#[test]
fn messages_keep_the_order_of_their_keys() {
    assert_eq!(render("{{ messages[0] | tojson }}"), r#"{"role": "user", "content": "Hi"}"#);
    assert_eq!(render("{{ {'b': 1, 'a': 2} }}"), "{'b': 1, 'a': 2}");
}

/// Expected values are Python's own.
#[test]
fn methods_are_those_of_python() {
    for (expression, expected) in [
        ("'\\x1c a\\u3000b \\n'.split()", r#"["a", "b"]"#),
        ("' a b c '.split(none, 1)", r#"["a", "b c "]"#),
        ("' a b c '.rsplit(none, maxsplit=1)", r#"[" a b", "c"]"#),
        ("'a,b,'.split(',')", r#"["a", "b", ""]"#),
        ("''.split(',') + ''.split()", r#"[""]"#),
        ("'a\\r\\nb\\u2028\\nc\\r'.splitlines()", r#"["a", "b", "", "c"]"#),
        ("'a\\r\\nb'.splitlines(keepends=true)", r#"["a\r\n", "b"]"#),
        ("'a'.rpartition('=')", r#"["", "", "a"]"#),
        ("'\\x1f\\u00a0a\\x85'.strip()", r#""a""#),
        ("'aabcaa'.rstrip('a')", r#""aabc""#),
        ("'they\\'re 2nd éa_b \u{df}x'.title()", "\"They'Re 2Nd Éa_B Ssx\""),
        ("'-7'.zfill(4) ~ 'ab'.zfill(1)", r#""-007ab""#),
        ("'a'.center(4, '*') ~ 'ab'.center(5, '*')", r#""*a****ab*""#),
        ("'日本'.index('本') + [1, 2].index(2)", "2"),
    ] {
        assert_eq!(render(&format!("{{{{ ({expression}) | tojson }}}}")), expected, "{expression}");
    }
    assert!(refusal("{{ 'a'.index('b') }}").contains("substring not found"));
    assert!(refusal("{{ [1].index(2) }}").contains("2 is not in list"));
    assert!(refusal("{{ 'a'.split('') }}").contains("empty separator"));
}

#[test]
fn json_and_numbers_are_written_as_python_writes_them() {
    for (source, expected) in [
        (
            "{{ {'b': [1e20, -0.0, 1e-5, 0.0001], 'a': {}} | tojson }}",
            r#"{"b": [1e+20, -0.0, 1e-05, 0.0001], "a": {}}"#,
        ),
        ("{{ {'b': 1, none: 2, 3: true} | tojson(indent='\t') }}", "{\n\t\"b\": 1,\n\t\"null\": 2,\n\t\"3\": true\n}"),
        ("{{ [1, []] | tojson(false, 0) }}", "[\n1,\n[]\n]"),
        ("{{ '\u{1f680}\\x01\\x7f\"' | tojson(ensure_ascii=true) }}", r#""\ud83d\ude80\u0001\u007f\"""#),
        ("{{ \"<&'>/\" | tojson }}", "\"<&'>/\""),
        ("{{ 1e16 }} {{ 2.50 }} {{ 1e-7 }}", "1e+16 2.5 1e-07"),
    ] {
        assert_eq!(render(source), expected, "{source}");
    }
    assert!(refusal("{{ gone | tojson }}").contains("undefined"));
    assert!(refusal("{{ 1 | tojson(skipkeys=true) }}").contains("skipkeys"));
}
