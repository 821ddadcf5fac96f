//! Every way a case can go, on replies made by hand.

use super::*;
use crate::judge::Purpose;
use crate::judge::conversation::Order;
use crate::store::samples;
use std::collections::HashMap;

fn who() -> Who {
    Who { name: "j".into(), place: "p".into(), temperature: 0.0, max_output_tokens: 50, seed: 1 }
}

fn case() -> Case {
    let conversation = Conversation::about("grade", &samples::task("t"), "Paris", Order::ReferenceFirst);
    Case {
        task_id: "t".into(),
        model: "m".into(),
        purpose: Purpose::Judgement,
        repeat: 0,
        conversation: Ok(conversation),
    }
}

fn reply(text: &str) -> Reply {
    Reply { text: text.into(), input_tokens: Some(10), output_tokens: Some(5), ..Reply::default() }
}

/// Answers with these replies in turn until the case is through; how often it asked.
fn play(case: &Case, replies: &[Reply]) -> (Verdict, usize) {
    let mut known: HashMap<String, ReplyRecord> = HashMap::new();
    let mut replies = replies.iter();
    loop {
        let heard = heard(case, &who(), |key| known.get(key));
        assert_eq!(heard.keys.len(), known.len(), "every reply is heard");
        match heard.open {
            None => return (heard.verdict, known.len()),
            Some((_, Keys { key, content })) => {
                let record = ReplyRecord {
                    key: key.clone(),
                    content,
                    task_id: "t".into(),
                    model: "m".into(),
                    purpose: "judgement".into(),
                    attempts: 2,
                    cost_usd: None,
                    lost_usd: 0.0,
                    promised_usd: 0.0,
                    replayed: false,
                    reply: Some(replies.next().expect("asked more often than there are replies").clone()),
                };
                assert!(known.insert(key, record).is_none(), "the same question twice");
            }
        }
    }
}

const GOOD: &str = r#"{"score": 7, "justification": "mostly right"}"#;

#[test]
fn a_good_reply_is_enough() {
    let (verdict, asked) = play(&case(), &[reply(GOOD)]);
    assert_eq!((verdict.score, verdict.justification.as_deref(), asked), (Some(7.0), Some("mostly right"), 1));
    assert_eq!(
        (verdict.repaired, verdict.refused, verdict.error.as_deref(), verdict.attempts),
        (Some(false), false, None, 2)
    );
}

#[test]
fn a_reply_in_a_fence_is_mended_and_said_to_be() {
    let (verdict, asked) = play(&case(), &[reply(&format!("```json\n{GOOD}\n```"))]);
    assert_eq!((verdict.score, verdict.repaired, asked), (Some(7.0), Some(true), 1));
}

#[test]
fn what_cannot_be_understood_is_asked_about_once_more() {
    for bad in ["Seven, I would say.", "", r#"{"score": 11, "justification": "x"}"#, r#"{"score": null}"#] {
        let (verdict, asked) = play(&case(), &[reply(bad), reply(GOOD)]);
        assert_eq!((verdict.score, asked, verdict.replies.len(), verdict.attempts), (Some(7.0), 2, 2, 4), "{bad}");
        assert_eq!(verdict.total(|reply| reply.input_tokens), Some(20));
    }
}

#[test]
fn after_two_bad_replies_the_row_fails_with_both_reasons() {
    let (verdict, asked) = play(&case(), &[reply("Seven."), reply(r#"{"score": 11, "justification": "x"}"#)]);
    let error = verdict.error.expect("failed");
    assert!(asked == 2 && verdict.score.is_none() && error.contains("11") && error.contains("at first"), "{error}");
    assert!(!verdict.refused && verdict.repaired.is_none());
}

#[test]
fn refusals_are_counted_and_not_argued_with() {
    let declined = Reply { refusal: Some("I will not.".into()), ..Reply::default() };
    let filtered = Reply { finish_reason: Some("content_filter".into()), ..reply("") };
    for first in [declined, filtered, reply("I'm sorry, but I can't help with that.")] {
        let (verdict, asked) = play(&case(), &[first]);
        assert!(verdict.refused && verdict.score.is_none() && verdict.error.is_some() && asked == 1);
    }
    let (verdict, asked) = play(&case(), &[reply("Seven."), reply("I'm sorry, but I can't.")]);
    assert!(verdict.refused && asked == 2);
}

#[test]
fn what_has_no_question_is_not_asked() {
    let case = Case { conversation: Err("there is no answer to judge: it broke".into()), ..case() };
    let (verdict, asked) = play(&case, &[]);
    assert_eq!(
        (verdict.error.as_deref(), verdict.attempts, asked),
        (Some("there is no answer to judge: it broke"), 0, 0)
    );
    assert_eq!(verdict.total(|reply| reply.input_tokens), None, "nothing is not zero");
}

#[test]
fn keys_tell_apart_what_differs() {
    let case = case();
    let asked = case.conversation.as_ref().expect("asked");
    let keys = who().keys(asked, 0);
    let others = [
        who().keys(asked, 1),
        who().keys(&asked.once_more("x", "y"), 0),
        Who { name: "k".into(), ..who() }.keys(asked, 0),
        Who { temperature: 0.5, ..who() }.keys(asked, 0),
        Who { max_output_tokens: 51, ..who() }.keys(asked, 0),
    ];
    assert!(others.iter().all(|other| other.key != keys.key && other.content != keys.content));
    let elsewhere = Who { place: "q".into(), ..who() }.keys(asked, 0);
    assert!(elsewhere.key != keys.key && elsewhere.content == keys.content, "a recording serves everybody");
}
