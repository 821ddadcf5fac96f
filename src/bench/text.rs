//! The tables of a sweep as people read them: evaluators and LLMs have different columns.

use crate::profile::INFERENCE;
use crate::store::rows::BenchRow;
use std::fmt::Write as _;

/// Every row, evaluators before LLMs; nothing for a role without rows.
#[must_use]
pub fn tables(rows: &[BenchRow]) -> String {
    let (llms, evaluators): (Vec<&BenchRow>, Vec<&BenchRow>) = rows.iter().partition(|row| row.role == INFERENCE);
    let both = [evaluator_table(&evaluators), generation_table(&llms)];
    both.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
}

fn evaluator_table(rows: &[&BenchRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{:<18} {:<9} {:<5} {:>3}×{:<3} {:>5} {:>6} {:>9} {:>9} {:>7} {:>7} {:>7} {:>6} {:>5} {:>9} {:>8}\n",
        "model",
        "provider",
        "prec",
        "w",
        "t",
        "batch",
        "tokens",
        "texts/s",
        "tokens/s",
        "p50 ms",
        "p99 ms",
        "MB",
        "pad %",
        "busy%",
        "max diff",
        "Spearman"
    );
    for row in rows {
        let _ = write!(
            text,
            "{:<18} {:<9} {:<5} {:>3}×{:<3} {:>5} {:>6} ",
            row.model, row.provider, row.precision, row.workers, row.threads, row.batch_size, row.batch_tokens
        );
        let _ = match &row.error {
            Some(error) => writeln!(text, "did not run: {}", shortened(error)),
            None => writeln!(
                text,
                "{:>9} {:>9} {:>7} {:>7} {:>7} {:>6} {:>5} {:>9} {:>8}",
                number(row.texts_per_s, 1),
                number(row.tokens_per_s, 0),
                number(row.latency_ms_p50, 2),
                number(row.latency_ms_p99, 2),
                number(row.peak_memory_mb, 0),
                percent(row.padding_waste, 1),
                percent(row.busy_share, 0),
                row.largest_difference_vs_f32.map_or_else(|| "-".to_owned(), |d| format!("{d:.1e}")),
                number(row.spearman_vs_f32, 4),
            ),
        };
    }
    text
}

fn generation_table(rows: &[&BenchRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "{:<18} {:>2} {:>5} {:>6} {:>8} {:>7} {:>9} {:>7} {:>7} {:>9} {:>6} {:>6} {:>6} {:>6} {:>5}\n",
        "model",
        "t",
        "batch",
        "tokens",
        "new/s",
        "rows/s",
        "prompt/s",
        "p50 ms",
        "p99 ms",
        "first p50",
        "slots%",
        "KV MB",
        "MB",
        "differ",
        "ties"
    );
    let count = |n: Option<i64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    for row in rows {
        let _ = write!(text, "{:<18} {:>2} {:>5} {:>6} ", row.model, row.threads, row.batch_size, row.batch_tokens);
        let _ = match &row.error {
            Some(error) => writeln!(text, "did not run: {}", shortened(error)),
            None => writeln!(
                text,
                "{:>8} {:>7} {:>9} {:>7} {:>7} {:>9} {:>6} {:>6} {:>6} {:>6} {:>5}",
                number(row.tokens_per_s, 1),
                number(row.texts_per_s, 2),
                number(row.prompt_tokens_read_per_s, 0),
                number(row.latency_ms_p50, 0),
                number(row.latency_ms_p99, 0),
                number(row.first_token_ms_p50, 0),
                percent(row.slot_use, 0),
                number(row.kv_cache_mb, 0),
                number(row.peak_memory_mb, 0),
                count(row.different_answers),
                count(row.near_ties),
            ),
        };
    }
    text
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn percent(share: Option<f64>, digits: usize) -> String {
    number(share.map(|share| share * 100.0), digits)
}

/// The beginning of an error, for one line of a table; the whole of it stands in the Parquet file.
fn shortened(error: &str) -> String {
    const CHARACTERS: usize = 100;
    let line = error.lines().next().unwrap_or_default();
    if line.chars().count() <= CHARACTERS {
        return line.to_owned();
    }
    line.chars().take(CHARACTERS).chain("…".chars()).collect()
}
