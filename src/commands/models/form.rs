//! The forms in which a model may be on disk: for the processor, and for a card where that is another export.

use crate::model::manifest::{Presence, presence};
use crate::model::provider::Provider;
use crate::model::registry::{Model, Registry};
use serde::Serialize;

/// What is there of a model for one provider.
#[derive(Debug, Serialize)]
pub struct Form {
    /// For whom.
    pub provider: Provider,
    /// `ready`, `missing`, `broken`, or `none` where the registry names no such form.
    pub state: &'static str,
    /// What is wrong.
    pub problem: Option<String>,
    /// The command that brings it, unless it is ready.
    pub bring_with: Option<String>,
}

impl Form {
    /// Looks at the model's directory for its provider.
    pub fn of(registry: &Registry, model: &Model) -> Self {
        let (state, problem) = match (model.directory_name(), presence(registry, model)) {
            (Err(error), _) => ("none", Some(error.to_string())),
            (Ok(_), Presence::Ready) => ("ready", None),
            (Ok(_), Presence::Missing) => ("missing", None),
            (Ok(_), Presence::Broken(problem)) => ("broken", Some(problem)),
        };
        let bring_with = matches!(state, "missing" | "broken").then(|| model.recipe());
        Self { provider: model.provider, state, problem, bring_with }
    }

    /// The state in a table.
    pub fn said(&self) -> String {
        let on = if self.provider == Provider::Cuda { " (cuda)" } else { "" };
        format!("{}{on}", self.state)
    }
}

/// The model as a provider computes it. Where none is named: as the processor does, and as a card does if it needs another
/// export for that.
pub fn forms(model: &Model, provider: Option<Provider>) -> (Model, Option<Model>) {
    let on = |provider| Model { provider, ..model.clone() };
    let card = on(Provider::Cuda);
    let is_another = card.directory_name().is_ok_and(|directory| directory != model.files_key());
    (on(provider.unwrap_or_default()), Some(card).filter(|_| provider.is_none() && is_another))
}
