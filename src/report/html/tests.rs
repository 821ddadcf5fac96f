//! Tests of the page over runs of every kind; what a browser makes of it is the business of `tests/check_report.py`.

use super::{Page, Provenance, Stage, SweepTable, page};
use crate::report::fixtures::{Run, small_run};
use crate::store::samples;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Read;
use std::sync::Arc;

fn provenance() -> Provenance {
    Provenance {
        commit: "abc".into(),
        experiment: Some("name = \"small\"\n".into()),
        stages: vec![Stage { name: "score".into(), seconds: "1.0".into(), rows: "96".into(), failed: "0".into() }],
        ..Provenance::default()
    }
}

fn of(run: &Run) -> Page {
    page(&run.report(), &run.inputs(), &run.joined(), &[], &provenance()).expect("the page is written")
}

/// What the page carries for its browser.
fn answers(page: &Page) -> serde_json::Value {
    let (_, rest) = page.html.split_once("id=\"answers-data\">").expect("answers are there");
    let packed = STANDARD.decode(rest.split_once('<').expect("the element ends").0).expect("base64");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("gzip of text");
    serde_json::from_str(&text).expect("JSON")
}

/// Every element that is opened is closed, and no text has become an element: the page is read as its own template's markup.
fn assert_sound(page: &Page) {
    for tag in
        ["section", "figure", "table", "tr", "td", "details", "svg", "g", "text", "ul", "li", "p", "div", "script"]
    {
        let opened = page.html.matches(&format!("<{tag} ")).count() + page.html.matches(&format!("<{tag}>")).count();
        let closed = page.html.matches(&format!("</{tag}>")).count();
        assert_eq!(opened, closed, "<{tag}>");
    }
    for outside in ["src=\"", "http://", "@import", "url("] {
        assert!(!page.html.contains(outside), "the page points outside: {outside}");
    }
    assert!(!page.html.contains("NaN") && page.figures.iter().all(|(_, svg)| !svg.contains("NaN")));
}

fn names(page: &Page) -> Vec<&str> {
    page.figures.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_whole_run_has_its_figures_and_its_answers() {
    let page = of(&small_run());
    assert_sound(&page);
    let expected = [
        "figure-4-correlations.svg",
        "figure-5-f1-latency.svg",
        "length-latency.svg",
        "length-f1.svg",
        "length-controlled.svg",
        "figure-6-rewards-inference.svg",
        "figure-6-rewards-evaluator.svg",
        "reward-distributions.svg",
    ];
    // `flat` is constant on questions, so its mean over tasks is not defined: its line says so.
    assert_eq!(names(&page), expected);
    assert!(page.figures[0].1.contains("no value"));
    assert!(page.html.contains("poq judge results/small"), "what is missing stands where it would have stood");
    let answers = answers(&page);
    assert_eq!(answers["tasks"].as_array().map(Vec::len), Some(24));
    assert_eq!(answers["rows"].as_array().map(Vec::len), Some(48));
    assert_eq!(answers["scorers"][0], "f1");
    for (name, svg) in &page.figures {
        assert!(svg.contains("class=\"mark"), "{name} is empty");
        assert!(svg.contains("<title>") && svg.contains("<desc>"), "{name} has no text");
    }
}

#[test]
fn what_models_write_stays_text() {
    const EVIL: &str = "</script><img src=x onerror=alert(1)>";
    let mut run = small_run();
    run.identity.name = EVIL.into();
    run.generations[0].output = Some(EVIL.into());
    run.generations[1].error = Some(EVIL.into());
    run.tasks[0].input = EVIL.into();
    let name = format!("good{EVIL}");
    for row in run.generations.iter_mut().filter(|row| row.model == "good") {
        row.model.clone_from(&name);
    }
    for row in run.scores.iter_mut().filter(|row| row.model == "good") {
        row.model.clone_from(&name);
    }
    for row in &mut run.rewards {
        row.node = format!("{}{EVIL}", row.node);
    }
    let page = of(&run);
    assert_sound(&page);
    assert!(!page.html.contains("<img") && page.figures.iter().all(|(_, svg)| !svg.contains("<img")));
    assert!(page.html.contains("&lt;img"));
    let answers = answers(&page);
    assert_eq!(answers["rows"][0][2], EVIL);
    assert_eq!(answers["rows"][2][3], EVIL, "the second answer to come, to the second task");
}

#[test]
fn the_page_is_a_report_at_any_stage() {
    let mut run = small_run();
    run.rewards.clear();
    let unpaid = of(&run);
    assert_sound(&unpaid);
    assert!(
        unpaid.html.contains("poq simulate results/small") && !names(&unpaid).contains(&"reward-distributions.svg")
    );
    run.profile.clear();
    run.scores.clear();
    let unscored = of(&run);
    assert_sound(&unscored);
    assert!(unscored.html.contains("Figure 4 is not drawn") && unscored.html.contains("Figure 5 is not drawn"));
    run.generations.clear();
    let unanswered = of(&run);
    assert_sound(&unanswered);
    assert!(unanswered.html.contains("There are no answers yet") && unanswered.figures.is_empty());
    run.tasks.clear();
    assert_sound(&of(&run));
}

#[test]
fn odd_runs_still_render() {
    // One model.
    let mut run = small_run();
    run.generations.retain(|row| row.model == "good");
    run.scores.retain(|row| row.model == "good");
    assert_sound(&of(&run));
    // One task.
    let mut run = small_run();
    run.tasks.truncate(1);
    let only = run.tasks[0].task_id.clone();
    run.generations.retain(|row| row.task_id == only);
    run.scores.retain(|row| row.task_id == only);
    assert_sound(&of(&run));
    // Every row of an evaluator failed.
    let mut run = small_run();
    for row in run.scores.iter_mut().filter(|row| row.scorer == "follower") {
        (row.raw, row.normalized, row.error) = (None, None, Some(format!("row of {} is too long", row.task_id)));
    }
    let page = of(&run);
    assert_sound(&page);
    assert!(page.html.contains("<td>follower</td><td class=\"number\">24</td>"), "a group per kind of row");
    // Constant scores, and rewards without a spread.
    let mut run = small_run();
    for row in &mut run.scores {
        (row.raw, row.normalized) = (Some(0.5), Some(5.0));
    }
    for row in &mut run.rewards {
        (row.avg_reward, row.ci_low, row.ci_high) = (Some(0.0), Some(0.0), Some(0.0));
    }
    let page = of(&run);
    assert_sound(&page);
    assert!(page.html.contains("Figure 4 is not drawn"));
}

#[test]
fn a_judged_run_shows_the_grades() {
    let mut run = small_run();
    run.judgements =
        run.generations.iter().map(|row| samples::judgement(&row.task_id, &row.model, Some(7.0))).collect();
    let page = of(&run);
    assert_sound(&page);
    assert!(names(&page).contains(&"figure-5-judge-latency.svg"));
    let answers = answers(&page);
    assert_eq!(answers["scorers"].as_array().and_then(|names| names.last()), Some(&"judge".into()));
    assert_eq!(answers["rows"][0][8], "because");
}

/// Answers that do not compress, so that the page has to choose.
#[test]
fn a_large_run_fits_into_five_megabytes() {
    let noise = |seed: usize| -> String {
        let mut state = seed as u64 + 1;
        let letter = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + ((state >> 40) % 90) as u8)
        };
        (0..700).map(letter).collect()
    };
    let mut run = small_run();
    let (tasks, answers_, models) = (run.tasks[0].clone(), run.generations[0].clone(), ["good", "slow"]);
    run.tasks.clear();
    run.generations.clear();
    run.scores.clear();
    for index in 0..6_000 {
        let task_id = format!("t{index}");
        run.tasks.push(crate::store::rows::TaskRow { task_id: task_id.clone(), input: noise(index), ..tasks.clone() });
        for model in models {
            let row = crate::store::rows::GenerationRow {
                task_id: task_id.clone(),
                model: model.into(),
                output: Some(noise(index * 7)),
                ..answers_.clone()
            };
            run.generations.push(row);
        }
    }
    let page = of(&run);
    assert!(page.html.len() < 5_000_000, "{} bytes", page.html.len());
    assert!(page.html.contains("characters are cut off") || page.html.contains("of 12,000 answers"));
    let rows = answers(&page)["rows"].as_array().map_or(0, Vec::len);
    assert!(rows > 3_000, "{rows} answers");
}

fn sweep() -> SweepTable {
    let mut sweep = SweepTable::new("attacks/<b>");
    let cells = [("[]", "mean", 0.1), ("[]", "median", 0.2), (r#"[{"strategy":"<i>","share":0.2}]"#, "mean", 0.9)];
    let column = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let batch = RecordBatch::try_from_iter([
        ("run", column(vec!["r"; 3])),
        ("cell", Arc::new(Int64Array::from(vec![0, 1, 2])) as ArrayRef),
        ("evaluator_attacks", column(cells.map(|cell| cell.0).to_vec())),
        ("consensus.rule", column(cells.map(|cell| cell.1).to_vec())),
        ("node_type", column(vec!["network"; 3])),
        ("node", Arc::new(StringArray::from(vec![None::<&str>; 3]))),
        ("metric", column(vec!["consensus_error"; 3])),
        ("proxy", column(vec!["f1"; 3])),
        ("value", Arc::new(Float64Array::from(cells.map(|cell| cell.2).to_vec()))),
    ]);
    sweep.see(&batch.expect("columns of one length")).expect("the columns of a sweep");
    sweep
}

#[test]
fn a_sweep_has_a_chart() {
    let run = small_run();
    let page =
        page(&run.report(), &run.inputs(), &run.joined(), &[sweep()], &provenance()).expect("the page is written");
    assert_sound(&page);
    let (name, svg) = page.figures.last().expect("a figure");
    assert_eq!(name, "sweep-attacks--b--consensus_error.svg");
    for text in ["none", "&lt;i&gt;, share 0.2", "mean", "median"] {
        assert!(svg.contains(text), "{text} is not in the chart");
    }
}
