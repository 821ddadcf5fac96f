//! The executor on a backend that computes nothing: what channels, planning and bookkeeping cost per row, as an upper
//! bound on the rows/s that any model could reach through it.

#![allow(missing_docs)] // the macros below make public functions

use anyhow::Result;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use poq::executor::job::Text;
use poq::executor::{self, Backend, Job, Limits, Quit, Ready, Tokenise};
use poq::model::tokenizer::Encoding;

/// One token per word.
struct Words;

impl Tokenise for Words {
    fn tokenise(&self, text: &Text) -> Result<Encoding> {
        let Text::One(text) = text else { anyhow::bail!("one text expected") };
        let ids: Vec<u32> = text.split(' ').map(|word| word.len() as u32).collect();
        Ok(Encoding { type_ids: vec![0; ids.len()], ids, truncated: false })
    }
}

/// Returns at once.
struct Nothing;

impl Backend for Nothing {
    type Output = u32;

    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<u32>>> {
        Ok(rows.iter().map(|row| Ok(row.encoding.ids[0])).collect())
    }
}

fn throughput(criterion: &mut Criterion) {
    const ROWS: usize = 20_000;
    let texts: Vec<String> = (0..ROWS).map(|i| "word ".repeat(1 + i % 60).trim_end().to_owned()).collect();
    let mut group = criterion.benchmark_group("executor");
    group.sample_size(20).throughput(Throughput::Elements(ROWS as u64));
    for workers in [1, 2] {
        group.bench_function(format!("{ROWS} rows, {workers} workers"), |bencher| {
            bencher.iter(|| {
                let job = |(index, text): (usize, &String)| Job { index, text: Text::One(text.clone()) };
                let mut backends: Vec<Nothing> = (0..workers).map(|_| Nothing).collect();
                let limits = Limits::new(8, 2048);
                let mut rows = 0;
                executor::run(
                    texts.iter().enumerate().map(job),
                    &Words,
                    &mut backends,
                    limits,
                    &Quit::default(),
                    |done| {
                        rows += done.len();
                        Ok(())
                    },
                )
                .expect("the fake backend does not fail");
                assert_eq!(rows, ROWS);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
