//! The wide join on rows written out by hand, gaps included:
//! order, nulls, clashing names and keys that occur twice.

use super::super::fixtures::{score, task};
use super::*;
use crate::store::rows::{GenerationRow, JudgementRow, ScoreRow};
use crate::store::samples::{answer, failed_answer};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type};

fn metrics(
    tasks: &[TaskRow],
    generations: &[GenerationRow],
    scores: &[ScoreRow],
    judgements: &[JudgementRow],
) -> Result<RecordBatch> {
    super::metrics(&Joined::new(tasks, generations, scores, judgements)?)
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn numbers_of(batch: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    let column = batch.column_by_name(column).expect("the column is there");
    column.as_primitive::<Float64Type>().iter().collect()
}

fn text_of<'a>(batch: &'a RecordBatch, column: &str) -> Vec<Option<&'a str>> {
    batch.column_by_name(column).expect("the column is there").as_string::<i64>().iter().collect()
}

#[test]
fn the_described_columns_are_those_of_the_table() {
    let batch = metrics(&[task("a", "qa")], &[answer("a", "m")], &[score("a", "m", "ce_x", 0.5, 5.0)], &[]);
    let schema = batch.expect("the rows agree").schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| (field.name().replace("ce_x", "<evaluator>"), field.data_type().to_string(), field.is_nullable()));
    let described = COLUMNS.iter().map(|one| (one.name.to_owned(), one.data_type.to_owned(), one.is_nullable()));
    assert_eq!(columns.collect::<Vec<_>>(), described.collect::<Vec<_>>());
}

#[test]
fn one_row_per_answer_in_their_order_with_nulls_for_gaps() {
    let tasks = [task("a", "qa"), task("b", "summarization")];
    let generations = [answer("b", "m2"), answer("a", "m1"), failed_answer("a", "m2"), answer("gone", "m1")];
    let mut unscored = score("b", "m2", "ce_x", 0.0, 0.0);
    (unscored.raw, unscored.normalized, unscored.error) = (None, None, Some("too long".into()));
    let scores = [
        score("a", "m1", "ce_x", -3.5, 0.0),
        score("a", "m1", "f1", 0.5, 5.0),
        score("b", "m2", "f1", 1.0, 10.0),
        score("b", "m2", "exact_match", 1.0, 10.0),
        score("a", "m1", "a_bi", 0.9, 10.0),
        score("a", "nobody", "f1", 0.1, 1.0),
        unscored,
    ];
    let batch = metrics(&tasks, &generations, &scores, &[]).expect("the rows agree");

    let fixed = ["task_id", "model", "dataset", "task_type", "input", "reference", "output", "f1", "exact_match"];
    let evaluators = ["ce_x", "ce_x_raw", "a_bi", "a_bi_raw"];
    let others = ["judge", "prompt_tokens", "output_tokens", "finish_reason", "latency_ms", "error"];
    assert_eq!(names(&batch), [&fixed[..], &evaluators, &others].concat());

    assert_eq!(text_of(&batch, "task_id"), ["b", "a", "a", "gone"].map(Some));
    assert_eq!(text_of(&batch, "model"), ["m2", "m1", "m2", "m1"].map(Some));
    assert_eq!(text_of(&batch, "task_type"), [Some("summarization"), Some("qa"), Some("qa"), None]);
    assert_eq!(text_of(&batch, "reference")[0], Some("reference of b"));
    assert_eq!(text_of(&batch, "output"), [Some("an answer"), Some("an answer"), None, Some("an answer")]);
    assert_eq!(text_of(&batch, "error")[2], Some("the prompt is too long"));
    assert_eq!(numbers_of(&batch, "f1"), [Some(10.0), Some(5.0), None, None]);
    assert_eq!(numbers_of(&batch, "exact_match"), [Some(10.0), None, None, None]);
    assert_eq!(numbers_of(&batch, "ce_x"), [None, Some(0.0), None, None]);
    assert_eq!(numbers_of(&batch, "ce_x_raw"), [None, Some(-3.5), None, None]);
    assert_eq!(numbers_of(&batch, "judge"), [None; 4]);
    let tokens = batch.column_by_name("output_tokens").expect("the column is there");
    assert_eq!(tokens.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(20), Some(20), None, Some(20)]);
}

#[test]
fn no_rows_still_make_a_table() {
    let batch = metrics(&[], &[], &[], &[]).expect("nothing is no contradiction");
    assert_eq!((batch.num_rows(), batch.num_columns()), (0, 15));
    assert!(!batch.schema().field(0).is_nullable() && batch.schema().field(2).is_nullable());
    let unscored = metrics(&[task("a", "qa")], &[answer("a", "m")], &[], &[]).expect("scores may be missing");
    assert_eq!(unscored.column_by_name("f1").expect("the column is there").null_count(), 1);
}

#[test]
fn an_evaluator_cannot_take_the_name_of_another_column() {
    let generations = [answer("a", "m")];
    for clash in ["judge", "output", "error"] {
        let error = metrics(&[], &generations, &[score("a", "m", clash, 1.0, 1.0)], &[]).expect_err("the names clash");
        assert!(error.to_string().contains(&format!("`{clash}`")), "{error}");
    }
    let scores = [score("a", "m", "x", 1.0, 1.0), score("a", "m", "x_raw", 1.0, 1.0)];
    let error = metrics(&[], &generations, &scores, &[]).expect_err("the names clash");
    assert!(error.to_string().contains("`x_raw`"), "{error}");
}

#[test]
fn a_key_that_occurs_twice_is_an_error_that_names_it() {
    let twice = metrics(&[task("a", "qa"), task("a", "qa")], &[], &[], &[]).expect_err("the task is there twice");
    assert!(twice.to_string().contains("task `a` twice"), "{twice}");
    let twice = metrics(&[], &[answer("a", "m"), answer("a", "m")], &[], &[]).expect_err("the answer is there twice");
    assert!(twice.to_string().contains("`m` to task `a` twice"), "{twice}");
    let scores = [score("a", "m", "f1", 0.1, 1.0), score("a", "m", "f1", 0.2, 2.0)];
    let twice = metrics(&[], &[answer("a", "m")], &scores, &[]).expect_err("the score is there twice");
    assert!(twice.to_string().contains("`f1`"), "{twice}");
}
