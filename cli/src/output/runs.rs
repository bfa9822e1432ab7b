//! Runs: the list, and what a run's SELECT statements gave.

use std::io::{Cursor, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use selvedge::model::{RunRecord, RunState, StatementRecord};
use serde_json::{Value, json};

use super::rows::csv_field;
use super::{Format, Grid, Rows, print_json, rows_as_json, units};
use crate::error::CliError;

/// Prints runs: one line each, or their records as one JSON array.
///
/// # Errors
/// When stdout is closed.
pub fn print_runs(out: &mut impl Write, format: Format, runs: &[RunRecord]) -> Result<(), CliError> {
    match format {
        Format::Json => print_json(out, &runs.iter().map(record_as_json).collect::<Result<Vec<_>, _>>()?),
        Format::Table => {
            let mut grid = Grid::new(["run", "job", "queue", "state", "submitted (UTC)", ">time", ">rows written"]);
            for run in runs {
                grid.row(cells(run));
            }
            write!(out, "{}", grid.render())?;
            Ok(())
        }
        Format::Csv => {
            writeln!(out, "run,name,queue,state,submitted_ms,started_ms,ended_ms")?;
            for r in runs {
                let name = csv_field(&r.name);
                let (queue, state) = (csv_field(&r.queue), state(r.state));
                writeln!(out, "{},{name},{queue},{state},{},{},{}", r.id, r.submitted_ms, r.started_ms, r.ended_ms)?;
            }
            Ok(())
        }
    }
}

fn cells(run: &RunRecord) -> [String; 7] {
    let end = if run.state.is_final() { run.ended_ms } else { units::now_ms() };
    let time = units::elapsed(run.started_ms, end).map(units::duration).unwrap_or_default();
    let written: u64 = run.statements.iter().map(|s| s.counters.rows_written).sum();
    [
        run.id.to_string(),
        run.name.clone(),
        run.queue.clone(),
        state(run.state).to_owned(),
        units::moment(run.submitted_ms),
        time,
        if written > 0 { units::count(written) } else { String::new() },
    ]
}

/// A state as everything prints it.
pub(super) fn state(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "QUEUED",
        RunState::Running => "RUNNING",
        RunState::Succeeded => "SUCCEEDED",
        RunState::Failed => "FAILED",
        RunState::Cancelled => "CANCELLED",
    }
}

/// Prints the first rows of each SELECT of a run, for people and as CSV.
///
/// # Errors
/// When stdout is closed, or the rows cannot be read.
pub fn print_result_rows(out: &mut impl Write, format: Format, run: &RunRecord) -> Result<(), CliError> {
    for statement in &run.statements {
        if let Some((schema, batches)) = preview(statement)? {
            let mut rows = Rows::new(&mut *out, format, schema);
            for batch in &batches {
                rows.push(batch)?;
            }
            rows.finish()?;
        }
    }
    Ok(())
}

/// Prints the run's record as one document, with the first rows of each SELECT as `results`.
///
/// # Errors
/// When stdout is closed, or the rows cannot be read.
pub fn print_run_json(out: &mut impl Write, run: &RunRecord) -> Result<(), CliError> {
    let mut results = Vec::new();
    for statement in &run.statements {
        if let Some((schema, batches)) = preview(statement)? {
            let columns: Vec<Value> =
                schema.fields().iter().map(|f| json!({"name": f.name(), "type": f.data_type().to_string()})).collect();
            let (columns, rows) = (Value::from(columns), rows_as_json(&batches)?);
            results.push(format!(r#"{{"statement": {}, "columns": {columns}, "rows": {rows}}}"#, statement.index));
        }
    }
    let record = record_as_json(run)?;
    let text = serde_json::to_string_pretty(&record).map_err(|e| CliError::local("cannot print JSON", &e))?;
    let fields = text.trim_end().trim_end_matches('}').trim_end();
    let results = results.iter().map(|r| format!("\n    {r}")).collect::<Vec<_>>().join(",");
    let close = if results.is_empty() { "]" } else { "\n  ]" };
    writeln!(out, "{fields},\n  \"results\": [{results}{close}\n}}")?;
    Ok(())
}

/// The run's record. What was submitted is in it only where it was asked for.
fn record_as_json(run: &RunRecord) -> Result<Value, CliError> {
    let mut value = serde_json::to_value(run).map_err(|e| CliError::local("cannot print JSON", &e))?;
    if let Value::Object(fields) = &mut value
        && run.submission.script.is_empty()
    {
        fields.remove("submission");
    }
    Ok(value)
}

/// The first rows of a SELECT; `None` for other statements.
fn preview(statement: &StatementRecord) -> Result<Option<(SchemaRef, Vec<RecordBatch>)>, CliError> {
    if statement.preview.is_empty() {
        return Ok(None);
    }
    let reader = StreamReader::try_new(Cursor::new(&statement.preview), None)?;
    let schema = reader.schema();
    Ok(Some((schema, reader.collect::<Result<Vec<_>, _>>()?)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Decimal128Array;
    use arrow::ipc::writer::StreamWriter;

    use super::*;
    use crate::progress::samples;

    fn document(run: &RunRecord) -> (String, Value) {
        let mut out = Vec::new();
        print_run_json(&mut out, run).unwrap();
        let text = String::from_utf8(out).unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        (text, value)
    }

    #[test]
    fn a_run_is_one_document_whose_results_keep_every_digit() {
        let mut run = samples::succeeded();
        let (_, value) = document(&run);
        assert_eq!((&value["id"], &value["state"], &value["results"]), (&json!("r1"), &json!("SUCCEEDED"), &json!([])));
        assert!(value.get("submission").is_none());

        let cents = Decimal128Array::from(vec![123_456_789_012_345_678_901_234]).with_precision_and_scale(38, 2);
        let batch = RecordBatch::try_from_iter([("x", Arc::new(cents.unwrap()) as _)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        run.statements[1].preview = writer.into_inner().unwrap();
        let (text, value) = document(&run);
        assert_eq!(value["results"][0]["statement"], 2);
        assert_eq!(value["results"][0]["columns"][0]["type"], "Decimal128(38, 2)");
        assert!(text.contains(r#"[{"x":1234567890123456789012.34}]"#), "{text}");
    }
}
