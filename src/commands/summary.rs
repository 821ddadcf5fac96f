//! What a stage did, as a line for people and as JSON for programs.

use super::context::Context;
use crate::exit_code::ExitCode;
use crate::settings::Settings;
use crate::store::run_record::StageRecord;
use anyhow::Result;
use serde::Serialize;

/// What a stage did.
#[derive(Debug, Serialize)]
pub struct StageSummary {
    /// Name of the stage.
    pub stage: &'static str,
    /// Wall time of this call, in seconds.
    pub this_time_seconds: f64,
    /// The stage's entry in `run.json`.
    #[serde(flatten)]
    pub record: StageRecord,
}

impl StageSummary {
    /// Whether more rows failed than the settings allow.
    #[must_use]
    pub fn exit_code(&self, settings: &Settings) -> ExitCode {
        let allowed = settings.allowed_failures(self.stage) * self.record.rows as f64;
        if self.record.failed as f64 > allowed { ExitCode::TooManyFailures } else { ExitCode::Done }
    }

    /// Ends a stage command: JSON on stdout when asked for (the summary line went to stderr already).
    pub fn print(&self, context: &Context, settings: &Settings) -> Result<ExitCode> {
        context.printer.summary(self)?;
        let code = self.exit_code(settings);
        if code == ExitCode::TooManyFailures {
            context.printer.warning(&format!(
                "{} of {} rows failed, more than `max_failed_share` = {} allows",
                self.record.failed,
                self.record.rows,
                settings.allowed_failures(self.stage)
            ));
        }
        Ok(code)
    }

    /// The line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let record = &self.record;
        let computed = match record.computed_rows {
            0 => ", nothing to do".to_owned(),
            computed if computed < record.rows => format!(", {computed} of them new"),
            _ => String::new(),
        };
        let failed = if record.failed > 0 { format!(", {} failed", record.failed) } else { String::new() };
        format!("{}: {} rows{computed}{failed} ({:.1} s)", self.stage, record.rows, self.this_time_seconds)
    }
}
