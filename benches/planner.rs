//! The batch planner alone: sorting and grouping tokenised rows, no model, no channels. It runs once per window of 2,048
//! rows on the thread that feeds every worker, so it must cost far less than tokenising them.

#![allow(missing_docs)] // the macros below make public functions

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use poq::executor::{Limits, Ready, batch};
use poq::model::tokenizer::Encoding;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rows of mixed length, the same every time.
fn rows(count: usize) -> Vec<Ready> {
    let since = Instant::now();
    let row = |index: usize| {
        let length = 4 + index.wrapping_mul(2_654_435_761) % 250;
        let encoding = Encoding { ids: vec![7; length], type_ids: vec![0; length], truncated: false };
        Ready { index, encoding, tokenise: Duration::ZERO, since }
    };
    (0..count).map(row).collect()
}

fn planner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("planner");
    for count in [256, 2048] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} rows"), |bencher| {
            let limits = Limits::new(8, 2048);
            bencher.iter_batched(|| rows(count), |rows| black_box(batch::plan(rows, limits)), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, planner);
criterion_main!(benches);
