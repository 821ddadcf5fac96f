//! Charts of a sweep: a figure of the network against the axis with the most values, a series per value of the next; where
//! nobody attacks, what every node earns.

use super::{Drawn, drawn};
use crate::report::html::figure::{Axis, Figure, Line, Mark, Plot};
use crate::report::html::sweep_table::{NETWORK_METRICS, NODE_METRIC, Point, SweepAxis, SweepTable};

/// Series that a reader can tell apart.
const MOST_SERIES: usize = 12;
/// Lines of a chart.
const MOST_LINES: usize = 60;

/// The charts of a sweep.
pub(in crate::report::html) fn figures(sweep: &SweepTable) -> Vec<Drawn> {
    if sweep.is_stale {
        return vec![Err(format!(
            "The sweep `{}` is not drawn: it was made from other answers, scores or costs than the run has now. To get it: \
             `poq sweep` with its file again.",
            sweep.name
        ))];
    }
    let Some(layout) = Layout::of(sweep) else {
        return vec![Err(format!(
            "The sweep `{}` changes no setting, so there is nothing to draw it against.",
            sweep.name
        ))];
    };
    let attacks = sweep.axes.iter().any(|axis| axis.path.contains("attack") && axis.values.len() > 1);
    let mut found = Vec::new();
    if attacks {
        for metric in NETWORK_METRICS {
            let figure = layout.network(metric);
            if figure.is_drawn() {
                found.push(Ok(figure));
            }
        }
    } else {
        found.push(drawn(layout.nodes(), ""));
        found.retain(Result::is_ok);
    }
    if found.is_empty() {
        let figure = layout.network(NETWORK_METRICS[0]);
        found.push(drawn(figure, &format!("The sweep `{}` has none of the figures that are charted.", sweep.name)));
    }
    found
}

/// Which axis is which.
struct Layout<'s> {
    sweep: &'s SweepTable,
    main: usize,
    second: Option<usize>,
    /// Axes that stay at one value: the axis and the value's index.
    held: Vec<(usize, usize)>,
}

impl<'s> Layout<'s> {
    fn of(sweep: &'s SweepTable) -> Option<Self> {
        let mut moving: Vec<usize> = (0..sweep.axes.len()).filter(|axis| sweep.axes[*axis].values.len() > 1).collect();
        // Settings that move together are one axis.
        let mut apart: Vec<usize> = Vec::new();
        for axis in moving.drain(..) {
            if !apart.iter().any(|earlier| move_together(sweep, *earlier, axis)) {
                apart.push(axis);
            }
        }
        apart.sort_by_key(|axis| std::cmp::Reverse(sweep.axes[*axis].values.len()));
        let mut axes = apart.into_iter();
        let main = axes.next()?;
        let second = axes.next();
        Some(Self { sweep, main, second, held: axes.map(|axis| (axis, 0)).collect() })
    }

    fn axis(&self, index: usize) -> &SweepAxis {
        &self.sweep.axes[index]
    }

    /// Points of a metric in which the held axes, and some others, stay where they are.
    fn points<'l>(&'l self, metric: &'l str, also: &'l [(usize, usize)]) -> impl Iterator<Item = &'l Point> {
        let here = move |point: &&Point| self.held.iter().chain(also).all(|(axis, value)| point.at[*axis] == *value);
        self.sweep.points.iter().filter(move |point| point.metric == metric).filter(here)
    }

    fn held(&self, also: &[(usize, usize)]) -> String {
        let parts = self.held.iter().chain(also);
        let parts: Vec<String> = parts
            .map(|(axis, value)| format!("{} = {}", self.axis(*axis).path, self.axis(*axis).values[*value]))
            .collect();
        let held = if parts.is_empty() { String::new() } else { format!(" Held: {}.", parts.join("; ")) };
        let cut = if self.sweep.is_cut { " The sweep is large: its first cells alone are drawn." } else { "" };
        format!("{held}{cut} All cells are in `sweeps/{}.parquet`.", self.sweep.name)
    }

    /// A figure of the network.
    fn network(&self, metric: &str) -> Figure {
        let series = self.second.map_or_else(Vec::new, |axis| self.axis(axis).values.clone());
        let marks: Vec<Mark> = self
            .points(metric, &[])
            .filter(|point| point.node.is_none())
            .map(|point| (point.at[self.main], self.second.map_or(0, |axis| point.at[axis]), point.value))
            .filter(|(_, series, _)| *series < MOST_SERIES)
            .map(|(place, series, value)| Mark::at(series, place as f64, value))
            .collect();
        let by = self.second.map(|axis| format!(", by {}", self.axis(axis).path)).unwrap_or_default();
        let what = words(metric, self.sweep.proxy.as_deref());
        self.figure(metric, format!("{what}: {}{by}", self.axis(self.main).path), &what, series, marks, &[])
    }

    /// What every node earns.
    fn nodes(&self) -> Figure {
        let also: Vec<(usize, usize)> = self.second.map(|axis| (axis, 0)).into_iter().collect();
        let marks: Vec<Mark> = self
            .points(NODE_METRIC, &also)
            .filter_map(|point| Some(Mark::at(point.node?, point.at[self.main] as f64, point.value)))
            .filter(|mark| mark.series < MOST_SERIES)
            .collect();
        let title = format!("Average reward of every node against {}", self.axis(self.main).path);
        let what = "Average reward per job (normalised units)";
        self.figure(NODE_METRIC, title, what, self.sweep.nodes.clone(), marks, &also)
    }

    /// `marks` have the index of the main axis's value as x and the figure as y.
    fn figure(
        &self,
        metric: &str,
        title: String,
        label: &str,
        series: Vec<String>,
        mut marks: Vec<Mark>,
        also: &[(usize, usize)],
    ) -> Figure {
        let main = self.axis(self.main);
        let hidden = if series.len() > MOST_SERIES {
            format!(" The first {MOST_SERIES} of {} series are shown.", series.len())
        } else {
            String::new()
        };
        let caption = format!("One cell of the sweep per mark.{}{hidden}", self.held(also));
        let plot = if let Some(numbers) = &main.numbers {
            for mark in &mut marks {
                mark.x = numbers[mark.x as usize];
            }
            marks.sort_by(|a, b| a.series.cmp(&b.series).then(a.x.total_cmp(&b.x)));
            Plot::Plane {
                x: Axis::new(format!("{} (setting)", main.path), &[], 3),
                y: Axis::new(label, &[], 4),
                marks,
                joined: true,
                frontier: Vec::new(),
            }
        } else {
            let line = |(place, name): (usize, &String)| {
                let own = marks.iter().filter(|mark| mark.x as usize == place);
                let mut marks: Vec<Mark> = own.map(|mark| Mark { x: mark.y, y: 0.0, ..mark.clone() }).collect();
                marks.sort_by_key(|mark| mark.series);
                Line::Row { name: name.clone(), note: String::new(), marks }
            };
            let lines = main.values.iter().enumerate().take(MOST_LINES).map(line).collect();
            Plot::Dots { axis: Axis::new(label, &[], 4), lines }
        };
        Figure { id: format!("sweep-{}-{metric}", file_name(&self.sweep.name)), title, caption, series, plot }
    }
}

/// Whether every value of one axis comes with one value of the other.
fn move_together(sweep: &SweepTable, one: usize, other: usize) -> bool {
    if sweep.axes[one].values.len() != sweep.axes[other].values.len() {
        return false;
    }
    let mut partner = vec![None; sweep.axes[one].values.len()];
    sweep.points.iter().all(|point| *partner[point.at[one]].get_or_insert(point.at[other]) == point.at[other])
}

/// A figure in words, with its unit; short enough for an axis on a phone.
fn words(metric: &str, proxy: Option<&str>) -> String {
    let against = proxy.map(|proxy| format!(" vs {proxy}")).unwrap_or_default();
    match metric {
        "consensus_error" => format!("Consensus error{against} (points of 0 to 10)"),
        "honest_malicious_gap" => "Honest minus malicious reward (norm. units)".into(),
        "ranking_kendall" => format!("Kendall's tau of the LLMs' ranking{against} (-1 to 1)"),
        other => other.to_owned(),
    }
}

/// A name that is safe in a path and in a page.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' }).collect()
}
