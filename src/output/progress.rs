//! Progress of one stage: rows done, rate and remaining time.

use super::talk;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Time between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Counts rows, or whatever the stage works on, and shows where it stands.
pub struct Progress {
    label: String,
    /// What is said beside the counts.
    remark: String,
    unit: &'static str,
    total: usize,
    done: usize,
    started: Instant,
    spoken: Instant,
    display: Display,
}

enum Display {
    Bar(ProgressBar),
    Plain,
    Silent,
}

impl Progress {
    pub(super) fn new(label: &str, total: usize, unit: &'static str, terminal: bool, quiet: bool) -> Self {
        let display = if quiet {
            Display::Silent
        } else if terminal {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
            let template = format!("{{msg:<28}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}} left");
            let style = ProgressStyle::with_template(&template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(250));
            Display::Bar(bar)
        } else {
            Display::Plain
        };
        let now = Instant::now();
        Self {
            label: label.to_owned(),
            remark: String::new(),
            unit,
            total,
            done: 0,
            started: now,
            spoken: now,
            display,
        }
    }

    /// Rows, or whatever is counted, that are finished since the last call.
    pub fn advance(&mut self, rows: usize) {
        self.done += rows;
        match &self.display {
            Display::Bar(bar) => bar.inc(rows as u64),
            Display::Plain if self.done > 0 && self.spoken.elapsed() >= PLAIN_INTERVAL => {
                self.spoken = Instant::now();
                let rate = self.done as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
                let left = (self.total.saturating_sub(self.done)) as f64 / rate.max(1e-9);
                let Self { label, remark, unit, total, done, .. } = self;
                talk(&format!("{label}: {done}/{total} {unit}, {rate:.1} {unit}/s, {left:.0} s left{remark}"));
            }
            Display::Plain | Display::Silent => {}
        }
    }

    /// Sets what is said beside the counts from now on.
    pub fn remark(&mut self, text: &str) {
        self.remark = format!(", {text}");
        if let Display::Bar(bar) = &self.display {
            bar.set_message(format!("{}{}", self.label, self.remark));
        }
    }

    /// Rows that are finished so far, in all.
    pub fn reach(&mut self, rows: usize) {
        self.advance(rows.saturating_sub(self.done));
    }

    /// Ends the display; the stage's summary line says the rest.
    pub fn finish(self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}
