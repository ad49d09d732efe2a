//! A table of aligned columns that keeps to a width.
//!
//! Columns take their natural width. Where that is too much, those that may shrink are cut, the widest first; whoever
//! lays out a table first tries fewer columns (see [`Grid::natural_width`]).

use crate::render::look::{Look, Style};
use crate::text::{cut, safe, width};

/// Blanks between two columns, unless the table is tight.
const GAP: usize = 2;
/// No column is cut below this.
const LEAST: usize = 6;

/// On which side the text of a column stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// One cell: text and its style.
#[derive(Clone, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A styled cell. Unsafe characters of `text` are escaped.
    pub(crate) fn new(text: &str, style: Style) -> Self {
        Self { text: safe(text).into_owned(), style }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Style::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Style::Plain)
    }
}

struct Column {
    title: &'static str,
    align: Align,
    shrinks: bool,
}

enum Row {
    Cells(Vec<Cell>),
    Heading(Cell),
}

/// A table under construction.
pub(crate) struct Grid {
    columns: Vec<Column>,
    rows: Vec<Row>,
    indent: usize,
    gap: usize,
}

impl Grid {
    /// An empty table, each line of it indented.
    pub(crate) fn new(indent: usize) -> Self {
        Self { columns: Vec::new(), rows: Vec::new(), indent, gap: GAP }
    }

    /// Leaves a single blank between columns.
    pub(crate) fn tight(&mut self) {
        self.gap = 1;
    }

    /// Adds a column of names, which may be cut where room is short.
    pub(crate) fn name(&mut self, title: &'static str) -> &mut Self {
        self.columns.push(Column { title, align: Align::Left, shrinks: true });
        self
    }

    /// Adds a column that is never cut.
    pub(crate) fn column(&mut self, title: &'static str, align: Align) -> &mut Self {
        self.columns.push(Column { title, align, shrinks: false });
        self
    }

    /// Adds a row; cells beyond the last column are dropped.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(Row::Cells(cells));
    }

    /// Adds a line that spans all columns.
    pub(crate) fn heading(&mut self, cell: Cell) {
        self.rows.push(Row::Heading(cell));
    }

    /// The columns that the table takes with nothing cut.
    pub(crate) fn natural_width(&self) -> usize {
        self.total(&self.widths())
    }

    fn total(&self, widths: &[usize]) -> usize {
        self.indent + widths.iter().sum::<usize>() + self.gap * widths.len().saturating_sub(1)
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| width(c.title)).collect();
        for row in &self.rows {
            if let Row::Cells(cells) = row {
                for (w, cell) in widths.iter_mut().zip(cells) {
                    *w = (*w).max(width(&cell.text));
                }
            }
        }
        widths
    }

    /// Writes the table, cut to the look's width.
    pub(crate) fn render(&self, look: &Look, out: &mut String) {
        let mut widths = self.widths();
        while self.total(&widths) > look.width {
            let excess = self.total(&widths) - look.width;
            let shrinkable = (0..widths.len()).filter(|i| self.columns[*i].shrinks && widths[*i] > LEAST);
            let Some(widest) = shrinkable.max_by_key(|i| (widths[*i], std::cmp::Reverse(*i))) else { break };
            // Not below the next widest: two long columns give up alike.
            let next = (0..widths.len())
                .filter(|i| *i != widest && self.columns[*i].shrinks)
                .map(|i| widths[i])
                .max();
            let floor = next.map_or(LEAST, |n| n.min(widths[widest] - 1)).max(LEAST);
            widths[widest] = (widths[widest].saturating_sub(excess)).max(floor);
        }
        if self.columns.iter().any(|c| !c.title.is_empty()) {
            let titles: Vec<Cell> = self.columns.iter().map(|c| Cell::new(c.title, Style::Dim)).collect();
            self.line(&titles, &widths, look, out);
        }
        for row in &self.rows {
            match row {
                Row::Cells(cells) => self.line(cells, &widths, look, out),
                Row::Heading(cell) => {
                    let text = cut(&cell.text, look.width.saturating_sub(self.indent));
                    out.extend(std::iter::repeat_n(' ', self.indent));
                    out.push_str(&look.paint(cell.style, &text));
                    out.push('\n');
                }
            }
        }
    }

    fn line(&self, cells: &[Cell], widths: &[usize], look: &Look, out: &mut String) {
        let start = out.len();
        out.extend(std::iter::repeat_n(' ', self.indent));
        for (at, ((cell, column), w)) in cells.iter().zip(&self.columns).zip(widths).enumerate() {
            let text = cut(&cell.text, *w);
            let padding = w.saturating_sub(width(&text));
            let gap = if at == 0 { 0 } else { self.gap };
            let (before, after) = if column.align == Align::Right { (padding, 0) } else { (0, padding) };
            out.extend(std::iter::repeat_n(' ', gap + before));
            out.push_str(&look.paint(cell.style, &text));
            out.extend(std::iter::repeat_n(' ', after));
        }
        let end = out[start..].trim_end_matches(' ').len();
        out.truncate(start + end);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Grid {
        let mut grid = Grid::new(2);
        grid.name("NAME").column("COUNT", Align::Right).name("NOTE");
        grid.row(vec!["naïve-日本".into(), "7".into(), "short".into()]);
        grid.row(vec!["plain".into(), "1,000".into(), Cell::new("a much longer note\u{1b}[31m", Style::Bad)]);
        grid
    }

    fn render(width: usize, color: bool) -> String {
        let mut out = String::new();
        sample().render(&Look { width, color, bars: false }, &mut out);
        out
    }

    #[test]
    fn columns_align_by_display_width_and_escape_control_characters() {
        insta::assert_snapshot!(render(80, false), @r"
          NAME        COUNT  NOTE
          naïve-日本      7  short
          plain       1,000  a much longer note\u{1b}[31m
        ");
    }

    #[test]
    fn the_widest_name_column_is_cut_first() {
        let narrow = render(36, false);
        insta::assert_snapshot!(narrow, @r"
          NAME        COUNT  NOTE
          naïve-日本      7  short
          plain       1,000  a much longer…
        ");
        assert!(narrow.lines().all(|l| width(l) <= 36));
        assert!(render(1, false).contains("plain"), "columns that are not names stay whole, however narrow");
    }

    #[test]
    fn colour_does_not_move_anything() {
        let plain =
            render(80, true).replace("\u{1b}[31m", "").replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
        assert_eq!(plain, render(80, false));
    }
}
