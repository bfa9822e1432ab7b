//! A table of text cells for people: numbers to the right, no lines but the one under the header.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// Cells in columns.
pub struct Grid {
    table: Table,
    right: Vec<bool>,
}

impl Grid {
    /// A table with these headers; a header that begins with `>` is of a column set to the right.
    pub fn new<S: AsRef<str>>(headers: impl IntoIterator<Item = S>) -> Self {
        let headers: Vec<String> = headers.into_iter().map(|h| h.as_ref().to_owned()).collect();
        let right = headers.iter().map(|h| h.starts_with('>')).collect();
        let names = headers.iter().map(|h| h.strip_prefix('>').unwrap_or(h).to_owned()).collect();
        Self::with_alignment(names, right)
    }

    /// A table with these headers, where `right` says which columns are set to the right.
    pub fn with_alignment(headers: Vec<String>, right: Vec<bool>) -> Self {
        let mut table = Table::new();
        // Lines between cells only, and one below the header.
        table.load_preset("     ──            ");
        table.set_content_arrangement(ContentArrangement::Disabled);
        let cells: Vec<Cell> = headers.iter().zip(&right).map(|(name, &right)| aligned(name, right)).collect();
        table.set_header(cells);
        Self { table, right }
    }

    /// Adds a row.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<Cell> =
            cells.into_iter().zip(&self.right).map(|(text, &right)| aligned(text.as_ref(), right)).collect();
        self.table.add_row(cells);
    }

    /// The table, each line without trailing blanks.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for line in self.table.to_string().lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn aligned(text: &str, right: bool) -> Cell {
    Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_under_a_ruled_header() {
        let mut grid = Grid::new(["name", ">rows"]);
        grid.row(["a", "1,000"]);
        grid.row(["long name", "7"]);
        let lines: Vec<String> = grid.render().lines().map(|l| l.trim().to_owned()).collect();
        assert_eq!(lines[0], "name         rows");
        assert!(lines[1].starts_with("───"), "{lines:?}");
        assert_eq!(lines[2..], ["a           1,000", "long name       7"]);
    }
}
