//! `poq models list` and `poq models verify`: what is in the registry, what is on disk, and how to get the rest.

mod form;
mod needs;

use super::context::Context;
use crate::cli::ModelsCommand;
use crate::exit_code::ExitCode;
use crate::model::manifest::Exported;
use crate::model::provider::Provider;
use crate::model::registry::{Architecture, Model, Registry, Role};
use anyhow::{Result, ensure};
use form::{Form, forms};
use needs::{Needs, Total};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// Dispatches.
pub fn command(context: &Context, command: &ModelsCommand) -> Result<ExitCode> {
    let registry = context.registry()?;
    match command {
        ModelsCommand::List { pool, provider } => list(context, &registry, pool.as_deref(), *provider),
        ModelsCommand::Drift { pool } => drift(context, &registry, pool.as_deref()),
        ModelsCommand::Verify { pool, provider } => verify(context, &registry, pool.as_deref(), *provider),
    }
}

#[derive(Serialize)]
struct Entry<'m> {
    key: &'m str,
    pool: &'m str,
    role: &'static str,
    architecture: &'static str,
    precision: String,
    name: &'m str,
    upstream: &'m str,
    licence: &'m str,
    licence_note: Option<&'m str>,
    sources: Vec<String>,
    sha256: Vec<Option<&'m str>>,
    accept_licence_at: Option<String>,
    needs: Needs,
    #[serde(flatten)]
    form: Form,
    /// The export for a card, where that is another one and no provider was asked for.
    cuda: Option<Form>,
}

#[derive(Serialize)]
struct Listing<'m> {
    models: Vec<Entry<'m>>,
    total: Total,
}

fn selected<'r>(registry: &'r Registry, pool: Option<&str>) -> Result<Vec<&'r Model>> {
    let models: Vec<&Model> =
        registry.models.iter().filter(|model| pool.is_none_or(|pool| model.pool == pool)).collect();
    let mut pools: Vec<&str> = registry.models.iter().map(|model| model.pool.as_str()).collect();
    pools.sort_unstable();
    pools.dedup();
    ensure!(!models.is_empty(), "no model is in the pool `{}`; there are: {}", pool.unwrap_or("any"), pools.join(", "));
    Ok(models)
}

fn entry<'m>(registry: &Registry, model: &'m Model, provider: Option<Provider>) -> Entry<'m> {
    let (first, card) = forms(model, provider);
    Entry {
        key: &model.key,
        pool: &model.pool,
        role: match model.role {
            Role::Inference => "inference",
            Role::Evaluator => "evaluator",
        },
        architecture: match model.architecture {
            Architecture::Decoder => "decoder",
            Architecture::BiEncoder => "bi-encoder",
            Architecture::CrossEncoder => "cross-encoder",
        },
        precision: if model.architecture == Architecture::Decoder && first.provider == Provider::Cuda {
            first.arithmetic().to_owned()
        } else {
            model.precision.clone()
        },
        name: &model.name,
        upstream: &model.upstream,
        licence: &model.licence,
        licence_note: model.licence_note.as_deref(),
        sources: model.artifacts.iter().flat_map(|artifact| artifact.sources.iter().map(ToString::to_string)).collect(),
        sha256: model.artifacts.iter().map(|artifact| artifact.sha256.as_deref()).collect(),
        accept_licence_at: needs::licence_page(model),
        needs: Needs::of(model),
        form: Form::of(registry, &first),
        cuda: card.map(|model| Form::of(registry, &model)),
    }
}

impl Entry<'_> {
    fn forms(&self) -> impl Iterator<Item = &Form> {
        [&self.form].into_iter().chain(&self.cuda)
    }

    /// One state per form, e.g. `missing / ready (cuda)`.
    fn state(&self) -> String {
        self.forms().map(Form::said).collect::<Vec<_>>().join(" / ")
    }

    /// Whether the model can be run, in one form at least, and none is broken.
    fn can_be_run(&self) -> bool {
        self.forms().any(|form| form.state == "ready") && self.forms().all(|form| form.state != "broken")
    }
}

fn list(context: &Context, registry: &Registry, pool: Option<&str>, provider: Option<Provider>) -> Result<ExitCode> {
    let models = selected(registry, pool)?;
    let entries: Vec<Entry> = models.into_iter().map(|model| entry(registry, model, provider)).collect();
    let mut text = String::new();
    let width = entries.iter().map(|entry| entry.key.len()).max().unwrap_or(0);
    let states = entries.iter().map(|entry| entry.state().len()).max().unwrap_or(0);
    for entry in &entries {
        let _ = writeln!(
            text,
            "{:width$}  {:<states$}  {:<9}  {:<13}  {:<5}  {:<10}  {}",
            entry.key,
            entry.state(),
            entry.role,
            entry.architecture,
            entry.precision,
            entry.licence,
            entry.name
        );
        for problem in entry.forms().filter_map(|form| form.problem.as_ref()) {
            let _ = writeln!(text, "{:width$}  {}", "", problem.lines().next().unwrap_or_default());
        }
    }
    let mut recipes: Vec<String> = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.can_be_run()) {
        recipes.extend(entry.forms().filter_map(|form| form.bring_with.clone()));
        if context.models.with_file_name("experiments").join(format!("{}.toml", entry.pool)).exists() {
            recipes.push(format!("just reproduce {}", entry.pool));
        }
    }
    let mut named = HashSet::new();
    for recipe in recipes.iter().filter(|recipe| named.insert(*recipe)) {
        let _ = writeln!(text, "what is missing comes with `{recipe}`");
    }
    let total = Total::of(entries.iter().map(|entry| &entry.needs));
    text.push_str(&needs::text(&entries.iter().map(|entry| (entry.key, &entry.needs)).collect::<Vec<_>>(), &total));
    for entry in &entries {
        if let Some(page) = &entry.accept_licence_at {
            let _ = writeln!(text, "{} is gated: accept its licence at {page} and set HF_TOKEN", entry.key);
        }
    }
    context.printer.data(&text, &Listing { models: entries, total })?;
    Ok(ExitCode::Done)
}

fn drift(context: &Context, registry: &Registry, pool: Option<&str>) -> Result<ExitCode> {
    let mut text = format!(
        "{:<22} {:<5} {:>6} {:>13} {:>13} {:>9} {:>16}\n",
        "model", "graph", "pairs", "largest diff", "mean diff", "Spearman", "batch-mates move"
    );
    let mut reports = BTreeMap::new();
    for model in selected(registry, pool)?.into_iter().filter(|model| model.role == Role::Evaluator) {
        let Some(drift) = Exported::open(registry, model).ok().and_then(|exported| exported.manifest.drift) else {
            let _ = writeln!(text, "{:<22} not measured: `{}` exports it", model.key, model.recipe());
            continue;
        };
        for (graph, figures) in &drift.graphs {
            let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
            let _ = writeln!(
                text,
                "{:<22} {graph:<5} {:>6} {:>13} {:>13} {:>9} {:>16}",
                model.key,
                drift.pairs,
                number(figures.difference_largest),
                number(figures.difference_mean),
                number(figures.spearman),
                format!("{:.1e}", figures.batch_mate_largest)
            );
        }
        reports.insert(model.key.clone(), drift);
    }
    let _ = writeln!(
        text,
        "in the unit of the raw score; int8 runs on the provider cpu, w8 (8-bit weights) on openvino, whose own rounding \
         `poq bench` measures"
    );
    context.printer.data(&text, &reports)?;
    Ok(ExitCode::Done)
}

#[derive(Serialize)]
struct Verdict {
    key: String,
    provider: Provider,
    state: &'static str,
    problem: Option<String>,
}

impl Verdict {
    /// Hashes what is there.
    fn of(registry: &Registry, model: &Model) -> Self {
        let Form { provider, state, problem, .. } = Form::of(registry, model);
        let verified = match state {
            "ready" => Exported::open(registry, model).and_then(|exported| exported.verify()),
            _ => return Self { key: model.key.clone(), provider, state, problem },
        };
        let problem = verified.err().map(|error| format!("{error:#}"));
        Self { key: model.key.clone(), provider, state: if problem.is_none() { "ok" } else { "broken" }, problem }
    }
}

fn verify(context: &Context, registry: &Registry, pool: Option<&str>, provider: Option<Provider>) -> Result<ExitCode> {
    let mut verdicts = Vec::new();
    for model in selected(registry, pool)? {
        let (first, card) = forms(model, provider);
        verdicts.push(Verdict::of(registry, &first));
        // Only who has a card needs its export.
        let card = card.map(|model| Verdict::of(registry, &model));
        verdicts.extend(card.filter(|verdict| verdict.state != "missing"));
    }
    let mut text = String::new();
    for Verdict { key, provider, state, problem } in &verdicts {
        let on = if *provider == Provider::Cuda { " (cuda)" } else { "" };
        let _ = writeln!(text, "{key}{on}: {state}");
        for line in problem.iter().flat_map(|problem| problem.lines()) {
            let _ = writeln!(text, "  {line}");
        }
    }
    context.printer.data(&text, &verdicts)?;
    let sound = verdicts.iter().all(|verdict| verdict.state != "broken");
    Ok(if sound { ExitCode::Done } else { ExitCode::CouldNotRun })
}
