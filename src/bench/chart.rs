//! The charts of a sweep: throughput against batch size, one line per way of running an evaluator, one per LLM, as SVG.

use crate::store::rows::BenchRow;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Width and height in pixels.
const SIZE: (u32, u32) = (960, 540);

/// Draws one model's rows. Cells that failed are left out; lines are labelled by provider, precision, sessions, threads and
/// token budget: along a line nothing changes but the rows.
pub fn draw(path: &Path, model: &str, rows: &[&BenchRow]) -> Result<()> {
    let titles = Titles {
        caption: format!("{model}: tokens per second"),
        x: "rows per batch",
        y: "tokens/s (sessions × threads and token budget in the legend)",
    };
    draw_rows(path, &titles, rows, |row| {
        let BenchRow { provider, precision, workers, threads, batch_tokens, .. } = row;
        format!("{provider} {precision}, {workers}×{threads}, {batch_tokens} tokens")
    })
}

/// Draws the LLMs together: a line per model, threads and token budget.
pub fn draw_generation(path: &Path, rows: &[&BenchRow]) -> Result<()> {
    let titles = Titles {
        caption: "LLMs: tokens generated per second".to_owned(),
        x: "decode slots",
        y: "tokens/s (threads and prompt tokens per pass in the legend)",
    };
    draw_rows(path, &titles, rows, |row| {
        let BenchRow { model, threads, batch_tokens, .. } = row;
        let threads = format!("{threads} thread{}", if *threads == 1 { "" } else { "s" });
        format!("{model}, {threads}, {batch_tokens} tokens")
    })
}

/// What stands beside the lines.
struct Titles {
    caption: String,
    x: &'static str,
    y: &'static str,
}

fn draw_rows(path: &Path, titles: &Titles, rows: &[&BenchRow], label: impl Fn(&BenchRow) -> String) -> Result<()> {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows {
        let Some(speed) = row.tokens_per_s else { continue };
        lines.entry(label(row)).or_default().push((f64::from(row.batch_size), speed));
    }
    let points = || lines.values().flatten();
    let largest = points().map(|point| point.1).fold(0.0, f64::max);
    let (low, high) =
        points().fold((f64::INFINITY, 1.0_f64), |(low, high), point| (low.min(point.0), high.max(point.0)));
    if largest <= 0.0 {
        return Ok(());
    }
    draw_lines(path, titles, &lines, (low.min(high), high), largest)
        .map_err(|error| anyhow!("cannot draw `{}`: {error}", path.display()))
}

fn draw_lines(
    path: &Path,
    titles: &Titles,
    lines: &BTreeMap<String, Vec<(f64, f64)>>,
    (low, high): (f64, f64),
    largest: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    // A single batch size still needs an axis with two ends.
    let (low, high) = (low / 1.1, high * 1.1);
    let mut chart = ChartBuilder::on(&area)
        .caption(&titles.caption, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(80)
        .build_cartesian_2d((low..high).log_scale().base(2.0), 0.0..largest * 1.1)?;
    chart
        .configure_mesh()
        .x_desc(titles.x)
        .y_desc(titles.y)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style(("sans-serif", 14))
        .draw()?;
    for (index, (label, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let mut points = points.clone();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.4))
        .label_font(("sans-serif", 14))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::{generation, row};
    use super::*;

    #[test]
    fn every_line_is_in_the_chart_and_failed_cells_are_not() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("bench.svg");
        let rows = [
            row("m", "f32", 4, Some(90.0), 1.0),
            row("m", "f32", 16, Some(120.0), 1.0),
            BenchRow { batch_tokens: 256, ..row("m", "f32", 4, Some(95.0), 1.0) },
            BenchRow { batch_tokens: 256, ..row("m", "f32", 16, Some(110.0), 1.0) },
            row("m", "int8", 4, Some(200.0), 1.0),
            row("m", "bf16", 4, None, 1.0),
        ];
        draw(&path, "m", &rows.iter().collect::<Vec<_>>()).expect("draws");
        let svg = std::fs::read_to_string(&path).expect("read");
        for label in ["cpu f32, 2×1, 256 tokens", "cpu f32, 2×1, 2048 tokens", "cpu int8, 2×1, 2048 tokens"] {
            assert!(svg.contains(label), "{svg}");
        }
        assert!(!svg.contains("bf16"), "{svg}");
        assert!(svg.contains("m: tokens per second") && svg.contains("polyline"));
        // One batch size, one cell, and no cell at all.
        draw(&path, "m", &[&rows[0]]).expect("draws");
        std::fs::remove_file(&path).expect("remove");
        draw(&path, "m", &[&rows[5]]).expect("leaves it");
        assert!(!path.exists());
    }

    #[test]
    fn llms_share_a_chart() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("bench.svg");
        let rows = [
            generation("g", 1, Some(20.0), 0),
            generation("g", 8, Some(60.0), 0),
            BenchRow { batch_tokens: 256, threads: 1, ..generation("g", 8, Some(50.0), 0) },
            generation("h", 1, Some(7.0), 0),
        ];
        draw_generation(&path, &rows.iter().collect::<Vec<_>>()).expect("draws");
        let svg = std::fs::read_to_string(&path).expect("read");
        for label in ["g, 2 threads, 512 tokens", "g, 1 thread, 256 tokens", "h, 2 threads, 512 tokens", "decode slots"]
        {
            assert!(svg.contains(label), "{svg}");
        }
    }
}
