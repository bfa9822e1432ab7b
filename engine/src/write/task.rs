//! One writer: takes the rows of one partition of a `WriteExec` and stages them as files.
//!
//! It keeps a file open for each partition, as many as memory allows; rows of the others are handed back, to be sorted and
//! written one file after the other once the open ones are done. So any number of partitions takes bounded memory, few of
//! them take no sort, and a partition gets one file however its rows come. Whatever ends the writer before
//! [`TaskWriter::finish`], what it staged is thrown away. Next: `store.rs`.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, Time};
use selvedge_model::commit::partition_dir;
use selvedge_model::manifest::StagedFile;

use super::encode::Encoder;
use super::groups::Groups;
use super::layout::{TaskTag, below};
use super::open::{OpenFile, RESERVED_BYTES};
use super::rejects::REJECTED_DIR;
use super::rows::{PartitionValues, RowLayout};
use super::store::{TableStore, Target};
use crate::delta::file_stats;
use crate::error::EngineError;
use crate::plan::SinkSpec;

/// Left free by open files, for the sort of rows that get none: it spills, but cannot begin with nothing.
const SORT_BYTES: usize = 64 << 20;
/// Files open at once, at most: each may be an upload in progress.
const MAX_OPEN_FILES: usize = 512;
/// Rows of a partition that are gathered before they are encoded: encoding a few at a time is slow.
const GATHERED_ROWS: usize = 4096;
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
    groups: Groups,
    /// By the number of the group; empty when it has no file now.
    open: Vec<Slot>,
    /// The file of rows that come sorted.
    current: Option<OpenFile>,
    staged: Vec<StagedFile>,
    /// Number of the next file.
    next: u32,
}

/// What becomes of a partition's rows.
enum Slot {
    /// They open a file.
    Closed,
    /// They go into it.
    Open(Box<OpenFile>),
    /// They are sorted first: no memory was left for another file when the first of them came.
    Sorted,
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
        let groups = Groups::new(layout.partition_types())?;
        let (open, current, staged) = (Vec::new(), None, Vec::new());
        Ok(Self { spec, store, tag, layout, memory, metrics, groups, open, current, staged, next: 0 })
    }

    /// Writes rows in any order, and hands back those of partitions that no file can be opened for.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let mut rest: Vec<u32> = Vec::new();
        let found = self.groups.split(self.layout.partition_columns(batch))?;
        let data = self.layout.file_rows(batch, 0..batch.num_rows())?;
        let whole = found.len() == 1;
        for (group, rows) in found {
            let first = rows.first().map_or(0, |row| *row as usize);
            if !self.admit(group, batch, first).await? {
                rest.extend(rows);
                continue;
            }
            let rows = match whole {
                true => data.clone(),
                false => take_record_batch(&data, &UInt32Array::from(rows))?,
            };
            self.add(group, rows).await?;
        }
        match rest.is_empty() {
            true => Ok(None),
            false => Ok(Some(take_record_batch(batch, &UInt32Array::from(rest))?)),
        }
    }

    /// Whether a partition's rows go into a file of their own now; opens it when need be.
    async fn admit(&mut self, group: usize, batch: &RecordBatch, row: usize) -> Result<bool> {
        if group >= self.open.len() {
            self.open.resize_with(group + 1, || Slot::Closed);
        }
        match &self.open[group] {
            Slot::Open(_) => return Ok(true),
            Slot::Sorted => return Ok(false),
            Slot::Closed => {}
        }
        let open = self.open.iter().filter(|slot| matches!(slot, Slot::Open(_))).count();
        // The first one's memory is there since the writer began.
        let fits = open == 0 || (open < MAX_OPEN_FILES && self.try_resize(self.memory.size() + RESERVED_BYTES));
        self.open[group] = match fits {
            true => Slot::Open(Box::new(self.begin(self.layout.partition_of(batch, row)?).await?)),
            false => Slot::Sorted,
        };
        Ok(fits)
    }

    async fn add(&mut self, group: usize, rows: RecordBatch) -> Result<()> {
        let Some(Slot::Open(open)) = self.open.get_mut(group) else { return Ok(()) };
        open.gathered_rows += rows.num_rows();
        open.gathered_bytes += rows.get_array_memory_size();
        open.gathered.push(rows);
        if open.gathered_rows < GATHERED_ROWS {
            return Ok(());
        }
        let Slot::Open(open) = std::mem::replace(&mut self.open[group], Slot::Closed) else { return Ok(()) };
        if let Some(open) = self.encode_gathered(*open).await? {
            self.open[group] = Slot::Open(Box::new(open));
        }
        Ok(())
    }

    async fn encode_gathered(&mut self, mut open: OpenFile) -> Result<Option<OpenFile>> {
        let rows = concat_batches(self.layout.file_schema(), &open.gathered)?;
        open.gathered.clear();
        (open.gathered_rows, open.gathered_bytes) = (0, 0);
        self.append(open, &rows).await
    }

    /// Ends the open files.
    pub(crate) async fn close_all(&mut self) -> Result<()> {
        for group in 0..self.open.len() {
            let Slot::Open(open) = std::mem::replace(&mut self.open[group], Slot::Closed) else { continue };
            if let Some(open) = self.encode_gathered(*open).await? {
                self.close(open).await?;
            }
        }
        Ok(())
    }

    /// Writes rows that are sorted by the partition columns, also across calls.
    pub(crate) async fn write_sorted(&mut self, batch: &RecordBatch) -> Result<()> {
        for run in self.layout.runs(batch)? {
            let partition = self.layout.partition_of(batch, run.start)?;
            let rows = self.layout.file_rows(batch, run)?;
            let open = match self.current.take() {
                Some(open) if open.partition == partition => open,
                Some(other) => {
                    self.close(other).await?;
                    self.begin(partition).await?
                }
                None => self.begin(partition).await?,
            };
            self.current = self.append(open, &rows).await?;
        }
        Ok(())
    }

    /// Encodes rows; `None` when the file was full and is closed.
    async fn append(&mut self, mut open: OpenFile, rows: &RecordBatch) -> Result<Option<OpenFile>> {
        {
            let _timer = self.metrics.encode_time.timer();
            open.encoder.write(rows)?;
        }
        open.rows += rows.num_rows() as u64;
        self.settle(&mut open).await?;
        let size = open.encoder.estimated_bytes();
        let ready = open.encoder.take();
        if !ready.is_empty() {
            let _timer = self.metrics.stage_time.timer();
            open.sink.push(ready).await?;
        }
        // Encoding does not await: let the uploads and other tasks of this thread have their turn.
        tokio::task::consume_budget().await;
        // One file was asked for: then it grows without bound.
        if size >= self.spec.target_file_bytes && self.spec.single_file.is_none() {
            self.close(open).await?;
            return Ok(None);
        }
        Ok(Some(open))
    }

    /// Makes the reservation tell the truth. When the pool refuses, the largest file gives memory back.
    async fn settle(&mut self, open: &mut OpenFile) -> Result<()> {
        if self.reserve(open, false) {
            return Ok(());
        }
        let files = self.open.iter_mut().filter_map(|slot| match slot {
            Slot::Open(open) => Some(open.as_mut()),
            Slot::Closed | Slot::Sorted => None,
        });
        match files.max_by_key(|file| file.reserved) {
            Some(largest) if largest.reserved > open.needs() => {
                largest.flush().await?;
                let freed = largest.reserved.saturating_sub(largest.needs());
                largest.reserved -= freed;
                self.memory.shrink(freed.min(self.memory.size()));
            }
            _ => open.flush().await?,
        }
        // What is left is on its way out: a refusal now would help nobody.
        self.reserve(open, true);
        Ok(())
    }

    fn reserve(&mut self, open: &mut OpenFile, force: bool) -> bool {
        let needs = open.needs();
        let total = (self.memory.size() + needs).saturating_sub(open.reserved);
        if force {
            self.memory.resize(total);
        } else if !self.try_resize(total) {
            return false;
        }
        open.reserved = needs;
        true
    }

    /// Whether the pool has so much, and what the sort needs beside it.
    fn try_resize(&self, total: usize) -> bool {
        if total > self.memory.size() && self.memory.try_resize(total + SORT_BYTES).is_err() {
            return false;
        }
        self.memory.resize(total);
        true
    }

    async fn begin(&mut self, partition: PartitionValues) -> Result<OpenFile> {
        let spec = &self.spec;
        // Staged side by side with the files of the same task that go elsewhere.
        let extension = match spec.directory.is_empty() {
            true => spec.format.extension().to_owned(),
            false => format!("rejected.{}", spec.format.extension()),
        };
        let file_name = self.tag.file_name(self.next, &extension);
        self.next += 1;
        let name = spec.single_file.as_deref().unwrap_or(&file_name);
        let relative = match partition.is_empty() {
            true => format!("{}{name}", spec.directory),
            false => format!("{}{}/{name}", spec.directory, partition_dir(&partition)),
        };
        let root = spec.location.path();
        let path = below(root, &relative)?;
        let part_bytes = if spec.single_file.is_some() { SINGLE_FILE_PART_BYTES } else { PART_BYTES };
        let encoder =
            Encoder::new(spec.format, self.layout.file_schema().clone(), &spec.compression, spec.target_file_bytes)?;
        let target = Target { root, path: path.clone(), tag: &self.tag, file_name: &file_name, part_bytes };
        let sink = self.store.stage(target).await?;
        Ok(OpenFile::new(path.to_string(), partition, encoder, sink))
    }

    async fn close(&mut self, open: OpenFile) -> Result<()> {
        let OpenFile { path, partition, mut encoder, mut sink, rows, reserved, .. } = open;
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
        // One file's memory is kept, for the next.
        self.memory.resize(self.memory.size().saturating_sub(reserved).max(RESERVED_BYTES));
        let stats = self.stats(&encoder)?;
        let is_rejected = self.spec.directory == REJECTED_DIR;
        self.staged.push(StagedFile { path, staging, rows, bytes, partition, stats, is_rejected });
        Ok(())
    }

    fn stats(&self, encoder: &Encoder) -> Result<Option<String>> {
        match encoder.footer().filter(|_| self.spec.with_stats) {
            Some(footer) => Ok(Some(file_stats(footer, self.layout.file_schema()).map_err(EngineError::from)?)),
            None => Ok(None),
        }
    }

    /// Ends the last file and hands over what was staged: from now on it is the scheduler's.
    pub(crate) async fn finish(mut self) -> Result<Vec<StagedFile>> {
        // A file asked for by name exists also when there is no row.
        if self.spec.single_file.is_some() && self.next == 0 {
            self.current = Some(self.begin(Vec::new()).await?);
        }
        self.close_all().await?;
        if let Some(open) = self.current.take() {
            self.close(open).await?;
        }
        Ok(std::mem::take(&mut self.staged))
    }

    /// Throws everything away after `error`, and returns it.
    pub(crate) async fn abort(mut self, error: DataFusionError) -> DataFusionError {
        let slots = std::mem::take(&mut self.open).into_iter().filter_map(|slot| match slot {
            Slot::Open(open) => Some(*open),
            Slot::Closed | Slot::Sorted => None,
        });
        for open in slots.chain(self.current.take()) {
            if let Err(error) = open.sink.abort().await {
                tracing::warn!(path = open.path, %error, "a failed write's open file stays until its job is swept");
            }
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
