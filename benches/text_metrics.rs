//! F1 and exact match alone: what `poq score` does to every row beside the evaluators.

#![allow(missing_docs)] // the macros below make public functions

use criterion::{Criterion, criterion_group, criterion_main};
use poq::score::f1::{exact_match, token_f1};
use std::hint::black_box;

const SUMMARY: &str = "The council voted to close the northern ferry after a survey found cracks in both piers; \
    service will resume in March, and the 240 daily passengers will be taken by bus until then.";
const ARTICLE: &str = "Councillors in the harbour town voted nine to four on Tuesday to close the northern ferry \
    until the spring. A survey had found cracks in both piers. Some 240 people use the crossing every day; buses will \
    carry them from Monday, the mayor said, and \"nobody will be left on the quay\".";

fn text_metrics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text metrics");
    for (name, output, references) in [
        ("short answer, three references", "In the year 1911.", vec!["1911", "in 1911", "the year 1911"]),
        ("summary, one reference", SUMMARY, vec![ARTICLE]),
    ] {
        group.bench_function(format!("f1: {name}"), |b| b.iter(|| token_f1(black_box(output), black_box(&references))));
        group.bench_function(format!("exact match: {name}"), |b| {
            b.iter(|| exact_match(black_box(output), black_box(&references)));
        });
    }
    group.finish();
}

criterion_group!(benches, text_metrics);
criterion_main!(benches);
