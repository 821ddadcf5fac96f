//! The executor on a fake backend: order, failures, back-pressure and quitting, without a model.

use super::job::Text;
use super::*;
use crate::model::tokenizer::Encoding;
use anyhow::bail;
use proptest::prelude::*;

/// One token per byte; texts that hold `!tokenise` fail.
struct Bytes;

impl Tokenise for Bytes {
    fn tokenise(&self, text: &Text) -> Result<Encoding> {
        let Text::One(text) = text else { bail!("one text expected") };
        if text.contains("!tokenise") {
            bail!("cannot tokenise");
        }
        let ids: Vec<u32> = text.bytes().map(u32::from).collect();
        Ok(Encoding { type_ids: vec![0; ids.len()], ids, truncated: false })
    }
}

/// Sums the bytes; a row whose first byte is `x` makes the whole batch fail, `y` only itself.
struct Sum;

impl Backend for Sum {
    type Output = u32;

    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<u32>>> {
        if rows.iter().any(|row| row.encoding.ids.first() == Some(&u32::from(b'x'))) {
            bail!("the batch broke");
        }
        let one = |row: &Ready| match row.encoding.ids.first() {
            Some(&id) if id == u32::from(b'y') => bail!("not this one"),
            _ => Ok(row.encoding.ids.iter().sum()),
        };
        Ok(rows.iter().map(one).collect())
    }
}

fn jobs(texts: &[String]) -> Vec<Job> {
    texts.iter().enumerate().map(|(index, text)| Job { index, text: Text::One(text.clone()) }).collect()
}

fn collect(texts: &[String], workers: usize, limits: Limits) -> (Vec<Result<u32, String>>, Totals) {
    let mut rows: Vec<Option<Result<u32, String>>> = vec![None; texts.len()];
    let mut backends: Vec<Sum> = (0..workers).map(|_| Sum).collect();
    let totals = run(jobs(texts).into_iter(), &Bytes, &mut backends, limits, &Quit::default(), |batch| {
        for row in batch {
            assert!(rows[row.index].replace(row.result).is_none(), "row {} came twice", row.index);
        }
        Ok(())
    })
    .expect("runs");
    (rows.into_iter().map(|row| row.expect("every row comes out")).collect(), totals)
}

#[test]
fn a_bad_row_fails_alone() {
    let texts: Vec<String> = ["ab", "xb", "yb", "!tokenise", "cd"].map(str::to_owned).into();
    let (rows, totals) = collect(&texts, 2, Limits::new(8, 100));
    assert_eq!(rows[0], Ok(195));
    assert_eq!(rows[1], Err("the batch broke".into()));
    assert_eq!(rows[2], Err("not this one".into()));
    assert_eq!(rows[3], Err("cannot tokenise".into()));
    assert_eq!(rows[4], Ok(199));
    assert_eq!((totals.rows, totals.failed), (5, 3));
}

/// Has room for so many rows at once, and keeps account of the batches it was given.
struct Narrow {
    room: usize,
    batches: Vec<usize>,
}

impl Backend for Narrow {
    type Output = u32;

    fn infer(&mut self, rows: &[Ready]) -> Result<Vec<Result<u32>>> {
        self.batches.push(rows.len());
        if rows.len() > self.room {
            bail!("out of memory");
        }
        Ok(rows.iter().map(|row| Ok(row.encoding.ids.iter().sum())).collect())
    }
}

#[test]
fn a_batch_without_room_is_computed_in_halves() {
    let texts: Vec<String> = (0..13).map(|i| format!("{i:02}")).collect();
    for (room, expected) in [(4, vec![13, 6, 3, 3, 7, 3, 4]), (13, vec![13])] {
        let mut narrow = [Narrow { room, batches: Vec::new() }];
        let mut rows = vec![None; texts.len()];
        run(jobs(&texts).into_iter(), &Bytes, &mut narrow, Limits::new(16, 100), &Quit::default(), |batch| {
            batch.into_iter().for_each(|row| rows[row.index] = Some(row.result));
            Ok(())
        })
        .expect("runs");
        let sums = texts.iter().map(|text| Some(Ok(text.bytes().map(u32::from).sum())));
        assert_eq!(rows, sums.collect::<Vec<_>>());
        assert_eq!(narrow[0].batches, expected);
    }
}

#[test]
fn a_failing_writer_ends_the_run_with_its_error() {
    let texts: Vec<String> = (0..5000).map(|i| format!("row {i}")).collect();
    let limits = Limits::new(4, 100);
    let outcome =
        run(jobs(&texts).into_iter(), &Bytes, &mut [Sum, Sum], limits, &Quit::default(), |_| bail!("the disk is full"));
    assert_eq!(outcome.expect_err("fails").to_string(), "the disk is full");
}

#[test]
fn a_quit_request_stops_between_batches() {
    let texts: Vec<String> = (0..5000).map(|i| format!("row {i}")).collect();
    let (quit, mut rows) = (Quit::default(), 0);
    let totals = run(jobs(&texts).into_iter(), &Bytes, &mut [Sum], Limits::new(1, 10), &quit, |batch| {
        rows += batch.len();
        quit.request();
        Ok(())
    })
    .expect("runs");
    assert!(totals.interrupted && rows < 100, "{rows} rows came out after a quit request");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_worker_count_and_budget_gives_the_same_rows(
        texts in prop::collection::vec("[a-w]{0,12}", 0..80), workers in 1_usize..4, max_rows in 1_usize..7,
        tokens in 1_usize..60,
    ) {
        let (one, _) = collect(&texts, 1, Limits::new(1, 1));
        let (many, totals) = collect(&texts, workers, Limits::new(max_rows, tokens));
        prop_assert_eq!(one, many);
        prop_assert_eq!(totals.rows, texts.len());
    }
}
