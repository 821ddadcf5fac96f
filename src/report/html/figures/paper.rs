//! Figures 4, 5 and 6 of the paper for this run, with what the paper published beside them.

use super::{Drawn, drawn, ends};
use crate::report::comparison::Payment;
use crate::report::correlations::{EvaluatorCorrelation, JUDGE};
use crate::report::format::{count, fixed};
use crate::report::frontier::on_frontier;
use crate::report::html::figure::{Axis, Figure, Line, Mark, Plot};
use crate::report::quality::ModelQuality;
use crate::report::sections::Report;
use crate::statistics::Estimate;

const THIS_RUN: &str = "This run";
const PUBLISHED: &str = "The paper, as published (approximate)";

/// Figure 4: correlation of evaluators with F1 and the judge.
pub(super) fn correlations(report: &Report) -> Drawn {
    let rows: Vec<&EvaluatorCorrelation> = report.correlations.iter().collect();
    let names = crate::join::distinct(rows.iter().map(|row| row.evaluator.as_str()));
    let estimate = |name: &str, reference: &str| -> Option<Estimate> {
        rows.iter().find(|row| row.evaluator == name && row.reference == reference).map(|row| row.mean_over_tasks)
    };
    let mut lines = vec![Line::Heading(THIS_RUN.into())];
    for name in names {
        let both = [estimate(name, crate::join::F1), estimate(name, JUDGE)];
        let marks = both.iter().enumerate().filter_map(|(series, found)| {
            let found = found.as_ref()?;
            Some(Mark {
                interval: ends(found.ci_low, found.ci_high),
                n: Some(found.n as u64),
                ..Mark::at(series, found.value?, 0.0)
            })
        });
        let marks: Vec<Mark> = marks.collect();
        let size = |(found, with): (&Option<Estimate>, &str)| {
            found.as_ref().map(|found| format!("{} {with}", count(found.n as u64)))
        };
        let sizes: Vec<String> = both.iter().zip(["F1", "judge"]).filter_map(size).collect();
        let sizes = format!("n = {}", sizes.join(" / "));
        lines.push(Line::Row { name: name.to_owned(), note: sizes, marks });
    }
    let figure = |lines| Figure {
        id: "figure-4-correlations".into(),
        title: "Figure 4: how evaluators follow F1 and the judge".into(),
        caption: "Pearson's r averaged over task types, over the answers of all LLMs; bars are 95 % intervals by \
                  resampling tasks, n counts answers. The paper gives no intervals."
            .into(),
        series: vec!["with F1".into(), "with the LLM judge".into()],
        plot: Plot::Dots { axis: Axis::new("Pearson's r (no unit, -1 to 1)", &[-0.3, 0.7], 2), lines },
    };
    let own = drawn(
        figure(lines.clone()),
        "Figure 4 is not drawn: no evaluator of this run has a correlation that is defined.",
    );
    own?;
    lines.push(Line::Heading(PUBLISHED.into()));
    for pair in &report.paper.correlations {
        let Some(paper) = &pair.paper else { continue };
        let marks = [(0, paper.f1), (1, paper.judge)];
        let marks = marks.into_iter().filter_map(|(series, value)| Some(Mark::at(series, value?, 0.0))).collect();
        lines.push(Line::Row { name: paper.evaluator.clone(), note: String::new(), marks });
    }
    Ok(figure(lines))
}

/// Figure 5, left: F1 against latency.
pub(super) fn quality_f1(report: &Report) -> Drawn {
    let figure = against_latency(
        report,
        ("figure-5-f1-latency", "Figure 5, left: F1 against latency"),
        "Mean F1 over task types (0 to 10)",
        |model| Some(model.f1),
    );
    drawn(figure, "Figure 5 is not drawn: it needs F1 (`poq score`) and latencies (`poq profile`) of the same LLM.")
}

/// Figure 5, right: the judge's grades against latency.
pub(super) fn quality_judge(report: &Report) -> Drawn {
    let judged = report.judge.as_ref();
    let figure = against_latency(
        report,
        ("figure-5-judge-latency", "Figure 5, right: the judge's grade against latency"),
        "Mean judge grade over tasks (0 to 10)",
        |model| Some(judged?.models.iter().find(|own| own.model == model.model)?.over_tasks),
    );
    let why = "The right half of Figure 5, grades of an LLM judge against latency, is not drawn: it needs grades on \
               every task type (`poq judge`) and latencies (`poq profile`).";
    drawn(figure, why)
}

fn against_latency(
    report: &Report,
    (id, title): (&str, &str),
    quality: &str,
    read: impl Fn(&ModelQuality) -> Option<Estimate>,
) -> Figure {
    let marks: Vec<Mark> = report
        .quality
        .iter()
        .enumerate()
        .filter_map(|(series, model)| {
            let estimate = read(model)?;
            Some(Mark {
                interval: ends(estimate.ci_low, estimate.ci_high),
                n: Some(estimate.n as u64),
                ..Mark::at(series, model.latency_ms?, estimate.value?)
            })
        })
        .collect();
    let sizes = |(series, model): (usize, &ModelQuality)| match marks.iter().find(|mark| mark.series == series) {
        Some(mark) => format!("{} (n = {})", model.model, count(mark.n.unwrap_or_default())),
        None => model.model.clone(),
    };
    Figure {
        id: id.into(),
        title: title.into(),
        caption: "A point per LLM; bars are 95 % intervals of the mean, n counts answers. Upper left is better: the dashed \
                  line joins the LLMs that no other beats on both axes. Latency is that of the profile, one answer at a time."
            .into(),
        series: report.quality.iter().enumerate().map(sizes).collect(),
        plot: Plot::Plane {
            x: Axis::new("Mean latency per answer (ms)", &[0.0], 1),
            y: Axis::new(quality, &[0.0], 2),
            frontier: frontier(&marks),
            marks,
            joined: false,
        },
    }
}

/// The marks that no other is left of and above, from left to right.
fn frontier(marks: &[Mark]) -> Vec<(f64, f64)> {
    let points: Vec<_> = marks.iter().map(|mark| Some((mark.x, mark.y))).collect();
    let stands = |(point, on): (&Option<(f64, f64)>, Option<bool>)| point.filter(|_| on == Some(true));
    let mut found: Vec<(f64, f64)> = points.iter().zip(on_frontier(&points)).filter_map(stands).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.dedup();
    found
}

/// Figure 6: what nodes of a type earn.
pub(super) fn rewards(report: &Report, node_type: &str) -> Drawn {
    let (side, what) = if node_type == "inference" { ("left", "inference nodes") } else { ("right", "evaluators") };
    let mut lines = vec![Line::Heading(THIS_RUN.into())];
    let mut own: Vec<_> = report.rewards.iter().filter(|row| row.node_type == node_type).collect();
    let key = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    own.sort_by(|a, b| key(b.avg_reward).total_cmp(&key(a.avg_reward)));
    // A pool of hundreds would be a wall of dots; the table below has all.
    let (all, most) = (own.len(), 40);
    for row in own.into_iter().take(most) {
        let mark = row.avg_reward.map(|value| Mark {
            interval: ends(row.ci_low, row.ci_high),
            n: u64::try_from(row.jobs).ok(),
            ..Mark::at(0, value, 0.0)
        });
        let note = format!("cost {}, n = {} jobs", fixed(Some(row.cost_norm), 2), count(row.jobs));
        lines.push(Line::Row { name: row.node.clone(), note, marks: mark.into_iter().collect() });
    }
    let cut = if all > most { format!(" The {most} best paid of {all} are shown.") } else { String::new() };
    let figure = |lines| Figure {
        id: format!("figure-6-rewards-{node_type}"),
        title: format!("Figure 6, {side}: average rewards of {what}"),
        caption: format!(
            "Mean reward per job, highest first; bars are 95 % intervals over replicates, n counts jobs. Costs are relative \
             to the pool, so rewards of two runs are not on one scale.{cut}"
        ),
        series: Vec::new(),
        plot: Plot::Dots { axis: Axis::new("Average reward per job (normalised units)", &[0.0, 0.9], 3), lines },
    };
    let nobody = format!("Figure 6, {side} ({what}), is not drawn: none of them has been paid.");
    drawn(figure(lines.clone()), &nobody)?;
    lines.push(Line::Heading("The paper, as published (Table 4)".into()));
    let published = report.paper.rewards.iter().filter(|pair| pair.node_type == node_type);
    for Payment { node, avg_reward, cost_norm, jobs, .. } in published.filter_map(|pair| pair.paper.as_ref()) {
        let mark = avg_reward.map(|value| Mark { n: u64::try_from(*jobs).ok(), ..Mark::at(1, value, 0.0) });
        let note = format!("cost {}, n = {} jobs", fixed(Some(*cost_norm), 2), count(*jobs));
        lines.push(Line::Row { name: node.clone(), note, marks: mark.into_iter().collect() });
    }
    let mut figure = figure(lines);
    figure.series = vec![THIS_RUN.into(), "the paper".into()];
    Ok(figure)
}
