//! One writer: takes the rows of one partition of a `WriteExec` and stages them as files.
//!
//! Its input is sorted by the partition columns, so that one file is open at a time, whatever the number of partitions.
//! Whatever ends it before [`TaskWriter::finish`], what it staged is thrown away. Next: `store.rs`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, Time};
use selvedge_model::commit::partition_dir;
use selvedge_model::manifest::StagedFile;

use super::encode::Encoder;
use super::layout::{TaskTag, below};
use super::rows::{PartitionValues, RowLayout};
use super::store::{StagedSink, TableStore, Target};
use crate::plan::SinkSpec;

/// Reserved before the first row, so that a sort below leaves room for the writer.
const RESERVED_BYTES: usize = 16 << 20;
/// Parts of uploads; 10,000 of them are allowed, so that a file may have 80 GiB.
const PART_BYTES: usize = 8 << 20;
/// Parts of a result that must become one file, however large: up to 320 GiB.
const SINGLE_FILE_PART_BYTES: usize = 32 << 20;

/// What a writer counts.
#[derive(Debug, Clone)]
pub(crate) struct TaskMetrics {
    rows_written: Count,
    bytes_written: Count,
    files_written: Count,
    encode_time: Time,
    stage_time: Time,
}

impl TaskMetrics {
    pub(crate) fn new(set: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        Self {
            rows_written: MetricBuilder::new(set).counter("rows_written", partition),
            bytes_written: MetricBuilder::new(set).counter("bytes_written", partition),
            files_written: MetricBuilder::new(set).counter("files_written", partition),
            encode_time: MetricBuilder::new(set).elapsed_compute(partition),
            stage_time: MetricBuilder::new(set).subset_time("stage_time", partition),
        }
    }
}

/// A writer in progress.
pub(crate) struct TaskWriter {
    spec: Arc<SinkSpec>,
    store: TableStore,
    tag: TaskTag,
    layout: RowLayout,
    memory: MemoryReservation,
    metrics: TaskMetrics,
    open: Option<OpenFile>,
    staged: Vec<StagedFile>,
    /// Number of the next file.
    next: u32,
}

struct OpenFile {
    path: String,
    partition: PartitionValues,
    encoder: Encoder,
    sink: StagedSink,
    rows: u64,
}

impl TaskWriter {
    /// A writer with nothing open yet.
    ///
    /// # Errors
    /// Resources exhausted, when not even a small file's memory is free.
    pub(crate) fn new(
        spec: Arc<SinkSpec>,
        store: TableStore,
        tag: TaskTag,
        layout: RowLayout,
        memory: MemoryReservation,
        metrics: TaskMetrics,
    ) -> Result<Self> {
        memory.try_resize(RESERVED_BYTES)?;
        Ok(Self { spec, store, tag, layout, memory, metrics, open: None, staged: Vec::new(), next: 0 })
    }

    /// Writes rows, sorted by the partition columns also across calls.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for run in self.layout.runs(batch)? {
            let partition = self.layout.partition_of(batch, run.start)?;
            let rows = self.layout.file_rows(batch, run)?;
            self.append(partition, &rows).await?;
        }
        Ok(())
    }

    async fn append(&mut self, partition: PartitionValues, rows: &RecordBatch) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.partition != partition) {
            self.close().await?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(partition).await?,
        };
        {
            let _timer = self.metrics.encode_time.timer();
            open.encoder.write(rows)?;
        }
        open.rows += rows.num_rows() as u64;
        self.settle(&mut open).await?;
        let size = open.encoder.estimated_bytes();
        let open = self.open.insert(open);
        let ready = open.encoder.take();
        if !ready.is_empty() {
            let _timer = self.metrics.stage_time.timer();
            open.sink.push(ready).await?;
        }
        // One file was asked for: then it grows without bound.
        if size >= self.spec.target_file_bytes && self.spec.single_file.is_none() {
            self.close().await?;
        }
        // Encoding does not await: let the uploads and other tasks of this thread have their turn.
        tokio::task::consume_budget().await;
        Ok(())
    }

    /// Makes the reservation tell the truth. When the pool refuses, waits for the uploads to give memory back; when that
    /// is not enough, ends the row group early.
    async fn settle(&mut self, open: &mut OpenFile) -> Result<()> {
        let needs = |open: &OpenFile| RESERVED_BYTES.max(open.encoder.memory() + open.sink.buffered());
        if self.memory.try_resize(needs(open)).is_ok() {
            return Ok(());
        }
        open.sink.drain().await?;
        if self.memory.try_resize(needs(open)).is_err() {
            open.encoder.end_row_group()?;
            // What is left is on its way out: a refusal now would help nobody.
            self.memory.resize(needs(open));
        }
        Ok(())
    }

    async fn begin(&mut self, partition: PartitionValues) -> Result<OpenFile> {
        let spec = &self.spec;
        let file_name = self.tag.file_name(self.next, spec.format.extension());
        self.next += 1;
        let name = spec.single_file.as_deref().unwrap_or(&file_name);
        let relative = match partition.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", partition_dir(&partition)),
        };
        let root = spec.location.path();
        let path = below(root, &relative)?;
        let part_bytes = if spec.single_file.is_some() { SINGLE_FILE_PART_BYTES } else { PART_BYTES };
        let encoder =
            Encoder::new(spec.format, self.layout.file_schema().clone(), &spec.compression, spec.target_file_bytes)?;
        let target = Target { root, path: path.clone(), tag: &self.tag, file_name: &file_name, part_bytes };
        let sink = self.store.stage(target).await?;
        Ok(OpenFile { path: path.to_string(), partition, encoder, sink, rows: 0 })
    }

    async fn close(&mut self) -> Result<()> {
        let Some(OpenFile { path, partition, mut encoder, mut sink, rows }) = self.open.take() else { return Ok(()) };
        {
            let _timer = self.metrics.encode_time.timer();
            encoder.finish()?;
        }
        let staging = {
            let _timer = self.metrics.stage_time.timer();
            sink.push(encoder.take()).await?;
            sink.finish().await?
        };
        let bytes = encoder.bytes();
        self.metrics.rows_written.add(usize::try_from(rows).unwrap_or(usize::MAX));
        self.metrics.bytes_written.add(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.metrics.files_written.add(1);
        self.memory.resize(RESERVED_BYTES);
        self.staged.push(StagedFile { path, staging, rows, bytes, partition });
        Ok(())
    }

    /// Ends the last file and hands over what was staged: from now on it is the scheduler's.
    pub(crate) async fn finish(mut self) -> Result<Vec<StagedFile>> {
        // A file asked for by name exists also when there is no row.
        if self.spec.single_file.is_some() && self.next == 0 {
            self.open = Some(self.begin(Vec::new()).await?);
        }
        self.close().await?;
        Ok(std::mem::take(&mut self.staged))
    }

    /// Throws everything away after `error`, and returns it.
    pub(crate) async fn abort(mut self, error: DataFusionError) -> DataFusionError {
        if let Some(open) = self.open.take()
            && let Err(error) = open.sink.abort().await
        {
            tracing::warn!(path = open.path, %error, "a failed write's open file stays until its job is swept");
        }
        for file in std::mem::take(&mut self.staged) {
            if let Err(error) = self.store.discard(&file).await {
                tracing::warn!(path = file.path, %error, "a failed write's staged file stays until its job is swept");
            }
        }
        error
    }
}

impl Drop for TaskWriter {
    /// A cancelled task is dropped without a word. The open file looks after itself.
    fn drop(&mut self) {
        let staged = std::mem::take(&mut self.staged);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if staged.is_empty() {
            return;
        }
        let store = self.store.clone();
        runtime.spawn(async move {
            for file in staged {
                if let Err(error) = store.discard(&file).await {
                    tracing::warn!(path = file.path, %error, "a cancelled write's staged file stays until its job is swept");
                }
            }
        });
    }
}
