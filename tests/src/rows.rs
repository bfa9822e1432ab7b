//! Rows as text, whoever produced them, and their exact comparison.
//!
//! CSV cannot tell NULL from an empty string, so both are "" here. Two cells are equal when their texts are, or when both
//! are short numbers with the same value: engines write the float 2500.0 in different ways, but not another float.

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::{Outcome, fail};

/// Whether the order of rows is part of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The query orders its rows totally.
    Total,
    /// Any order is right.
    Any,
}

/// A result as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Column names.
    pub columns: Vec<String>,
    /// Cells, a row each.
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    /// From Arrow batches.
    pub fn from_batches(batches: &[RecordBatch]) -> Outcome<Self> {
        let options = FormatOptions::default();
        let mut rows = Vec::new();
        for batch in batches {
            let cells: Vec<ArrayFormatter> =
                batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<_, _>>()?;
            for row in 0..batch.num_rows() {
                rows.push(cells.iter().map(|c| c.value(row).try_to_string()).collect::<Result<_, _>>()?);
            }
        }
        let columns = batches.first().map(|b| b.schema().fields().iter().map(|f| f.name().clone()).collect());
        Ok(Self { columns: columns.unwrap_or_default(), rows })
    }

    /// From CSV text with a header.
    pub fn from_csv(text: &str) -> Outcome<Self> {
        let mut records = parse_csv(text)?.into_iter();
        let columns = records.next().ok_or_else(|| fail("no CSV header"))?;
        let rows: Vec<Vec<String>> = records.collect();
        match rows.iter().find(|r| r.len() != columns.len()) {
            Some(bad) => {
                Err(fail(format!("a CSV row of {} cells under {} columns: {bad:?}", bad.len(), columns.len())))
            }
            None => Ok(Self { columns, rows }),
        }
    }

    /// The only cell of a one-row, one-column result.
    pub fn single(&self) -> Outcome<&str> {
        match self.rows.as_slice() {
            [row] if row.len() == 1 => row.first().map(String::as_str).ok_or_else(|| fail("no cell")),
            _ => Err(fail(format!("one cell expected, got {} rows: {:?}", self.rows.len(), self.rows.first()))),
        }
    }

    /// Says where two results differ, if they do. Column names are not compared.
    pub fn difference(&self, other: &Self, order: Order) -> Option<String> {
        if self.rows.len() != other.rows.len() {
            return Some(format!("{} rows here, {} there", self.rows.len(), other.rows.len()));
        }
        let (mut left, mut right) = (normal(&self.rows), normal(&other.rows));
        if order == Order::Any {
            left.sort_unstable();
            right.sort_unstable();
        }
        let at = left.iter().zip(&right).position(|(l, r)| l != r)?;
        Some(format!("row {at} of {}:\n  here  {:?}\n  there {:?}", left.len(), left.get(at), right.get(at)))
    }

    /// An error that says where, unless both results are the same.
    pub fn expect_same(&self, other: &Self, order: Order, what: &str) -> Outcome<()> {
        self.difference(other, order).map_or(Ok(()), |d| Err(fail(format!("{what}: results differ: {d}"))))
    }
}

fn normal(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|cell| normal_cell(cell)).collect()).collect()
}

/// A number that a float holds exactly enough (at most 17 digits) takes one form; anything else stays as it is.
fn normal_cell(cell: &str) -> String {
    let numeric = cell.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && cell.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
        && cell.contains(['.', 'e', 'E']);
    let mantissa = cell.split(['e', 'E']).next().unwrap_or_default();
    let short = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|b| *b == b'0').count() <= 17;
    match cell.parse::<f64>() {
        Ok(value) if numeric && short => format!("{value:?}").trim_end_matches(".0").to_owned(),
        _ => cell.to_owned(),
    }
}

fn parse_csv(text: &str) -> Outcome<Vec<Vec<String>>> {
    let (mut records, mut record, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                record.push(std::mem::take(&mut cell));
                records.push(std::mem::take(&mut record));
            }
            other => cell.push(other),
        }
    }
    if quoted {
        return Err(fail("CSV ends inside quotes"));
    }
    if !cell.is_empty() || !record.is_empty() {
        record.push(cell);
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_with_quotes_and_line_breaks_reads_back() {
        let rows = Rows::from_csv("a,b\n\"x, \"\"y\"\"\n\",1\n,2\n").unwrap();
        assert_eq!(rows.columns, ["a", "b"]);
        assert_eq!(rows.rows, [["x, \"y\"\n", "1"], ["", "2"]]);
        assert!(Rows::from_csv("a,b\n1\n").is_err());
    }

    #[test]
    fn only_the_spelling_of_a_float_may_differ() {
        let rows = |cells: &[&str]| Rows {
            columns: vec!["c".into()],
            rows: cells.iter().map(|c| vec![(*c).to_owned()]).collect(),
        };
        assert_eq!(
            rows(&["2500.0", "1e3", "-0.50"]).difference(&rows(&["2500", "1000.0", "-0.5"]), Order::Total),
            None
        );
        let exact = "12345678901234567890.01";
        assert!(rows(&[exact]).difference(&rows(&["12345678901234567890.02"]), Order::Any).is_some());
        assert!(rows(&["0.1"]).difference(&rows(&["0.10000000000000002"]), Order::Any).is_some());
        assert!(rows(&["007"]).difference(&rows(&["7"]), Order::Any).is_some());
        assert!(rows(&["1", "2"]).difference(&rows(&["2", "1"]), Order::Total).is_some());
        assert_eq!(rows(&["1", "2"]).difference(&rows(&["2", "1"]), Order::Any), None);
    }
}
