//! Arguments of `poq judge`.

use super::parse::price;
use super::{StageArguments, WorkArguments};
use crate::settings::{Backend, Judge, Price, Second};
use clap::Args;
use std::path::PathBuf;

/// `poq judge`. A server's key is no flag: it comes from the environment.
#[derive(Debug, Args)]
pub struct JudgeArguments {
    /// The run
    #[command(flatten)]
    pub stage: StageArguments,
    /// Who grades: a decoder of the registry (local), or a server by one of its APIs
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// The judge: a node key of the registry, or the name that the server knows
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Where the server's API begins, e.g. `http://localhost:8000/v1` [default: `OPENAI_BASE_URL`, or `OpenAI`'s own]
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Environment variable that holds the server's key
    #[arg(long, value_name = "VARIABLE")]
    pub key_env: Option<String>,
    /// Organisation that the server bills [default: `OPENAI_ORG_ID`]
    #[arg(long, value_name = "ID")]
    pub organization: Option<String>,
    /// What the judge costs, in dollars per million tokens
    #[arg(long, value_name = "INPUT,OUTPUT[,CACHED]", value_parser = price)]
    pub price: Option<Price>,
    /// Records to judge for each data set and task type
    #[arg(long, value_name = "N")]
    pub n_group: Option<usize>,
    /// Seed of the sample
    #[arg(long)]
    pub seed: Option<u64>,
    /// Dollars that the judgements of the run may cost in all
    #[arg(long, value_name = "USD")]
    pub budget: Option<f64>,
    /// Send nothing: say how many requests, tokens and dollars are coming
    #[arg(long, conflicts_with = "replay")]
    pub dry_run: bool,
    /// Serve the replies of a `judge_replies.jsonl` instead of asking; needs no key and no network
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Requests under way at once
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Requests sent per minute, at most
    #[arg(long, value_name = "N")]
    pub requests_per_minute: Option<u32>,
    /// Tokens sent and asked for per minute, at most
    #[arg(long, value_name = "N")]
    pub tokens_per_minute: Option<u32>,
    /// Seconds after which a request counts as lost
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// How often a request is sent again after a lost connection, a timeout, 429 or 5xx
    #[arg(long, value_name = "N")]
    pub max_retries: Option<u32>,
    /// Check the judge on this many records of each data set and task type
    #[arg(long, value_name = "N")]
    pub check_records: Option<usize>,
    /// Check: put the same question this often again
    #[arg(long, value_name = "N")]
    pub repeats: Option<u32>,
    /// Check: put the candidate answer before the reference
    #[arg(long)]
    pub swap: bool,
    /// Check: add attempts to dictate the score to the answers
    #[arg(long)]
    pub injections: bool,
    /// Check: ask another judge, too: one of the same backend, unless --second-backend says otherwise
    #[arg(long, value_name = "NAME")]
    pub second: Option<String>,
    /// Backend of the other judge
    #[arg(long, value_enum, requires = "second")]
    pub second_backend: Option<Backend>,
    /// How rows are worked on
    #[command(flatten)]
    pub work: WorkArguments,
}

impl JudgeArguments {
    /// Takes over what was given.
    pub fn apply(&self, judge: &mut Judge) {
        judge.backend = self.backend.unwrap_or(judge.backend);
        if let Some(model) = &self.model {
            judge.model.clone_from(model);
        }
        if let Some(variable) = &self.key_env {
            judge.key_env.clone_from(variable);
        }
        if let Some(price) = self.price {
            judge.prices.insert(judge.model.clone(), price);
        }
        judge.organization = self.organization.clone().or_else(|| judge.organization.clone());
        judge.base_url = self.base_url.clone().or_else(|| judge.base_url.clone());
        judge.n_group = self.n_group.unwrap_or(judge.n_group);
        judge.seed = self.seed.unwrap_or(judge.seed);
        judge.budget_usd = self.budget.or(judge.budget_usd);
        judge.concurrency = self.concurrency.unwrap_or(judge.concurrency);
        judge.requests_per_minute = self.requests_per_minute.or(judge.requests_per_minute);
        judge.tokens_per_minute = self.tokens_per_minute.or(judge.tokens_per_minute);
        judge.timeout_s = self.timeout.unwrap_or(judge.timeout_s);
        judge.max_retries = self.max_retries.unwrap_or(judge.max_retries);
        let checks = &mut judge.checks;
        checks.records = self.check_records.unwrap_or(checks.records);
        checks.repeats = self.repeats.unwrap_or(checks.repeats);
        checks.swap |= self.swap;
        checks.injections |= self.injections;
        if let Some(model) = &self.second {
            checks.second = Some(Second {
                backend: self.second_backend.unwrap_or(judge.backend),
                model: model.clone(),
                base_url: None,
                key_env: None,
            });
        }
    }
}
