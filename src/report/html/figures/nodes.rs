//! Figures that the paper does not have: how rewards scatter, and what the length of answers does.

use super::{Drawn, drawn, ends};
use crate::report::format::count;
use crate::report::html::figure::{Axis, Figure, Line, Mark, Plot};
use crate::report::sections::Report;
use crate::statistics::Estimate;

/// Nodes that the chart of distributions has room for.
const MOST_NODES: usize = 40;

/// Percentiles, median and mean of every node's rewards.
pub(super) fn distributions(report: &Report) -> Drawn {
    let mut lines = Vec::new();
    for (series, node_type, heading) in [(0, "inference", "Inference nodes"), (1, "evaluator", "Evaluators")] {
        let own: Vec<_> = report.rewards.iter().filter(|row| row.node_type == node_type).take(MOST_NODES).collect();
        if own.is_empty() {
            continue;
        }
        lines.push(Line::Heading(heading.into()));
        for row in own {
            let mark = row.avg_reward.map(|mean| Mark {
                interval: ends(row.ci_low, row.ci_high),
                spread: ends(row.reward_p05, row.reward_p95),
                median: row.reward_p50,
                n: u64::try_from(row.jobs).ok(),
                ..Mark::at(series, mean, 0.0)
            });
            lines.push(Line::Row {
                name: row.node.clone(),
                note: format!("n = {} jobs", count(row.jobs)),
                marks: mark.into_iter().collect(),
            });
        }
    }
    let cut = if report.rewards.len() > 2 * MOST_NODES {
        format!(" At most {MOST_NODES} nodes of a type are shown.")
    } else {
        String::new()
    };
    let figure = Figure {
        id: "reward-distributions".into(),
        title: "How rewards scatter over jobs".into(),
        caption: format!(
            "The thin line goes from the 5th to the 95th percentile of the reward per job, the upright stroke is the median, the \
             shape the mean; the thick bar, often shorter than the shape, is the mean's 95 % interval over replicates.{cut}"
        ),
        series: vec!["inference nodes".into(), "evaluators".into()],
        plot: Plot::Dots { axis: Axis::new("Reward per job (normalised units)", &[0.0], 3), lines },
    };
    drawn(figure, "The distributions of rewards are not drawn: nobody has been paid.")
}

/// The confound, first half: longer answers take longer.
pub(super) fn length_and_latency(report: &Report) -> Drawn {
    let figure = against_length(
        report,
        ("length-latency", "Output length against latency"),
        Axis::new("Mean latency per answer (ms)", &[0.0], 1),
        |model| Some(Estimate { value: model.latency_ms, n: model.answers, ..Estimate::default() }),
    );
    drawn(figure, "Output length against latency is not drawn: it needs token counts and latencies (`poq profile`).")
}

/// The confound, second half: longer answers score lower on short references.
pub(super) fn length_and_f1(report: &Report) -> Drawn {
    let figure = against_length(
        report,
        ("length-f1", "Output length against F1"),
        Axis::new("Mean F1 over task types (0 to 10)", &[0.0], 2),
        |model| Some(model.f1),
    );
    drawn(figure, "Output length against F1 is not drawn: it needs token counts and F1 (`poq score`).")
}

/// What length has to do with Figure 4: correlations as they are, and between answers of equal length.
pub(super) fn at_equal_length(report: &Report) -> Drawn {
    let mut lines = Vec::new();
    for row in report.correlations.iter().filter(|row| row.reference == crate::join::F1) {
        let mark = |series, estimate: &Estimate| {
            Some(Mark {
                interval: ends(estimate.ci_low, estimate.ci_high),
                n: Some(estimate.n as u64),
                ..Mark::at(series, estimate.value?, 0.0)
            })
        };
        let marks = [mark(0, &row.mean_over_tasks), mark(1, &row.mean_at_equal_length)];
        let note = format!("n = {}", count(row.mean_over_tasks.n as u64));
        lines.push(Line::Row { name: row.evaluator.clone(), note, marks: marks.into_iter().flatten().collect() });
    }
    let figure = Figure {
        id: "length-controlled".into(),
        title: "Evaluators against F1, at equal length".into(),
        caption: "Pearson's r with F1 averaged over task types, and the same between what the number of words of the answer leaves \
                  of both (partial correlation); bars are 95 % intervals by resampling tasks, n counts answers. An evaluator whose \
                  second mark lies much nearer to 0 than its first follows length more than quality."
            .into(),
        series: vec!["as in Figure 4".into(), "at equal length".into()],
        plot: Plot::Dots { axis: Axis::new("Pearson's r (no unit, -1 to 1)", &[0.0], 2), lines },
    };
    drawn(figure, "Correlations at equal length are not drawn: no evaluator of this run has one that is defined.")
}

fn against_length(
    report: &Report,
    (id, title): (&str, &str),
    y: Axis,
    read: impl Fn(&crate::report::quality::ModelQuality) -> Option<Estimate>,
) -> Figure {
    let mut marks = Vec::new();
    for (series, model) in report.quality.iter().enumerate() {
        let Some((length, value)) = model.mean_output_tokens.zip(read(model)) else { continue };
        let Some(height) = value.value else { continue };
        marks.push(Mark {
            interval: ends(value.ci_low, value.ci_high),
            n: Some(model.answers as u64),
            ..Mark::at(series, length, height)
        });
    }
    let name =
        |model: &crate::report::quality::ModelQuality| format!("{} (n = {})", model.model, count(model.answers as u64));
    Figure {
        id: id.into(),
        title: title.into(),
        caption:
            "A point per LLM, n counts its answers. An LLM that does not stop is slower and, against short references, \
                  loses F1: where points line up, cost and quality may both be length in disguise."
                .into(),
        series: report.quality.iter().map(name).collect(),
        plot: Plot::Plane {
            x: Axis::new("Mean new tokens per answer", &[0.0], 1),
            y,
            marks,
            joined: false,
            frontier: Vec::new(),
        },
    }
}
