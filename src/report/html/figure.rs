//! A figure as data: what is drawn, what it is called, and the same numbers as a table for whoever does not see it.
//! `svg` draws it at a width; nothing else of the page knows coordinates.

use crate::report::document::Table;
use crate::report::format::{NONE, count, fixed};

/// An axis: what it measures, with its unit, and what it shows at least.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub label: String,
    /// Values that are in the picture whatever the data are.
    pub shows: Vec<f64>,
    /// Decimals in the table of numbers.
    pub decimals: usize,
}

impl Axis {
    pub(super) fn new(label: impl Into<String>, shows: &[f64], decimals: usize) -> Self {
        Self { label: label.into(), shows: shows.to_vec(), decimals }
    }
}

/// A value with what is known of its spread.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Mark {
    /// Index of the series.
    pub series: usize,
    /// Place on the x axis; of a dot plot the value itself.
    pub x: f64,
    /// Place on the y axis; not read by dot plots.
    pub y: f64,
    /// 95 % interval of the value.
    pub interval: Option<(f64, f64)>,
    /// 5th and 95th percentile of what the value is the mean of.
    pub spread: Option<(f64, f64)>,
    /// Median of the same.
    pub median: Option<f64>,
    /// Observations behind the value.
    pub n: Option<u64>,
}

impl Mark {
    pub(super) fn at(series: usize, x: f64, y: f64) -> Self {
        Self { series, x, y, ..Self::default() }
    }
}

/// A line of a dot plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    /// Parts the lines below from those above.
    Heading(String),
    /// A name, what stands behind it in small, and its values: none where there is no value to show.
    Row { name: String, note: String, marks: Vec<Mark> },
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plot {
    /// A line per name, values along one axis.
    Dots { axis: Axis, lines: Vec<Line> },
    /// Values in a plane.
    Plane {
        x: Axis,
        y: Axis,
        marks: Vec<Mark>,
        /// Whether the marks of a series are joined, in their order.
        joined: bool,
        /// Corners of a line of its own: those that nobody beats on both axes.
        frontier: Vec<(f64, f64)>,
    },
}

/// A figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// Name of its file, and of its place in the page.
    pub id: String,
    pub title: String,
    /// What a reader must know to read it.
    pub caption: String,
    /// What colours and shapes stand for.
    pub series: Vec<String>,
    pub plot: Plot,
}

impl Figure {
    /// Whether there is anything to see.
    pub(super) fn is_drawn(&self) -> bool {
        self.marks().next().is_some()
    }

    pub(super) fn marks(&self) -> Box<dyn Iterator<Item = &Mark> + '_> {
        match &self.plot {
            Plot::Plane { marks, .. } => Box::new(marks.iter()),
            Plot::Dots { lines, .. } => Box::new(lines.iter().flat_map(|line| match line {
                Line::Heading(_) => &[][..],
                Line::Row { marks, .. } => &marks[..],
            })),
        }
    }

    /// What a screen reader says in place of the picture.
    pub(super) fn alternative(&self) -> String {
        let axes = match &self.plot {
            Plot::Dots { axis, .. } => axis.label.clone(),
            Plot::Plane { x, y, .. } => format!("{} against {}", y.label, x.label),
        };
        let values = self.marks().count();
        format!("{}. Chart of {axes}, {values} values; the numbers are in the table below it.", self.title)
    }

    /// What a mark says of itself when somebody points at it.
    pub(super) fn tip(&self, name: &str, mark: &Mark) -> String {
        let mut parts: Vec<String> = Vec::new();
        let series = self.series.get(mark.series).map(String::as_str).unwrap_or_default();
        for part in [name, series] {
            if !part.is_empty() && parts.iter().all(|earlier| earlier != part) {
                parts.push(part.to_owned());
            }
        }
        let decimals = match &self.plot {
            Plot::Dots { axis, .. } => {
                parts.push(format!("{}: {}", axis.label, fixed(Some(mark.x), axis.decimals)));
                axis.decimals
            }
            Plot::Plane { x, y, .. } => {
                parts.push(format!("{}: {}", y.label, fixed(Some(mark.y), y.decimals)));
                parts.push(format!("{}: {}", x.label, fixed(Some(mark.x), x.decimals)));
                y.decimals
            }
        };
        let range = |(low, high)| format!("{} to {}", fixed(Some(low), decimals), fixed(Some(high), decimals));
        parts.extend(mark.interval.map(|interval| format!("95 % interval {}", range(interval))));
        parts.extend(mark.median.map(|median| format!("median {}", fixed(Some(median), decimals))));
        parts.extend(mark.spread.map(|spread| format!("5th to 95th percentile {}", range(spread))));
        parts.extend(mark.n.map(|n| format!("n = {}", count(n))));
        parts.join("\n")
    }

    /// The same numbers, line by line.
    pub(super) fn numbers(&self) -> Table {
        let has = |wanted: fn(&Mark) -> bool| self.marks().any(wanted);
        let (interval, spread, n) =
            (has(|mark| mark.interval.is_some()), has(|mark| mark.spread.is_some()), has(|mark| mark.n.is_some()));
        let mut headings = match &self.plot {
            Plot::Dots { axis, .. } => vec!["Name".to_owned(), "Series".to_owned(), axis.label.clone()],
            Plot::Plane { x, y, .. } => vec!["Series".to_owned(), x.label.clone(), y.label.clone()],
        };
        for (wanted, heading) in
            [(interval, "95 % interval"), (spread, "Median"), (spread, "5th to 95th percentile"), (n, "n")]
        {
            headings.extend(wanted.then(|| heading.to_owned()));
        }
        let words = if matches!(self.plot, Plot::Dots { .. }) { 2 } else { 1 };
        let mut table = Table::new(words, headings);
        let mut add = |mut cells: Vec<String>, mark: &Mark, decimals: usize| {
            let range = |range: Option<(f64, f64)>| {
                range.map_or_else(
                    || NONE.to_owned(),
                    |(low, high)| format!("{} to {}", fixed(Some(low), decimals), fixed(Some(high), decimals)),
                )
            };
            cells.extend(interval.then(|| range(mark.interval)));
            cells.extend(spread.then(|| fixed(mark.median, decimals)));
            cells.extend(spread.then(|| range(mark.spread)));
            cells.extend(n.then(|| mark.n.map_or_else(|| NONE.to_owned(), count)));
            table.row(cells);
        };
        let series = |mark: &Mark| self.series.get(mark.series).cloned().unwrap_or_default();
        match &self.plot {
            Plot::Dots { axis, lines } => {
                let mut under = String::new();
                for line in lines {
                    let (name, marks) = match line {
                        Line::Heading(text) => {
                            under = format!("{text}: ");
                            continue;
                        }
                        Line::Row { name, marks, .. } => (name, marks),
                    };
                    for mark in marks {
                        let cells = vec![format!("{under}{name}"), series(mark), fixed(Some(mark.x), axis.decimals)];
                        add(cells, mark, axis.decimals);
                    }
                }
            }
            Plot::Plane { x, y, marks, .. } => {
                for mark in marks {
                    let cells = vec![series(mark), fixed(Some(mark.x), x.decimals), fixed(Some(mark.y), y.decimals)];
                    add(cells, mark, y.decimals);
                }
            }
        }
        table
    }
}
