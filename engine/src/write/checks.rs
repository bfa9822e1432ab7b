//! What a writer finds out about its rows while it writes them: which violate an expectation, and how new they are.
//!
//! It looks at each batch once, before it is encoded. Rows are left out first; what the other expectations see is what is
//! written. It decides nothing: `selvedge_model::expectation` does, over the reports of all writers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, filter_record_batch, max};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use selvedge_model::Failure;
use selvedge_model::expectation::{CheckReport, NewestReport, WriterReport};
use serde::{Deserialize, Serialize};

use super::rejects;
use crate::plan::SinkSpec;

/// Characters of a value that is shown.
const VALUE_CHARS: usize = 200;
/// Characters of a row that is shown, about.
const ROW_CHARS: usize = 2000;

/// What a writer is to find out.
#[derive(Debug, Default)]
pub(crate) struct WriteChecks {
    /// Conditions on single rows.
    pub(crate) rows: Vec<RowCheck>,
    /// Columns whose newest value is wanted.
    pub(crate) newest: Vec<NewestOf>,
}

/// A condition on single rows.
#[derive(Debug)]
pub(crate) struct RowCheck {
    /// Position of the expectation.
    pub(crate) index: usize,
    /// Whether rows that violate it are left out.
    pub(crate) drops: bool,
    /// The name under which those that are left out are kept, if they are.
    pub(crate) kept_as: Option<String>,
    /// False for rows that violate it.
    pub(crate) condition: Arc<dyn PhysicalExpr>,
}

/// What is to be done with the rows of a batch.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Rows to write.
    pub(crate) rows: RecordBatch,
    /// Rows that are left out and kept, as [`super::rejects`] keeps them.
    pub(crate) rejected: Option<RecordBatch>,
}

/// A column whose newest value is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewestOf {
    /// Position of the expectation.
    pub(crate) index: usize,
    /// The column of the input.
    pub(crate) column: usize,
}

/// Looks at the rows of one writer.
pub(crate) struct RowChecker {
    checks: Arc<WriteChecks>,
    /// Columns of the table; there may be others of ours behind them.
    columns: usize,
    /// Positions of those that take no NULL.
    required: Vec<usize>,
    job_id: String,
    report: WriterReport,
}

impl RowChecker {
    /// Has seen nothing yet. `input` is the schema of the batches to come.
    pub(crate) fn new(checks: Arc<WriteChecks>, spec: &SinkSpec, input: &Schema) -> Self {
        let report = WriterReport {
            checks: checks.rows.iter().map(|check| CheckReport::new(check.index)).collect(),
            newest: checks.newest.iter().map(|of| NewestReport { index: of.index, newest_us: None }).collect(),
        };
        let columns = (spec.data_columns + spec.partition_by.len()).min(input.fields().len());
        let required = |i: &usize| spec.required.contains(input.field(*i).name());
        let required = (0..columns).filter(required).collect();
        Self { checks, columns, required, job_id: spec.job_id.clone(), report }
    }

    /// Looks at rows, and tells which are to be written.
    ///
    /// # Errors
    /// `NOT_NULL_VIOLATED`; what evaluating a condition says.
    pub(crate) fn check(&mut self, batch: RecordBatch) -> Result<Checked> {
        let (batch, rejected) = self.leave_out(batch)?;
        if batch.num_rows() == 0 {
            return Ok(Checked { rows: batch, rejected });
        }
        self.refuse_null(&batch)?;
        for (check, report) in self.checks.rows.iter().zip(&mut self.report.checks).filter(|(check, _)| !check.drops) {
            count(&violations(check, &batch)?, &batch, self.columns, report);
        }
        for (of, report) in self.checks.newest.iter().zip(&mut self.report.newest) {
            report.add(newest(batch.column(of.column))?);
        }
        Ok(Checked { rows: batch, rejected })
    }

    /// What was found; none when nothing was to be found out.
    pub(crate) fn report(self) -> Option<WriterReport> {
        (!self.checks.rows.is_empty() || !self.checks.newest.is_empty()).then_some(self.report)
    }

    fn leave_out(&mut self, batch: RecordBatch) -> Result<(RecordBatch, Option<RecordBatch>)> {
        let mut out: Option<BooleanBuffer> = None;
        let mut kept: Vec<(&str, BooleanBuffer)> = Vec::new();
        for (check, report) in self.checks.rows.iter().zip(&mut self.report.checks).filter(|(check, _)| check.drops) {
            let bad = violations(check, &batch)?;
            if bad.count_set_bits() == 0 {
                continue;
            }
            count(&bad, &batch, self.columns, report);
            kept.extend(check.kept_as.as_deref().map(|name| (name, bad.clone())));
            out = Some(match out {
                Some(others) => &others | &bad,
                None => bad,
            });
        }
        let Some(out) = out else { return Ok((batch, None)) };
        let rejected = rejects::keep(&batch, self.columns, &kept, &self.job_id)?;
        Ok((filter_record_batch(&batch, &BooleanArray::new(!&out, None))?, rejected))
    }

    fn refuse_null(&self, batch: &RecordBatch) -> Result<()> {
        for column in &self.required {
            let Some(nulls) = batch.column(*column).nulls().filter(|nulls| nulls.null_count() > 0) else { continue };
            let row = (0..batch.num_rows()).find(|row| nulls.is_null(*row)).unwrap_or(0);
            let schema = batch.schema();
            let name = schema.field(*column).name();
            let row = row_text(batch, self.columns, row);
            let cause = format!("column {name} is NOT NULL, and a row that is written has no value there: {row}");
            let hint = format!("Give it a value, as in coalesce({name}, ...), or leave such rows out with WHERE");
            let failure = Failure::user("NOT_NULL_VIOLATED", cause).with_hint(hint);
            return Err(DataFusionError::External(Box::new(failure)));
        }
        Ok(())
    }
}

/// The rows of which a condition is false: not those of which it is NULL.
fn violations(check: &RowCheck, batch: &RecordBatch) -> Result<BooleanBuffer> {
    let met = check.condition.evaluate(batch)?.into_array(batch.num_rows())?;
    if met.data_type().is_null() {
        return Ok(BooleanBuffer::new_unset(batch.num_rows()));
    }
    let met = met.as_boolean_opt().ok_or_else(|| internal_datafusion_err!("a CHECK gave {}", met.data_type()))?;
    let not_met = !met.values();
    Ok(match met.nulls() {
        Some(known) => &not_met & known.inner(),
        None => not_met,
    })
}

fn count(bad: &BooleanBuffer, batch: &RecordBatch, columns: usize, report: &mut CheckReport) {
    let violations = bad.count_set_bits() as u64;
    let shown = bad.set_indices().take(report.wants());
    let samples: Vec<String> = shown.map(|row| row_text(batch, columns, row)).collect();
    report.add(violations, samples);
}

/// The newest value of a column in microseconds; a day is its beginning.
fn newest(column: &ArrayRef) -> Result<Option<i64>> {
    let zone = match column.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let times = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(max(times.as_primitive::<TimestampMicrosecondType>()))
}

/// A row as a JSON object, its columns in their order. Long values are cut, and so are long rows.
fn row_text(batch: &RecordBatch, columns: usize, row: usize) -> String {
    let schema = batch.schema();
    let mut out = String::from("{");
    for (i, field) in schema.fields().iter().enumerate().take(columns) {
        if i > 0 {
            out.push(',');
        }
        if out.len() > ROW_CHARS {
            out.push_str(&format!("\"...\":\"{} more columns\"", columns - i));
            break;
        }
        out.push_str(&quoted(field.name()));
        out.push(':');
        out.push_str(&value_text(batch.column(i), row));
    }
    out.push('}');
    out
}

fn value_text(column: &ArrayRef, row: usize) -> String {
    let one = column.slice(row, 1);
    if one.is_null(0) || one.data_type().is_null() {
        return "null".to_owned();
    }
    let options = FormatOptions::default();
    let text = match ArrayFormatter::try_new(&one, &options) {
        Ok(formatter) => formatter.value(0).to_string(),
        Err(_) => format!("a {}", one.data_type()),
    };
    let is_number = one.data_type().is_numeric() && text.parse::<f64>().is_ok_and(f64::is_finite);
    match is_number || matches!(one.data_type(), DataType::Boolean) {
        true => text,
        false => quoted(&text),
    }
}

fn quoted(text: &str) -> String {
    let cut = match text.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    };
    serde_json::Value::String(cut).to_string()
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
