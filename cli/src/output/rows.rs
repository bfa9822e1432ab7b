//! Rows of a result as a table, JSON lines or CSV. JSON and CSV stream; a table needs its widths first and therefore shows the
//! first rows only.
//!
//! JSON: decimals are numbers with all their digits, dates and times ISO 8601 strings, binary is hex, NaN and infinities
//! are null, and null is always written. CSV: NULL is empty, an empty string is `""`.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::compute::CastOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{JsonArray, LineDelimited, WriterBuilder as JsonWriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use selvedge_model::words::counted;

use super::{Format, Grid};
use crate::error::CliError;

/// A table shows this many rows.
pub const MAX_TABLE_ROWS: usize = 1000;

/// Prints one statement's rows as they come.
pub struct Rows<W: Write> {
    out: W,
    sink: Sink,
    schema: SchemaRef,
    rows: usize,
}

enum Sink {
    Table { first: Vec<RecordBatch> },
    Json,
    Csv { header: bool },
}

impl<W: Write> Rows<W> {
    /// Rows of this schema.
    pub fn new(out: W, format: Format, schema: SchemaRef) -> Self {
        let sink = match format {
            Format::Table => Sink::Table { first: Vec::new() },
            Format::Json => Sink::Json,
            Format::Csv => Sink::Csv { header: true },
        };
        Self { out, sink, schema, rows: 0 }
    }

    /// Prints a batch, or keeps it for the table.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        match &mut self.sink {
            Sink::Table { first } => {
                let wanted = MAX_TABLE_ROWS.saturating_sub(self.rows).min(batch.num_rows());
                if wanted > 0 {
                    first.push(batch.slice(0, wanted));
                }
            }
            Sink::Json => json_lines(&mut self.out, &printable(batch)?)?,
            Sink::Csv { header } => {
                csv(&mut self.out, batch, std::mem::take(header))?;
            }
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// Prints what is left, and returns how many rows there were.
    ///
    /// # Errors
    /// When stdout is closed.
    pub fn finish(mut self) -> Result<usize, CliError> {
        match &self.sink {
            Sink::Table { first } => {
                write!(self.out, "{}", grid(&self.schema, first)?.render())?;
                let count = counted(self.rows, "row");
                if self.rows <= MAX_TABLE_ROWS {
                    writeln!(self.out, "({count})")?;
                } else {
                    writeln!(self.out, "({count}, the first {MAX_TABLE_ROWS} shown; --format csv prints all)")?;
                }
            }
            Sink::Json => {}
            Sink::Csv { header: true } => csv(&mut self.out, &RecordBatch::new_empty(self.schema.clone()), true)?,
            Sink::Csv { header: false } => {}
        }
        self.out.flush()?;
        Ok(self.rows)
    }
}

fn json_builder() -> JsonWriterBuilder {
    JsonWriterBuilder::new().with_explicit_nulls(true)
}

fn json_lines(out: &mut impl Write, batch: &RecordBatch) -> Result<(), ArrowError> {
    let mut writer: LineDelimitedWriter<_> = json_builder().build::<_, LineDelimited>(out);
    writer.write(batch)?;
    writer.finish()
}

/// The rows as a JSON array, for a document that holds more than rows. It is text: a value would lose digits of decimals.
///
/// # Errors
/// When a value cannot be written as JSON.
pub fn rows_as_json(batches: &[RecordBatch]) -> Result<String, CliError> {
    let batches = batches.iter().map(printable).collect::<Result<Vec<_>, _>>()?;
    let mut writer = json_builder().build::<_, JsonArray>(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
    writer.finish()?;
    Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned())
}

/// Written by hand, since Arrow's writer neither tells NULL from an empty string nor knows lists.
fn csv(out: &mut impl Write, batch: &RecordBatch, header: bool) -> Result<(), CliError> {
    if header {
        let names: Vec<String> = batch.schema().fields().iter().map(|f| csv_field(f.name())).collect();
        writeln!(out, "{}", names.join(","))?;
    }
    let options = FormatOptions::default().with_display_error(true);
    let columns = batch.columns().iter().map(|c| Cells::new(c, &options)).collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                out.write_all(b",")?;
            }
            if let Some(text) = column.get(row) {
                out.write_all(csv_field(&text).as_bytes())?;
            }
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// The values of a column as text.
struct Cells<'a> {
    formatter: ArrayFormatter<'a>,
    /// Logical ones: a column of untyped NULLs, and dictionaries, say by their mask alone that nothing is NULL.
    nulls: Option<NullBuffer>,
}

impl<'a> Cells<'a> {
    fn new(column: &'a ArrayRef, options: &FormatOptions<'a>) -> Result<Self, ArrowError> {
        Ok(Self { formatter: ArrayFormatter::try_new(column, options)?, nulls: column.logical_nulls() })
    }

    /// `None` is NULL.
    fn get(&self, row: usize) -> Option<String> {
        let is_null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        (!is_null).then(|| self.formatter.value(row).to_string())
    }
}

/// Quoted where it must be; an empty string always is.
pub(super) fn csv_field(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains([',', '"', '\n', '\r']) && text.trim().len() == text.len();
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// The batch with columns that JSON has no form for (intervals, durations, unions) as text.
fn printable(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    if batch.schema().fields().iter().all(|f| is_plain(f.data_type())) {
        return Ok(batch.clone());
    }
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if is_plain(field.data_type()) {
            fields.push(field.as_ref().clone());
            columns.push(column.clone());
        } else {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(as_text(column)?);
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn is_plain(data_type: &DataType) -> bool {
    !matches!(data_type, DataType::Interval(_) | DataType::Duration(_) | DataType::Union(..))
}

fn as_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions::default().format_options;
    let cells = Cells::new(column, &options)?;
    let text: StringArray = (0..column.len()).map(|row| cells.get(row)).collect();
    Ok(Arc::new(text))
}

fn grid(schema: &Schema, batches: &[RecordBatch]) -> Result<Grid, ArrowError> {
    let names = schema.fields().iter().map(|f| f.name().clone()).collect();
    let right = schema.fields().iter().map(|f| f.data_type().is_numeric()).collect();
    let mut grid = Grid::with_alignment(names, right);
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    for batch in batches {
        let columns = batch.columns().iter().map(|c| Cells::new(c, &options)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            grid.row(columns.iter().map(|c| c.get(row).unwrap_or_else(|| "NULL".to_owned())));
        }
    }
    Ok(grid)
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
