//! The answer of a sweep: the fastest settings of each evaluator, in f32 and at any precision that keeps the order of scores,
//! and of each LLM.

use crate::model::provider::Precision;
use crate::profile::INFERENCE;
use crate::store::rows::BenchRow;

/// Spearman correlation with the f32 scores below which a reduced precision is not recommended.
pub const LEAST_SPEARMAN: f64 = 0.99;

/// The rows of one evaluator that a user would choose between: at least one is there.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'r> {
    /// Fastest in f32; none when no cell in f32 worked or was asked for.
    pub exact: Option<&'r BenchRow>,
    /// Fastest at reduced precision: of those whose scores keep their order and that are faster than f32, or, without f32
    /// to compare with, of all.
    pub reduced: Option<&'r BenchRow>,
}

/// Evaluators in order of first appearance, each with its verdict; one without a single cell that worked has none.
#[must_use]
pub fn verdicts(rows: &[BenchRow]) -> Vec<(&str, Option<Verdict<'_>>)> {
    let of = |model| verdict(rows.iter().filter(move |row| row.model == model));
    models(rows, is_evaluator).into_iter().map(|model| (model, of(model))).collect()
}

/// LLMs in order of first appearance, each with its fastest row; one without a single cell that worked has none.
#[must_use]
pub fn generation_verdicts(rows: &[BenchRow]) -> Vec<(&str, Option<&BenchRow>)> {
    let fastest = |model| {
        let working = rows.iter().filter(|row| row.model == model && row.tokens_per_s.is_some());
        working.reduce(|a, b| if b.tokens_per_s > a.tokens_per_s { b } else { a })
    };
    models(rows, |row| !is_evaluator(row)).into_iter().map(|model| (model, fastest(model))).collect()
}

/// One line: the command to use, what it brings, and what it changes.
#[must_use]
pub fn generation_line(row: &BenchRow) -> String {
    let different = match row.different_answers {
        None | Some(0) => String::new(),
        Some(different) => format!(", {different} of {} answers not those of the first cell", row.texts),
    };
    let BenchRow { model, provider, threads, batch_size, batch_tokens, .. } = row;
    let provider = if provider == "cpu" { String::new() } else { format!("--provider {provider} ") };
    let settings = format!("{provider}--batch-size {batch_size} --batch-tokens {batch_tokens} --threads {threads}");
    format!("{model}: poq generate RUN {settings} ({}{different})", speed(row))
}

fn is_evaluator(row: &BenchRow) -> bool {
    row.role != INFERENCE
}

fn models(rows: &[BenchRow], wanted: impl Fn(&BenchRow) -> bool) -> Vec<&str> {
    let mut models: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| wanted(row)) {
        if !models.contains(&row.model.as_str()) {
            models.push(&row.model);
        }
    }
    models
}

/// The fastest row of every evaluator, provider and precision: what is worth remembering.
#[must_use]
pub fn fastest(rows: &[BenchRow]) -> Vec<&BenchRow> {
    let mut best: Vec<&BenchRow> = Vec::new();
    for row in rows.iter().filter(|row| is_evaluator(row) && row.tokens_per_s.is_some()) {
        let same = |other: &&mut &BenchRow| {
            (&other.model, &other.provider, &other.precision) == (&row.model, &row.provider, &row.precision)
        };
        match best.iter_mut().find(same) {
            Some(old) if old.tokens_per_s < row.tokens_per_s => *old = row,
            Some(_) => {}
            None => best.push(row),
        }
    }
    best
}

fn verdict<'r>(rows: impl Iterator<Item = &'r BenchRow> + Clone) -> Option<Verdict<'r>> {
    let is_f32 = |row: &&BenchRow| row.precision == Precision::F32.name();
    let speed = |row: &BenchRow| row.tokens_per_s.unwrap_or(0.0);
    let working = rows.filter(|row| row.tokens_per_s.is_some());
    let fastest = |a: &'r BenchRow, b: &'r BenchRow| if speed(b) > speed(a) { b } else { a };
    let exact = working.clone().filter(is_f32).reduce(fastest);
    let faithful = |row: &BenchRow| row.spearman_vs_f32.is_some_and(|rho| rho >= LEAST_SPEARMAN);
    let worth_it = |row: &&BenchRow| exact.is_none_or(|exact| faithful(row) && speed(row) > speed(exact));
    let reduced = working.filter(|row| !is_f32(row)).filter(worth_it).reduce(fastest);
    (exact.is_some() || reduced.is_some()).then_some(Verdict { exact, reduced })
}

impl Verdict<'_> {
    /// One line: the flags to use, and what they bring.
    #[must_use]
    pub fn line(&self, model: &str) -> String {
        let exact = self.exact.map(|row| format!("{} ({})", flags(row), speed(row)));
        let reduced = self.reduced.map(|row| {
            let order = row.spearman_vs_f32.map_or_else(
                || "not compared with f32, which has no cell that worked".to_owned(),
                |rho| format!("Spearman {rho:.4} with f32"),
            );
            format!("reduced: {} ({}, {order})", flags(row), speed(row))
        });
        format!("{model}: {}", exact.into_iter().chain(reduced).collect::<Vec<_>>().join("; "))
    }
}

fn flags(row: &BenchRow) -> String {
    format!(
        "--provider {} --precision {} --workers {} --worker-threads {} --batch-size {} --batch-tokens {}",
        row.provider, row.precision, row.workers, row.threads, row.batch_size, row.batch_tokens
    )
}

fn speed(row: &BenchRow) -> String {
    format!("{:.0} tokens/s", row.tokens_per_s.unwrap_or(0.0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::profile::EVALUATOR;

    pub fn row(model: &str, precision: &str, batch_size: i32, tokens_per_s: Option<f64>, rho: f64) -> BenchRow {
        BenchRow {
            provider: "cpu".into(),
            precision: precision.into(),
            workers: 2,
            threads: 1,
            batch_size,
            batch_tokens: 2048,
            texts: 10,
            tokens: 100,
            repeats: 3,
            seconds: tokens_per_s.map(|speed| 100.0 / speed),
            texts_per_s: tokens_per_s.map(|speed| speed / 10.0),
            tokens_per_s,
            latency_ms_p50: Some(1.0),
            latency_ms_p95: Some(2.0),
            latency_ms_p99: Some(3.0),
            peak_memory_mb: Some(100.0),
            peak_device_memory_mb: None,
            padding_waste: Some(0.02),
            busy_share: Some(0.99),
            largest_difference_vs_f32: Some(0.0),
            spearman_vs_f32: Some(rho),
            error: tokens_per_s.is_none().then(|| "no".to_owned()),
            ..BenchRow::unmeasured(EVALUATOR.into(), model.into())
        }
    }

    pub fn generation(model: &str, batch_size: i32, tokens_per_s: Option<f64>, different: i64) -> BenchRow {
        BenchRow {
            role: INFERENCE.into(),
            workers: 1,
            threads: 2,
            batch_tokens: 512,
            different_answers: tokens_per_s.map(|_| different),
            ..row(model, "f32", batch_size, tokens_per_s, 1.0)
        }
    }

    #[test]
    fn an_llm_has_its_fastest_command_and_is_not_remembered() {
        let rows = [
            row("a", "f32", 8, Some(100.0), 1.0),
            generation("g", 1, Some(20.0), 0),
            generation("g", 8, Some(60.0), 2),
            generation("g", 32, Some(50.0), 0),
            generation("g", 64, None, 0),
            generation("h", 1, Some(7.0), 0),
            generation("i", 1, None, 0),
        ];
        let lines: Vec<Option<String>> =
            generation_verdicts(&rows).into_iter().map(|(_, row)| row.map(generation_line)).collect();
        let g = "g: poq generate RUN --batch-size 8 --batch-tokens 512 --threads 2 (60 tokens/s, 2 of 10 answers not those of \
                 the first cell)";
        let h = "h: poq generate RUN --batch-size 1 --batch-tokens 512 --threads 2 (7 tokens/s)";
        assert_eq!(lines, [Some(g.to_owned()), Some(h.to_owned()), None]);
        assert_eq!(verdicts(&rows).len(), 1);
        assert_eq!(fastest(&rows).len(), 1, "settings of evaluators alone");
    }

    #[test]
    fn speed_wins_unless_the_order_of_scores_is_lost() {
        let rows = [
            row("a", "f32", 8, Some(100.0), 1.0),
            row("a", "f32", 32, Some(120.0), 1.0),
            row("a", "int8", 8, Some(300.0), 0.9),
            row("a", "bf16", 8, Some(200.0), 0.999),
            row("b", "f32", 8, None, 1.0),
            row("c", "f32", 8, Some(50.0), 1.0),
            row("c", "int8", 8, Some(40.0), 1.0),
        ];
        let verdicts = verdicts(&rows);
        let (model, a) = &verdicts[0];
        let a = a.expect("has a verdict");
        let exact = a.exact.expect("f32");
        assert_eq!((*model, exact.batch_size, a.reduced.expect("bf16").precision.as_str()), ("a", 32, "bf16"));
        assert!(a.line("a").starts_with("a: --provider cpu --precision f32 --workers 2"), "{}", a.line("a"));
        let kept: Vec<(&str, &str, i32)> =
            fastest(&rows).iter().map(|r| (r.model.as_str(), r.precision.as_str(), r.batch_size)).collect();
        assert_eq!(kept, [("a", "f32", 32), ("a", "int8", 8), ("a", "bf16", 8), ("c", "f32", 8), ("c", "int8", 8)]);
        assert!(verdicts[1].1.is_none());
        assert!(verdicts[2].1.expect("has a verdict").reduced.is_none());
    }

    #[test]
    fn without_f32_the_fastest_of_the_rest_is_named_as_not_compared() {
        let alone = |speed| BenchRow { spearman_vs_f32: None, ..row("a", "int8", 8, speed, 1.0) };
        let rows = [alone(Some(100.0)), alone(Some(300.0)), alone(None)];
        let verdict = verdicts(&rows)[0].1.expect("something worked");
        assert!(verdict.exact.is_none());
        let line = verdict.line("a");
        assert!(
            line.starts_with("a: reduced: --provider cpu --precision int8") && line.contains("300 tokens/s"),
            "{line}"
        );
        assert!(line.contains("not compared with f32"), "{line}");
        assert!(verdicts(&rows[2..])[0].1.is_none());
    }
}
