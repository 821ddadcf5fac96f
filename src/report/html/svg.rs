//! Draws a figure at a width: the frame of `frame`, and on it marks that style sheets colour and scripts can point at.

use super::escape::escape;
use super::figure::{Axis, Figure, Line, Mark, Plot};
use super::frame::{Frame, Place, frame, range};
use anyhow::Result;
use std::fmt::Write;

/// Width of a figure on a desktop, and of its file.
pub(super) const WIDE: u32 = 720;
/// Width of a figure on a phone.
pub(super) const NARROW: u32 = 340;
/// Colours in the palette; series beyond take them again, in another shape.
const COLOURS: usize = 7;
/// Shapes; coprime to the colours, so that a pair comes back late.
const SHAPES: usize = 5;
/// Height of a line of text.
const LINE: u32 = 18;
/// Height of a mark's lane.
const LANE: u32 = 15;
/// Height of the plot of a plane.
const PLANE: u32 = 280;
/// Width of the labels of a y axis.
const LEFT: u32 = 58;

/// What a file needs to look right by itself; the page has its own, which follows its theme.
const STYLE: &str = include_str!("file.css");

/// The figure as a file.
pub(super) fn file(figure: &Figure) -> Result<String> {
    let (height, body) = body(figure, WIDE)?;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDE}\" height=\"{height}\" viewBox=\"0 0 {WIDE} {height}\" \
         role=\"img\" class=\"figure\">\n<title>{}</title>\n<desc>{}</desc>\n<style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDE}\" height=\"{height}\"/>\n{body}</svg>\n",
        escape(&figure.title),
        escape(&figure.alternative()),
    ))
}

/// The figure as a part of the page.
pub(super) fn part(figure: &Figure, width: u32) -> Result<String> {
    let (height, body) = body(figure, width)?;
    Ok(format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\" \
         class=\"figure\">{body}</svg>",
        escape(&figure.alternative()),
    ))
}

fn body(figure: &Figure, width: u32) -> Result<(u32, String)> {
    let mut svg = String::new();
    let top = legend(&mut svg, figure, width);
    let height = match &figure.plot {
        Plot::Dots { axis, lines } => dots(&mut svg, figure, axis, lines, (width, top))?,
        Plot::Plane { x, y, marks, joined, frontier } => {
            let marks = Plane { x, y, marks, joined: *joined, frontier };
            plane(&mut svg, figure, &marks, (width, top))?
        }
    };
    Ok((height, svg))
}

/// About how wide a text is, in pixels.
fn text_width(text: &str) -> u32 {
    text.chars().count() as u32 * 7
}

/// A text that fits, its end cut off where it must be.
fn fitting(text: &str, width: u32) -> String {
    let most = (width / 7) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// What colours and shapes stand for; returns the height it takes.
fn legend(svg: &mut String, figure: &Figure, width: u32) -> u32 {
    let (mut x, mut y) = (14, 14);
    let frontier = matches!(&figure.plot, Plot::Plane { frontier, .. } if frontier.len() > 1);
    let used = |series: &usize| figure.marks().any(|mark| mark.series == *series);
    let named = figure.series.iter().enumerate().filter(|(series, _)| used(series));
    let entries: Vec<(Option<usize>, &str)> = named
        .map(|(series, name)| (Some(series), name.as_str()))
        .chain(frontier.then_some((None, "Pareto frontier")))
        .collect();
    if entries.is_empty() {
        return 10;
    }
    for (series, name) in entries {
        let name = fitting(name, width - 50);
        let wide = text_width(&name) + 34;
        if x > 14 && x + wide > width {
            (x, y) = (14, y + 22);
        }
        let text = escape(&name);
        let _ = match series {
            Some(series) => write!(
                svg,
                "<g class=\"key s{}\" data-s=\"{series}\">{}<text class=\"text\" x=\"{}\" y=\"{}\">{text}</text></g>",
                series % COLOURS,
                shape(series, x as i32, y as i32),
                x + 12,
                y + 4
            ),
            None => write!(
                svg,
                "<g><line class=\"frontier\" x1=\"{}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/><text class=\"text\" x=\"{}\" \
                 y=\"{}\">{text}</text></g>",
                x - 6,
                x + 10,
                x + 15,
                y + 4
            ),
        };
        x += wide;
    }
    y + 18
}

/// The shape of a series, around a point.
fn shape(series: usize, x: i32, y: i32) -> String {
    let path = match series % SHAPES {
        0 => format!("M{} {y}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z", x - 5),
        1 => format!("M{} {}h9v9h-9z", x - 4, y - 4),
        2 => format!("M{x} {}l6 10h-12z", y - 6),
        3 => format!("M{x} {}l6 6l-6 6l-6 -6z", y - 6),
        _ => format!("M{x} {}l6 -10h-12z", y + 6),
    };
    format!("<path class=\"shape\" d=\"{path}\"/>")
}

fn mark(svg: &mut String, figure: &Figure, name: &str, mark: &Mark, (x, y): (i32, i32), extra: &str) {
    let _ = write!(
        svg,
        "<g class=\"mark s{}\" data-s=\"{}\"><title>{}</title>{extra}{}</g>",
        mark.series % COLOURS,
        mark.series,
        escape(&figure.tip(name, mark)),
        shape(mark.series, x, y)
    );
}

fn axis_name(svg: &mut String, label: &str, width: u32, y: u32) {
    let label = escape(&fitting(label, width - 20));
    let _ = write!(svg, "<text class=\"text\" x=\"{}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>", width / 2);
}

/// Lines of names with their values; a lane for every series that a line has.
fn dots(svg: &mut String, figure: &Figure, axis: &Axis, lines: &[Line], (width, top): (u32, u32)) -> Result<u32> {
    let tall = |line: &Line| match line {
        Line::Heading(_) => LINE + 10,
        Line::Row { marks, .. } => LINE + lane(marks) * (marks.len().max(1) as u32) + 6,
    };
    let plot: u32 = lines.iter().map(tall).sum();
    let place = Place { width, height: top + plot + 24 + LINE, top, bottom: LINE, left: 0 };
    let all = || figure.marks();
    let ends = |pair: Option<(f64, f64)>| pair.into_iter().flat_map(|(low, high)| [low, high]);
    let values = all().flat_map(|mark| {
        std::iter::once(mark.x).chain(mark.median).chain(ends(mark.interval)).chain(ends(mark.spread))
    });
    let x = range(values.chain(axis.shows.iter().copied()));
    // Everything that has a place on the axis, in the order in which it is drawn.
    let mut wanted = Vec::new();
    for mark in all() {
        wanted.extend(places(mark).map(|value| (value, 0.0)));
    }
    wanted.push((0.0, 0.0));
    let Frame { svg: drawn_frame, points } = frame(place, x, (0.0, 1.0), &wanted)?;
    svg.push_str(&drawn_frame);
    if x.0 < 0.0 && x.1 > 0.0 {
        let zero = points[points.len() - 1].0;
        let _ = write!(svg, "<path class=\"axis\" d=\"M{zero} {top}V{}\"/>", top + plot);
    }
    let mut points = points.into_iter().map(|(x, _)| x);
    let mut next = || points.next().unwrap_or_default();
    let mut y = top;
    for line in lines {
        let height = tall(line);
        match line {
            Line::Heading(text) => {
                // Bold letters are wider.
                let text = escape(&fitting(text, (width - 20) * 7 / 8));
                let _ = write!(svg, "<text class=\"text heading\" x=\"14\" y=\"{}\">{text}</text>", y + 20);
            }
            Line::Row { name, note, marks } => {
                let name_fits = fitting(name, width - 20);
                let left = (width - 20).saturating_sub(text_width(&name_fits) + 14);
                // On a phone what stands last, the sample size, has to do.
                let parts = [note.as_str(), note.rsplit(", ").next().unwrap_or_default()];
                let note = parts.into_iter().find(|note| text_width(note) <= left).map(escape).unwrap_or_default();
                let _ = write!(
                    svg,
                    "<text class=\"text\" x=\"14\" y=\"{}\">{}<tspan class=\"note\" dx=\"10\">{note}</tspan></text>",
                    y + 14,
                    escape(&name_fits)
                );
                if marks.is_empty() {
                    let _ = write!(svg, "<text class=\"text note\" x=\"14\" y=\"{}\">no value</text>", y + LINE + 11);
                }
                for (place, own) in marks.iter().enumerate() {
                    let middle = (y + LINE + lane(marks) * place as u32 + LANE / 2) as i32;
                    let at = next();
                    let mut extra = String::new();
                    if own.spread.is_some() {
                        let _ = write!(extra, "<path class=\"spread\" d=\"M{} {middle}H{}\"/>", next(), next());
                    }
                    if own.interval.is_some() {
                        let _ = write!(extra, "<path class=\"interval\" d=\"M{} {middle}H{}\"/>", next(), next());
                    }
                    if own.median.is_some() {
                        let _ = write!(extra, "<path class=\"median\" d=\"M{} {}v12\"/>", next(), middle - 6);
                    }
                    mark(svg, figure, name, own, (at, middle), &extra);
                }
            }
        }
        y += height;
    }
    axis_name(svg, &axis.label, width, place.height - 4);
    Ok(place.height)
}

/// Height of a lane: less where there are many, which have no intervals.
fn lane(marks: &[Mark]) -> u32 {
    if marks.len() > 2 { 9 } else { LANE }
}

/// The values of a mark that have a place on the axis of a dot plot.
fn places(mark: &Mark) -> impl Iterator<Item = f64> {
    let ends = |pair: Option<(f64, f64)>| pair.into_iter().flat_map(|(low, high)| [low, high]);
    std::iter::once(mark.x).chain(ends(mark.spread)).chain(ends(mark.interval)).chain(mark.median)
}

struct Plane<'f> {
    x: &'f Axis,
    y: &'f Axis,
    marks: &'f [Mark],
    joined: bool,
    frontier: &'f [(f64, f64)],
}

fn plane(svg: &mut String, figure: &Figure, values: &Plane, (width, top): (u32, u32)) -> Result<u32> {
    let Plane { x, y, marks, joined, frontier } = values;
    // The name of the y axis stands above it: turned by 90 degrees nobody reads it.
    let label = escape(&fitting(&y.label, width - 20));
    let _ = write!(svg, "<text class=\"text\" x=\"14\" y=\"{}\">{label}</text>", top + 8);
    let top = top + 20;
    let place = Place { width, height: top + PLANE + 24 + LINE, top, bottom: LINE, left: LEFT };
    let ends = |pair: Option<(f64, f64)>| pair.into_iter().flat_map(|(low, high)| [low, high]);
    let x_range = range(marks.iter().map(|mark| mark.x).chain(x.shows.iter().copied()));
    let heights = marks.iter().flat_map(|mark| std::iter::once(mark.y).chain(ends(mark.interval)));
    let y_range = range(heights.chain(y.shows.iter().copied()));
    let mut wanted: Vec<(f64, f64)> = frontier.to_vec();
    for mark in *marks {
        wanted.push((mark.x, mark.y));
        wanted.extend(ends(mark.interval).map(|end| (mark.x, end)));
    }
    let Frame { svg: drawn_frame, points } = frame(place, x_range, y_range, &wanted)?;
    svg.push_str(&drawn_frame);
    let (corners, points) = points.split_at(frontier.len());
    if corners.len() > 1 {
        let _ = write!(svg, "<path class=\"frontier\" d=\"{}\"/>", steps(corners));
    }
    let mut points = points.iter().copied();
    let mut drawn = Vec::new();
    for own in *marks {
        let Some(at) = points.next() else { break };
        let ends = own.interval.and_then(|_| Some((points.next()?, points.next()?)));
        drawn.push((own, at, ends));
    }
    if *joined {
        for series in 0..figure.series.len() {
            let own = drawn.iter().filter(|(mark, ..)| mark.series == series);
            let line: Vec<String> = own.map(|(_, (x, y), _)| format!("{x} {y}")).collect();
            if line.len() > 1 {
                let _ = write!(
                    svg,
                    "<path class=\"line s{}\" data-s=\"{series}\" d=\"M{}\"/>",
                    series % COLOURS,
                    line.join("L")
                );
            }
        }
    }
    for (own, at, ends) in drawn {
        let extra = ends.map_or_else(String::new, |(low, high)| {
            format!("<path class=\"interval\" d=\"M{} {}V{}\"/>", low.0, low.1, high.1)
        });
        mark(svg, figure, "", own, at, &extra);
    }
    axis_name(svg, &x.label, width, place.height - 4);
    Ok(place.height)
}

/// A line from point to point that only goes along the axes.
fn steps(corners: &[(i32, i32)]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in corners.iter().enumerate() {
        let _ = if index == 0 { write!(path, "M{x} {y}") } else { write!(path, "H{x}V{y}") };
    }
    path
}
