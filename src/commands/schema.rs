//! `poq schema`: what every table and column of a run means, as Markdown. `results/README.md` is what it prints.

use super::context::Context;
use crate::exit_code::ExitCode;
use crate::store::catalogue;
use crate::{report, sweep};
use anyhow::Result;

/// Prints the document.
pub fn command(context: &Context) -> Result<ExitCode> {
    let document = document()?;
    context.printer.data(&document, &document)?;
    Ok(ExitCode::Done)
}

/// The document.
pub fn document() -> Result<String> {
    catalogue::markdown(&report::METRICS_COLUMNS, &sweep::COLUMNS)
}
