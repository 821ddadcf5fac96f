//! What the stage has to say of its tables: counts, cost, what waits.

use crate::settings::Judge;
use crate::store::replies::Replies;
use crate::store::rows::{JudgeCheckRow, JudgementRow, cost_usd};
use crate::store::run_record::StageRecord;
use serde_json::json;

/// Adds to the stage's record what a reader of the tables should know.
pub(super) fn summarise(
    settings: &Judge,
    judgements: &[JudgementRow],
    checks: &[JudgeCheckRow],
    replies: &Replies,
    record: &mut StageRecord,
) {
    let count = |wanted: &dyn Fn(&JudgementRow) -> bool| judgements.iter().filter(|row| wanted(row)).count();
    record.rows = judgements.len();
    record.failed = count(&|row| row.error.is_some());
    let refused = count(&|row| row.refused);
    if refused > 0 {
        record.warnings.push(format!("the judge declined to grade {refused} answers; their rows hold its words"));
    }
    let waiting = count(&|row| row.pending) + checks.iter().filter(|row| row.pending).count();
    if waiting > 0 {
        let why = judgements.iter().filter(|row| row.pending).find_map(|row| row.error.clone());
        let why = why.or_else(|| checks.iter().filter(|row| row.pending).find_map(|row| row.error.clone()));
        record.warnings.push(format!(
            "{waiting} questions wait, the first for this reason: {}; the same command goes on where the reason is gone",
            why.unwrap_or_default()
        ));
    }
    let repaired = count(&|row| row.repaired == Some(true));
    let again = count(&|row| row.replies > 1);
    let cost = cost_usd(judgements, checks);
    if record.computed_rows > 0 {
        let cost = match cost {
            Some(cost) => format!("for ${cost:.4}"),
            None if settings.price().is_none() => {
                format!("at an unknown cost (no price in `[judge.prices.\"{}\"]`)", settings.model)
            }
            None => "at a cost that is known in part only".to_owned(),
        };
        record.notes.push(format!(
            "judge {}: {} of {} answers graded {cost}; {repaired} replies mended, {again} answers asked about once more, \
             {refused} refused",
            settings.model,
            count(&|row| row.score.is_some()),
            judgements.len(),
        ));
    }
    let details = [
        ("judge", json!(settings.model)),
        ("checks", json!(checks.len())),
        ("checks_failed", json!(checks.iter().filter(|row| row.error.is_some()).count())),
        ("repaired", json!(repaired)),
        ("asked_once_more", json!(again)),
        ("refused", json!(refused)),
        ("cost_usd", json!(cost)),
        ("spent_usd", json!(replies.spent_usd())),
    ];
    record.details.extend(details.map(|(name, value)| (name.to_owned(), value)));
}
