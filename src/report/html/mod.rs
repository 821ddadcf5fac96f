//! `report.html` and `figures/*.svg`: the report as one page that needs nothing but itself. Rows in, text out; the `report`
//! command writes the files.
//!
//! `figures` says what is drawn (`figure` is its form, `svg` and `frame` draw it), `blocks` are the words and tables of
//! `layout`, `rows` the answers to browse, `failures` the errors; `page.html` puts them together, `page.css` and `page.js` make
//! it readable and alive.
//!
//! Why figures are drawn here, by plotters, and not in the reader's browser by a charting library: the page has to fit into 5 MB
//! together with 10,000 answers, to open at once on a phone, to print, and to leave the same figures as files, all from crates
//! alone. Of the crates that carry a JavaScript library, `plotly` 0.14 embeds plotly.js 3.0.1: 4,653,932 bytes, 1,879,416
//! gzipped and in base64, all of it parsed before the first chart shows, and its SVG files need a browser at build time;
//! `charming` links to a server. A figure drawn here takes about 10 kB, and pointing, hiding and highlighting some 60 lines.

mod blocks;
mod escape;
mod failures;
mod figure;
mod figures;
mod frame;
mod provenance;
mod rows;
mod svg;
mod sweep_table;

#[cfg(test)]
mod tests;

pub use provenance::{Provenance, Stage};
pub use sweep_table::SweepTable;

use super::document::Block;
use super::layout::{Sections, sections};
use super::{Inputs, Report};
use crate::join::Joined;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use figures::Drawn;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 2] = [include_str!("page.js"), include_str!("browse.js")];
const TEMPLATE: &str = include_str!("page.html");

/// The files of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `report.html`.
    pub html: String,
    /// Names and contents of `figures/`.
    pub figures: Vec<(String, String)>,
}

/// A section of the page.
struct Section {
    id: &'static str,
    /// In the table of contents.
    short: &'static str,
    /// Its heading: that of the words, where they have one. Figures stand between it and the words.
    title: String,
    figures: Vec<Drawn>,
    words: String,
}

/// The page of a run and its figures.
pub fn page(
    report: &Report,
    inputs: &Inputs,
    joined: &Joined,
    sweeps: &[SweepTable],
    provenance: &Provenance,
) -> Result<Page> {
    let embedded = rows::embed(inputs, joined)?;
    let (failures, failure_groups) = failures::failures(inputs);
    let (opening, sections) = of_report(report, sweeps);
    let mut files = Vec::new();
    let mut parts = Vec::new();
    for section in &sections {
        let mut drawn = Vec::new();
        for figure in &section.figures {
            drawn.push(of_figure(figure.as_ref(), &mut files)?);
        }
        let words = Value::from_safe_string(section.words.clone());
        let (id, short, title) = (section.id, section.short, Value::from_safe_string(escape::inline(&section.title)));
        parts.push(context! { id, short, title, figures => drawn, words });
    }
    let hash = |script: &&str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script.as_bytes())));
    let page = context! {
        identity => Value::from(Serde(&report.identity)),
        opening => Value::from_safe_string(opening),
        parts,
        failures => Value::from(Serde(&failures)),
        failure_groups => failure_groups as u64,
        provenance => Value::from(Serde(provenance)),
        embedded => context! {
            data => Value::from_safe_string(embedded.data), rows => embedded.rows as u64, of => embedded.of as u64, cut => embedded.cut.map(|cut| cut as u64),
        },
        style => Value::from_safe_string(STYLE.to_owned()),
        scripts => SCRIPTS.map(|script| Value::from_safe_string(script.to_owned())).to_vec(),
        hashes => SCRIPTS.iter().map(hash).collect::<Vec<_>>().join(" "),
    };
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("count", |number: u64| super::format::count(number));
    let html = environment.render_str(TEMPLATE, page).context("the page cannot be written; this is a bug")?;
    Ok(Page { html, figures: files })
}

/// A figure for the page, or why there is none; its file is put with the others.
fn of_figure(figure: Result<&figure::Figure, &String>, files: &mut Vec<(String, String)>) -> Result<Value> {
    let figure = match figure {
        Err(why) => return Ok(context! { missing => Value::from_safe_string(escape::inline(why)) }),
        Ok(figure) => figure,
    };
    let name = format!("{}.svg", figure.id);
    let drawn = |width| anyhow::Ok(Value::from_safe_string(svg::part(figure, width)?));
    files.push((name.clone(), svg::file(figure)?));
    Ok(context! {
        id => &figure.id,
        title => &figure.title,
        caption => Value::from_safe_string(escape::inline(&figure.caption)),
        file => name,
        wide => drawn(svg::WIDE)?,
        narrow => drawn(svg::NARROW)?,
        numbers => Value::from_safe_string(blocks::table(&figure.numbers(), &figure.title)),
    })
}

/// The opening and the sections, in the order of the page.
fn of_report(report: &Report, sweeps: &[SweepTable]) -> (String, Vec<Section>) {
    let Sections { opening, rewards, correlations, quality, judge, paper } = sections(report);
    let figures = figures::of_run(report);
    let section = |id, short, figures, words: &[Block]| {
        let (title, words) = match words {
            [Block::Heading(_, title), words @ ..] => (title.clone(), words),
            words => (String::new(), words),
        };
        Section { id, short, title, figures, words: blocks::html(words) }
    };
    let titled = |title: &str| [Block::section(title)];
    let mut found = vec![
        section("evaluators", "Evaluators", figures.correlations, &correlations),
        section("models", "LLMs", figures.quality, &quality),
        section("length", "Length", figures.length, &titled("Is it the length? Output length, cost and F1")),
        section("rewards", "Rewards", figures.rewards, &rewards),
        section("spread", "Spread", figures.distributions, &titled("How rewards scatter")),
        section("judge", "Judge", Vec::new(), &judge),
    ];
    let drawn: Vec<Drawn> = sweeps.iter().flat_map(figures::sweeps).collect();
    let drawn = if drawn.is_empty() {
        let command = format!("poq sweep {} experiments/sweeps/robustness.toml", report.identity.directory);
        vec![Err(format!("No sweep has been made of this run. To get one: `{command}`"))]
    } else {
        drawn
    };
    found.push(section("sweeps", "Sweeps", drawn, &titled("Attacks and sweeps")));
    found.push(section("paper", "The paper", Vec::new(), &paper));
    (blocks::html(&opening), found)
}
