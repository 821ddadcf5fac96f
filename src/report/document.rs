//! A report as headings, paragraphs and tables: what `layout` writes and every renderer walks. A new output format is
//! a new walk over these blocks.

/// One block of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Block {
    /// Level 1 (the title), 2 (a section) or 3 (a part of one), and text.
    Heading(u8, String),
    /// Running text.
    Paragraph(String),
    /// Names and what they stand for.
    Facts(Vec<(&'static str, String)>),
    /// Points.
    List(Vec<String>),
    /// Rows under headings.
    Table(Table),
}

impl Block {
    pub(super) fn section(title: &str) -> Self {
        Self::Heading(2, title.into())
    }

    pub(super) fn heading(title: &str) -> Self {
        Self::Heading(3, title.into())
    }

    pub(super) fn paragraph(text: impl Into<String>) -> Self {
        Self::Paragraph(text.into())
    }
}

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Names and words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings; every row has as many cells as there are columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    /// Heading and alignment of each column.
    pub columns: Vec<(String, Align)>,
    /// Cells, row by row.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first columns hold words and the others numbers.
    pub(super) fn new<T: Into<String>>(words: usize, headings: impl IntoIterator<Item = T>) -> Self {
        let align = |index| if index < words { Align::Left } else { Align::Right };
        let columns = headings.into_iter().enumerate().map(|(index, heading)| (heading.into(), align(index)));
        Self { columns: columns.collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(cells.len(), self.columns.len(), "a row has as many cells as the table has columns");
        self.rows.push(cells);
    }
}
