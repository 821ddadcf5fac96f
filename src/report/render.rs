//! The report as Markdown (`report.md`) and as plain text for a terminal, at most 100 columns wide. Both walk the same
//! blocks, so they say the same.

use super::compare::Comparison;
use super::document::{Align, Block, Table};
use super::layout::{blocks, coefficients};
use super::sections::Report;
use crate::simulate::infer::Inferred;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};

/// Width of the plain text, in columns.
const WIDTH: usize = 100;

/// The report as GitHub-flavoured Markdown.
#[must_use]
pub fn to_markdown(report: &Report) -> String {
    join(blocks(report).iter().map(markdown))
}

/// A comparison of runs as GitHub-flavoured Markdown whose tables are aligned for readers of the source, too.
#[must_use]
pub fn comparison_to_markdown(comparison: &Comparison) -> String {
    let aligned = |block: &Block| match block {
        Block::Table(table) => markdown_table(table, true),
        other => markdown(other),
    };
    join(comparison.blocks().iter().map(aligned))
}

/// The report as aligned plain text, 100 columns wide, without colour.
#[must_use]
pub fn to_text(report: &Report) -> String {
    join(blocks(report).iter().map(text))
}

/// What was inferred of alpha and beta, as aligned plain text, 100 columns wide, without colour.
#[must_use]
pub fn coefficients_to_text(inferred: &Inferred) -> String {
    join(coefficients::blocks(inferred).iter().map(text))
}

fn join(blocks: impl Iterator<Item = String>) -> String {
    let mut whole = blocks.collect::<Vec<_>>().join("\n\n");
    whole.push('\n');
    whole
}

fn markdown(block: &Block) -> String {
    match block {
        Block::Heading(level, title) => format!("{} {title}", "#".repeat(usize::from(*level))),
        Block::Paragraph(text) => text.clone(),
        Block::Facts(facts) => {
            let lines = facts.iter().map(|(name, value)| format!("- **{name}**: {value}"));
            lines.collect::<Vec<_>>().join("\n")
        }
        Block::List(points) => points.iter().map(|point| format!("- {point}")).collect::<Vec<_>>().join("\n"),
        Block::Table(table) => markdown_table(table, false),
    }
}

/// `aligned` fills cells up with spaces, so that columns stand below each other in the source, too.
fn markdown_table(table: &Table, aligned: bool) -> String {
    let column = |(place, (heading, align)): (usize, &(String, Align))| {
        let cells = table.rows.iter().map(|row| &row[place]).chain([heading]);
        let widest = cells.map(|cell| escape(cell).chars().count()).max().unwrap_or(0);
        (if aligned { widest.max(3) } else { 0 }, *align)
    };
    let columns: Vec<(usize, Align)> = table.columns.iter().enumerate().map(column).collect();
    let line = |cells: &mut dyn Iterator<Item = &String>| {
        let cell = |(cell, (width, align)): (&String, &(usize, Align))| match align {
            Align::Left => format!("{:<width$}", escape(cell)),
            Align::Right => format!("{:>width$}", escape(cell)),
        };
        format!("| {} |", cells.zip(&columns).map(cell).collect::<Vec<_>>().join(" | "))
    };
    let rule = |(width, align): &(usize, Align)| {
        let dashes = "-".repeat((*width).max(3) - 1);
        dashes + if *align == Align::Right { ":" } else { "-" }
    };
    let mut lines = vec![
        line(&mut table.columns.iter().map(|(heading, _)| heading)),
        format!("| {} |", columns.iter().map(rule).collect::<Vec<_>>().join(" | ")),
    ];
    lines.extend(table.rows.iter().map(|row| line(&mut row.iter())));
    lines.join("\n")
}

fn escape(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ")
}

fn text(block: &Block) -> String {
    match block {
        Block::Heading(1, title) => format!("{title}\n{}", "=".repeat(title.chars().count())),
        Block::Heading(_, title) => format!("{title}\n{}", "-".repeat(title.chars().count())),
        Block::Paragraph(text) => wrap(text, "", ""),
        Block::Facts(facts) => {
            let widest = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
            let margin = " ".repeat(widest + 2);
            let lines = facts.iter().map(|(name, value)| wrap(value, &format!("{name:<widest$}  "), &margin));
            lines.collect::<Vec<_>>().join("\n")
        }
        Block::List(points) => points.iter().map(|point| wrap(point, "- ", "  ")).collect::<Vec<_>>().join("\n"),
        Block::Table(table) => text_table(table),
    }
}

fn text_table(table: &Table) -> String {
    let mut drawn = comfy_table::Table::new();
    drawn
        .load_style(TableStyle::new().header_separator(LineStyle::none().fill('-').junction('-')))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header(table.columns.iter().map(|(heading, _)| heading))
        .add_rows(&table.rows);
    for (index, (_, align)) in table.columns.iter().enumerate() {
        if let Some(column) = drawn.column_mut(index) {
            column.set_padding((0, 2));
            column.set_cell_alignment(match align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
        }
    }
    drawn.trim_fmt()
}

/// Breaks text at spaces so that no line is wider than [`WIDTH`]. What stands between backticks is a command to copy
/// and is never broken, even where it is wider than that.
fn wrap(text: &str, first: &str, rest: &str) -> String {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in words(text) {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines.join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = text.split(move |c: char| {
        quoted ^= c == '`';
        c.is_whitespace() && !quoted
    });
    parts.filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words_and_indented() {
        let text = wrap(&"word ".repeat(40), "- ", "  ");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(lines[0].starts_with("- word") && lines[1].starts_with("  word"));
        assert_eq!(wrap("", "- ", "  "), "- ");
    }

    #[test]
    fn commands_are_not_broken() {
        let text = wrap(&format!("{}`poq score results/quick`, then `poq simulate x`.", "w ".repeat(45)), "", "");
        assert_eq!(text.lines().nth(1), Some("`poq score results/quick`, then `poq simulate x`."));
    }

    #[test]
    fn markdown_cells_cannot_break_their_table() {
        let mut table = Table::new(1, ["a", "b"]);
        table.row(["x|y\nz".into(), "1".into()]);
        assert_eq!(markdown_table(&table, false), "| a | b |\n| --- | --: |\n| x\\|y z | 1 |");
        assert_eq!(markdown_table(&table, true), "| a      |   b |\n| ------ | --: |\n| x\\|y z |   1 |");
    }

    #[test]
    fn a_wide_text_table_is_folded_into_the_width() {
        let mut table = Table::new(1, (0..12).map(|column| format!("heading number {column}")));
        table.row((0..12).map(|column| format!("value {column}")));
        assert!(text_table(&table).lines().all(|line| line.chars().count() <= WIDTH));
    }
}
