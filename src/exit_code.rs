//! Every exit code, and which outcome leads to it.

use std::process::ExitCode as ProcessExitCode;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything asked for is done.
    Done,
    /// Finished, with more failed rows than the settings allow.
    TooManyFailures,
    /// Could not run, or stopped by an error.
    CouldNotRun,
    /// Stopped by Ctrl-C; what was finished is kept.
    Interrupted,
}

impl From<ExitCode> for ProcessExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(match code {
            ExitCode::Done => 0,
            ExitCode::TooManyFailures => 1,
            ExitCode::CouldNotRun => 2,
            ExitCode::Interrupted => 130,
        })
    }
}
