//! Rows that a write leaves out and keeps: in a table of their own, in a hidden directory below the table that they were meant
//! for. So one place is written to and swept. Only managed tables have one: of plain files, who lists the directory might find it.
//!
//! A row is kept as JSON, as it would have been written: so that the table takes them whatever becomes of the columns of the
//! other. Files are staged like all others of the write.

use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use datafusion::common::internal_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use selvedge_model::StatementAttempt;
use selvedge_model::manifest::StagedFile;

use super::layout::TaskTag;
use super::rows::RowLayout;
use super::store::TableStore;
use super::task::{TaskMetrics, TaskWriter};
use crate::plan::{SinkSpec, WriteFormat};

/// The directory of the table that keeps what is left out, below the table that it is left out of.
pub const REJECTED_DIR: &str = "_rejected/";

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        // The names of the expectations with `DROP INTO REJECTED` that the row violates, with commas.
        Field::new("expectation", DataType::Utf8, true),
        Field::new("rejected_row", DataType::Utf8, true),
        Field::new("run", DataType::Utf8, true),
        Field::new("statement", DataType::Int32, true),
        Field::new("rejected_at", at, true),
    ]))
});

/// The columns of a table that keeps what is left out.
pub fn rejected_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The rows of a batch that are kept, as the table that keeps them has them. `columns` are those of the table they were meant
/// for, `kept` which rows violate what.
pub(super) fn keep(
    batch: &RecordBatch,
    columns: usize,
    kept: &[(&str, BooleanBuffer)],
    job_id: &str,
) -> Result<Option<RecordBatch>> {
    let Some(any) = kept.iter().map(|(_, bad)| bad.clone()).reduce(|a, b| &a | &b) else { return Ok(None) };
    let names = any.set_indices().map(|row| {
        let violated = kept.iter().filter(|(_, bad)| bad.value(row)).map(|(name, _)| *name);
        violated.collect::<Vec<_>>().join(", ")
    });
    let names = StringArray::from(names.collect::<Vec<_>>());
    let rows = filter_record_batch(batch, &BooleanArray::new(any, None))?;
    let rows = rows.project(&(0..columns).collect::<Vec<_>>())?;
    let count = rows.num_rows();
    let ids = StatementAttempt::parse_job_id(job_id);
    let run = ids.as_ref().map(|ids| ids.run.as_str());
    let statement = ids.as_ref().and_then(|ids| i32::try_from(ids.statement).ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(names),
        Arc::new(json(&rows)?),
        Arc::new(StringArray::from_iter(std::iter::repeat_n(run, count))),
        Arc::new(Int32Array::from_iter(std::iter::repeat_n(statement, count))),
        Arc::new(TimestampMicrosecondArray::from_value(now, count).with_timezone("UTC")),
    ];
    Ok(Some(RecordBatch::try_new(rejected_schema(), columns)?))
}

/// Each row as a JSON object.
fn json(rows: &RecordBatch) -> Result<StringArray> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner()).map_err(|e| DataFusionError::External(Box::new(e)))?;
    // A newline within a value is escaped.
    let lines = StringArray::from(text.lines().collect::<Vec<_>>());
    match lines.len() == rows.num_rows() {
        true => Ok(lines),
        false => Err(internal_datafusion_err!("{} rows became {} lines of JSON", rows.num_rows(), lines.len())),
    }
}

/// Stages the rows of one writer that are left out and kept. Nothing is opened before the first of them.
pub(crate) struct Rejects {
    spec: Arc<SinkSpec>,
    store: TableStore,
    tag: TaskTag,
    memory: Option<MemoryReservation>,
    writer: Option<TaskWriter>,
}

impl Rejects {
    /// For a writer of `spec`.
    pub(crate) fn new(spec: &SinkSpec, store: TableStore, tag: TaskTag, memory: MemoryReservation) -> Self {
        let spec = SinkSpec {
            directory: REJECTED_DIR.to_owned(),
            partition_by: Vec::new(),
            data_columns: SCHEMA.fields().len(),
            required: Vec::new(),
            single_file: None,
            format: WriteFormat::Parquet,
            with_stats: true,
            ..spec.clone()
        };
        Self { spec: Arc::new(spec), store, tag, memory: Some(memory), writer: None }
    }

    /// Takes rows of [`rejected_schema`].
    pub(crate) async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        let writer = match (&mut self.writer, self.memory.take()) {
            (Some(writer), _) => writer,
            (none, Some(memory)) => {
                let layout = RowLayout::new(&SCHEMA, self.spec.data_columns, Vec::new(), &[]);
                // They are not rows that the write wrote.
                let metrics = TaskMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
                let (spec, store, tag) = (self.spec.clone(), self.store.clone(), self.tag.clone());
                none.insert(TaskWriter::new(spec, store, tag, layout, memory, metrics)?)
            }
            (None, None) => return Err(internal_datafusion_err!("rejected rows came after the writer had failed")),
        };
        writer.write_sorted(rows).await
    }

    /// Ends the last file and hands over what was staged.
    pub(crate) async fn finish(self) -> Result<Vec<StagedFile>> {
        match self.writer {
            Some(writer) => writer.finish().await,
            None => Ok(Vec::new()),
        }
    }

    /// Throws everything away after `error`, and returns it.
    pub(crate) async fn abort(self, error: DataFusionError) -> DataFusionError {
        match self.writer {
            Some(writer) => writer.abort(error).await,
            None => error,
        }
    }
}
