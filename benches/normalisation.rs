//! Fitting and applying a scale, by method: what normalising a column of scores costs per row.

#![allow(missing_docs)] // the macros below make public functions

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use poq::score::scale::{Fit, Method};

fn scales(criterion: &mut Criterion) {
    const ROWS: usize = 100_000;
    // Distinct values without a pattern that a sort could use.
    let raw: Vec<f64> = (0..ROWS as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64).collect();
    let mut group = criterion.benchmark_group("normalisation");
    group.sample_size(20).throughput(Throughput::Elements(ROWS as u64));
    for method in [Method::MinMax, Method::Rank, Method::Clipped] {
        group.bench_function(format!("{method:?}, {ROWS} scores"), |bencher| {
            bencher.iter(|| {
                let mut fit = Fit::new(method);
                for &score in &raw {
                    fit.see(score);
                }
                let scale = fit.finish();
                raw.iter().map(|&score| scale.place(score)).sum::<f64>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, scales);
criterion_main!(benches);
