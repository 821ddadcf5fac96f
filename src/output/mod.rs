//! Everything that prints. Data goes to stdout; talk (progress, notes, warnings, errors) goes to stderr.

mod progress;

pub use progress::Progress;

use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Form of summaries on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Aligned text for people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Owns the streams: decides once what is quiet and what is a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    quiet: bool,
    terminal: bool,
    format: Format,
}

impl Printer {
    /// Looks at the terminal once.
    #[must_use]
    pub fn new(quiet: bool, format: Format) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), format }
    }

    /// A note on what is being done.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            talk(text);
        }
    }

    /// Something the user should know even when quiet.
    pub fn warning(&self, text: &str) {
        talk(&format!("warning: {text}"));
    }

    /// An error with its whole chain; lines that begin with `hint:` come last.
    pub fn error(&self, error: &anyhow::Error) {
        let (mut causes, mut hints) = (Vec::new(), Vec::new());
        for link in error.chain().map(ToString::to_string) {
            let (hint, cause): (Vec<&str>, Vec<&str>) = link.lines().partition(|line| line.trim().starts_with("hint:"));
            causes.extend((!cause.is_empty()).then(|| cause.join("\n  ")));
            hints.extend(hint.into_iter().map(|line| line.trim().to_owned()));
        }
        talk(&format!("error: {}", causes.join(": ")));
        hints.dedup();
        for hint in hints {
            talk(&hint);
        }
    }

    /// The result of a command: text for people, or its JSON form.
    pub fn data(&self, text: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let rendered = match self.format {
            Format::Text => text.trim_end().to_owned(),
            Format::Json => serde_json::to_string_pretty(value)?,
        };
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{rendered}") {
            // A reader that has seen enough is no failure.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }

    /// A summary that people got as a line on stderr already: on stdout only as JSON.
    pub fn summary(&self, value: &impl Serialize) -> anyhow::Result<()> {
        match self.format {
            Format::Text => Ok(()),
            Format::Json => self.data("", value),
        }
    }

    /// Progress over `total` rows: a bar on a terminal, a plain line now and then elsewhere.
    #[must_use]
    pub fn progress(&self, label: &str, total: usize) -> Progress {
        self.progress_of(label, total, "rows")
    }

    /// The same over something else than rows.
    #[must_use]
    pub fn progress_of(&self, label: &str, total: usize, unit: &'static str) -> Progress {
        Progress::new(label, total, unit, self.terminal, self.quiet)
    }
}

/// One line to stderr; nothing can be done when stderr is gone.
fn talk(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
