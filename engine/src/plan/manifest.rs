//! The manifest as record batches: what a writer reports, one row a staged file and always one end row.
//!
//! Both directions stand here so that they agree. What a manifest is worth is decided by `selvedge_model::manifest`.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type};
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use selvedge_model::expectation::WriterReport;
use selvedge_model::manifest::{ManifestRow, StagedFile};

use crate::error::EngineError;

const PATH: usize = 0;
const STAGING: usize = 1;
const PARTITION: usize = 2;
const ROWS: usize = 3;
const BYTES: usize = 4;
const STAGE_ATTEMPT: usize = 5;
const TASK: usize = 6;
const STATS: usize = 7;
const REPORT: usize = 8;
const REJECTED: usize = 9;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        // NULL in the end row.
        Field::new("path", DataType::Utf8, true),
        // JSON of the model's types.
        Field::new("staging", DataType::Utf8, true),
        Field::new("partition", DataType::Utf8, true),
        Field::new("rows", DataType::UInt64, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("stage_attempt", DataType::UInt32, false),
        Field::new("task", DataType::Utf8, false),
        Field::new("stats", DataType::Utf8, true),
        // In the end row only.
        Field::new("report", DataType::Utf8, true),
        Field::new("is_rejected", DataType::Boolean, false),
    ]))
});

/// The schema of a manifest.
pub(crate) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

fn json_error(error: serde_json::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The manifest of a writer: its files, then the end row with their sums and what the writer found.
pub(crate) fn batch(
    files: &[StagedFile],
    task: &str,
    stage_attempt: u32,
    report: Option<&WriterReport>,
) -> Result<RecordBatch> {
    let json = |of: &dyn Fn(&StagedFile) -> serde_json::Result<String>| -> Result<ArrayRef> {
        let texts = files.iter().map(of).collect::<serde_json::Result<Vec<_>>>().map_err(json_error)?;
        Ok(Arc::new(StringArray::from_iter(texts.into_iter().map(Some).chain([None]))))
    };
    let numbers = |of: fn(&StagedFile) -> u64| -> ArrayRef {
        let sum = files.iter().map(of).sum();
        Arc::new(UInt64Array::from_iter_values(files.iter().map(of).chain([sum])))
    };
    let rows = files.len() + 1;
    let report = report.map(serde_json::to_string).transpose().map_err(json_error)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter(files.iter().map(|f| Some(f.path.as_str())).chain([None]))),
        json(&|f| serde_json::to_string(&f.staging))?,
        json(&|f| serde_json::to_string(&f.partition))?,
        numbers(|f| f.rows),
        numbers(|f| f.bytes),
        Arc::new(UInt32Array::from_value(stage_attempt, rows)),
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(task, rows))),
        Arc::new(StringArray::from_iter(files.iter().map(|f| f.stats.as_deref()).chain([None]))),
        Arc::new(StringArray::from_iter(std::iter::repeat_n(None, files.len()).chain([report]))),
        Arc::new(BooleanArray::from_iter(files.iter().map(|f| Some(f.is_rejected)).chain([Some(false)]))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// Reads the manifest rows of a batch that the partition `writer` of the final stage gave.
///
/// # Errors
/// An internal error when the batch is not a manifest.
pub fn manifest_rows(batch: &RecordBatch, writer: u32) -> Result<Vec<ManifestRow>, EngineError> {
    Ok(decode(batch, writer)?)
}

fn decode(batch: &RecordBatch, writer: u32) -> Result<Vec<ManifestRow>> {
    let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
    if types(&batch.schema()) != types(&SCHEMA) {
        return Err(internal_datafusion_err!("writer {writer} did not yield a manifest but {:?}", batch.schema()));
    }
    let text = |column: usize| batch.column(column).as_string::<i32>();
    let number = |column: usize| batch.column(column).as_primitive::<UInt64Type>();
    let stage_attempt = batch.column(STAGE_ATTEMPT).as_primitive::<UInt32Type>();
    let file = |row: usize| -> Result<Option<StagedFile>> {
        if text(PATH).is_null(row) {
            return Ok(None);
        }
        Ok(Some(StagedFile {
            path: text(PATH).value(row).to_owned(),
            staging: serde_json::from_str(text(STAGING).value(row)).map_err(json_error)?,
            partition: serde_json::from_str(text(PARTITION).value(row)).map_err(json_error)?,
            rows: number(ROWS).value(row),
            bytes: number(BYTES).value(row),
            stats: text(STATS).is_valid(row).then(|| text(STATS).value(row).to_owned()),
            is_rejected: batch.column(REJECTED).as_boolean().value(row),
        }))
    };
    let report = |row: usize| -> Result<Option<WriterReport>> {
        let json = text(REPORT).is_valid(row).then(|| serde_json::from_str(text(REPORT).value(row)));
        json.transpose().map_err(json_error)
    };
    let row = |row: usize| {
        Ok(ManifestRow {
            writer,
            stage_attempt: stage_attempt.value(row),
            task: text(TASK).value(row).to_owned(),
            file: file(row)?,
            report: report(row)?,
        })
    };
    (0..batch.num_rows()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_model::expectation::CheckReport;
    use selvedge_model::manifest::Staging;

    #[test]
    fn a_manifest_reads_back_as_it_was_reported() {
        let file = |path: &str, staging| StagedFile {
            path: path.into(),
            staging,
            rows: 3,
            bytes: 99,
            partition: vec![("ds".into(), None), ("r".into(), Some("é/\"".into()))],
            stats: (path == "t/b").then(|| "{}".to_owned()),
            is_rejected: path == "t/b",
        };
        let upload = Staging::Multipart { upload_id: "u".into(), parts: vec!["\"e1\"".into(), "e2".into()] };
        let files = [file("t/a", upload), file("t/b", Staging::Temporary { path: "t/.staging/b".into() })];
        let found = CheckReport { index: 1, violations: 2, samples: vec!["{\"a\":\"é\"}".into()] };
        let report = WriterReport { checks: vec![found], newest: vec![] };
        let rows = manifest_rows(&batch(&files, "j/1.2/3.0", 2, Some(&report)).unwrap(), 5).unwrap();
        let [a, b, end] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!([a.file.as_ref(), b.file.as_ref()], [Some(&files[0]), Some(&files[1])]);
        let row =
            ManifestRow { writer: 5, stage_attempt: 2, task: "j/1.2/3.0".into(), file: None, report: Some(report) };
        assert_eq!(*end, row);
        assert!(a.report.is_none());
        let silent = manifest_rows(&batch(&[], "j/1.2/3.0", 2, None).unwrap(), 5).unwrap();
        assert_eq!(silent, [ManifestRow { report: None, ..row }]);
    }

    #[test]
    fn a_batch_that_is_no_manifest_is_refused() {
        let other = RecordBatch::try_from_iter([("n", Arc::new(UInt64Array::from(vec![1])) as ArrayRef)]).unwrap();
        assert!(manifest_rows(&other, 0).is_err());
    }
}
