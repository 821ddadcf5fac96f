//! The blocks of a report as HTML: the walk that `render` does for Markdown and for terminals.

use super::escape::{escape, inline};
use crate::report::document::{Align, Block, Table};
use std::fmt::Write;

/// Blocks one after the other.
pub(super) fn html(blocks: &[Block]) -> String {
    blocks.iter().map(block).collect()
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading(level, title) => format!("<h{level}>{}</h{level}>\n", inline(title)),
        Block::Paragraph(text) => format!("<p>{}</p>\n", inline(text)),
        Block::List(points) => {
            let points: Vec<String> = points.iter().map(|point| format!("<li>{}</li>\n", inline(point))).collect();
            format!("<ul>\n{}</ul>\n", points.concat())
        }
        Block::Facts(facts) => {
            let fact =
                |(name, value): &(&str, String)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), inline(value));
            format!("<dl>\n{}</dl>\n", facts.iter().map(fact).collect::<Vec<_>>().concat())
        }
        Block::Table(content) => table(content, ""),
    }
}

/// A table that scrolls by itself where it is wider than the page.
pub(super) fn table(table: &Table, name: &str) -> String {
    let class = |align: Align| if align == Align::Right { " class=\"number\"" } else { "" };
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table><thead><tr>",
        escape(if name.is_empty() { "Table" } else { name })
    );
    for (heading, align) in &table.columns {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(*align), escape(heading));
    }
    html.push_str("</tr></thead><tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for (cell, (_, align)) in row.iter().zip(&table.columns) {
            let _ = write!(html, "<td{}>{}</td>", class(*align), inline(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}
