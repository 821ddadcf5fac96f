//! The frame of a plot: axes, ticks and grid, drawn by plotters, and where values lie in it. Colours are left to style
//! sheets: plotters draws in three colours that stand for classes.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Colours by which plotters' lines and letters are told apart; they become classes.
const GRID: RGBColor = RGBColor(1, 1, 1);
const AXIS: RGBColor = RGBColor(2, 2, 2);
const TEXT: RGBColor = RGBColor(3, 3, 3);

/// Where the plot lies in its picture, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub width: u32,
    pub height: u32,
    /// Above the plot: the legend.
    pub top: u32,
    /// Below the tick labels: the axis's name.
    pub bottom: u32,
    /// For the labels of the y axis; 0 draws no y axis.
    pub left: u32,
}

/// Room right of the plot, for half a tick label.
const RIGHT: u32 = 22;
/// Room left of a plot that has no y axis, for the same.
const NO_AXIS: u32 = 14;
/// Height of tick labels.
const TICKS: u32 = 24;

/// Axes, and a point per value.
pub(super) struct Frame {
    pub svg: String,
    pub points: Vec<(i32, i32)>,
}

/// The least and the largest of some values, some room around them.
pub(super) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    let span = high - low;
    if span <= f64::EPSILON * high.abs().max(1.0) {
        let room = (high.abs() * 0.1).max(0.5);
        return (low - room, high + room);
    }
    // What begins at zero has nothing below it.
    (if low == 0.0 { 0.0 } else { low - span * 0.05 }, high + span * 0.05)
}

/// Draws axes and finds the places of values.
pub(super) fn frame(place: Place, x: (f64, f64), y: (f64, f64), values: &[(f64, f64)]) -> Result<Frame> {
    let mut svg = String::new();
    let points = draw(&mut svg, place, x, y, values).map_err(|error| anyhow!("a figure cannot be drawn: {error}"))?;
    Ok(Frame { svg: classes(&svg), points })
}

fn draw(
    svg: &mut String,
    place: Place,
    x: (f64, f64),
    y: (f64, f64),
    values: &[(f64, f64)],
) -> Result<Vec<(i32, i32)>, Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, (place.width, place.height)).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin_top(place.top)
        .margin_bottom(place.bottom)
        .margin_right(RIGHT)
        .margin_left(if place.left == 0 { NO_AXIS } else { 0 })
        .x_label_area_size(TICKS)
        .y_label_area_size(place.left)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
    let label = ("sans-serif", 15).into_font().color(&TEXT);
    let mut mesh = chart.configure_mesh();
    let (x_label, y_label) = (|value: &f64| tick(*value, x), |value: &f64| tick(*value, y));
    mesh.bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(AXIS)
        .label_style(label)
        .x_labels((place.width / 80) as usize)
        .x_label_formatter(&x_label)
        .y_label_formatter(&y_label);
    if place.left == 0 {
        mesh.disable_y_mesh().disable_y_axis().y_labels(0);
    } else {
        mesh.y_labels((place.height / 50) as usize);
    }
    mesh.draw()?;
    let points = values.iter().map(|value| chart.backend_coord(value)).collect();
    area.present()?;
    drop(chart);
    drop(area);
    Ok(points)
}

/// A tick label: as many decimals as the range of its axis needs.
fn tick(value: f64, (low, high): (f64, f64)) -> String {
    let decimals = match high - low {
        span if span >= 12.0 => 0,
        span if span >= 1.2 => 1,
        span if span >= 0.12 => 2,
        _ => 4,
    };
    let text = crate::report::format::fixed(Some(value), decimals);
    match (decimals, text.strip_prefix('-')) {
        (0, None) => text.parse::<u64>().map_or(text.clone(), crate::report::format::count),
        _ => text,
    }
}

/// Plotters' elements without their outer element, colours and fonts: classes in their place.
fn classes(svg: &str) -> String {
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let mut body = body.trim_end().trim_end_matches("</svg>").replace('\n', "");
    for (color, class) in [("#010101", "grid"), ("#020202", "axis"), ("#030303", "text")] {
        for attribute in ["stroke", "fill"] {
            body = body.replace(&format!("{attribute}=\"{color}\""), &format!("class=\"{class}\""));
        }
    }
    body.replace(" opacity=\"1\"", "").replace(" font-family=\"sans-serif\"", "")
}
