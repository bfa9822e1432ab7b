//! Writes one task's side of an exchange: rows go by the hash of their keys into one file for all partitions.
//!
//! Takes the place of Ballista's sort shuffle writer, whose node stays in the plan. That one buffers all rows of a task,
//! and spills and rewrites them when they do not fit. This one encodes rows as they come and appends what it has
//! encoded as a run (`../index.rs`): memory is bounded whatever the size, and every byte is written once. Batches pass
//! `window.rs`, `streams.rs` and `file.rs`, in this order. Why: docs/adr/0010.

mod file;
mod streams;
#[cfg(test)]
mod tests;
mod window;

use std::path::Path;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::IpcWriteOptions;
use ballista_core::execution_plans::SortShuffleWriterExec;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::{ShuffleWritePartition, TaskColumnStats};
use ballista_core::utils::create_write_options;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet, Time};
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tracing::Instrument;

use self::file::RunFile;
use self::streams::{Amount, Streams};
use self::window::Window;

/// A run is written when an input has encoded this much: large enough that a partition lies in few pieces.
const RUN_BYTES: usize = 64 * 1024 * 1024;
/// And this much when memory is short: less would cost more in pieces than it gives back.
const SMALL_RUN_BYTES: usize = 4 * 1024 * 1024;

/// Writes an exchange, once.
#[derive(Debug)]
pub struct ExchangeWriter {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    partitions: usize,
    metrics: ExecutionPlanMetricsSet,
    null_counts: Mutex<Vec<u64>>,
}

/// What all inputs of a task share.
#[derive(Clone)]
struct Shared {
    file: Arc<Mutex<RunFile>>,
    options: IpcWriteOptions,
    context: Arc<TaskContext>,
    schema: SchemaRef,
}

/// What one input gave.
#[derive(Default)]
struct Given {
    amounts: Vec<Amount>,
    null_counts: Vec<u64>,
}

impl ExchangeWriter {
    /// For a stage whose plan ends in Ballista's sort shuffle writer; none for another.
    pub fn for_stage(plan: &dyn ExecutionPlan) -> Option<Self> {
        let node = plan.downcast_ref::<SortShuffleWriterExec>()?;
        let Partitioning::Hash(keys, partitions) = node.shuffle_output_partitioning() else { return None };
        Some(Self {
            input: (*node.children().first()?).clone(),
            keys: keys.clone(),
            partitions: *partitions,
            metrics: ExecutionPlanMetricsSet::new(),
            null_counts: Mutex::default(),
        })
    }

    /// Runs the stage and writes its rows to `path`, and the index beside it. Returns what each partition got, those
    /// without rows left out.
    pub async fn write(
        &self,
        path: &Path,
        file_id: u64,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let schema = self.input.schema();
        let options = create_write_options(context.session_config().ballista_config().shuffle_compression_codec()?)?;
        let header = Streams::header(&schema, &options)?;
        let file = Arc::new(Mutex::new(RunFile::create(path, &header, self.partitions)?));
        let shared = Shared { file: file.clone(), options, context, schema };
        let given = self.drain(shared).await?;
        file.lock().finish()?;
        *self.null_counts.lock() = given.null_counts;
        let partitions = given.amounts.iter().enumerate().filter(|(_, amount)| amount.rows > 0);
        Ok(partitions
            .map(|(partition, amount)| ShuffleWritePartition {
                partition_id: partition as u64,
                num_batches: amount.batches,
                num_rows: amount.rows,
                // The graph takes a partition of no bytes for one of no rows.
                num_bytes: amount.bytes.max(1),
                file_id: Some(file_id),
                is_sort_shuffle: true,
            })
            .collect())
    }

    /// All inputs side by side; the first error ends them all.
    async fn drain(&self, shared: Shared) -> Result<Given> {
        let mut inputs = JoinSet::new();
        for number in 0..self.input.properties().output_partitioning().partition_count() {
            let input = Input::open(self, number, shared.clone());
            inputs.spawn(input.run(self.input.clone()).in_current_span());
        }
        let mut sum = Given::default();
        while let Some(ended) = inputs.join_next().await {
            sum.add(ended.map_err(|e| DataFusionError::External(Box::new(e)))??);
        }
        Ok(sum)
    }

    /// What it measured.
    pub fn metrics(&self) -> MetricsSet {
        self.metrics.clone_inner()
    }

    /// How many nulls each column has, for the adaptive planner.
    pub fn column_stats(&self) -> Vec<TaskColumnStats> {
        let stats = |(column, null_count): (usize, &u64)| TaskColumnStats {
            column: column as u32,
            null_count: *null_count,
            sketches: Vec::new(),
        };
        self.null_counts.lock().iter().enumerate().map(stats).collect()
    }
}

impl Given {
    fn add(&mut self, other: Self) {
        self.amounts.resize(other.amounts.len().max(self.amounts.len()), Amount::default());
        self.amounts.iter_mut().zip(&other.amounts).for_each(|(sum, amount)| sum.add(amount));
        self.null_counts.resize(other.null_counts.len().max(self.null_counts.len()), 0);
        self.null_counts.iter_mut().zip(&other.null_counts).for_each(|(sum, count)| *sum += count);
    }
}

/// One input partition on its way into the file.
struct Input {
    number: usize,
    shared: Shared,
    window: Window,
    streams: Streams,
    reservation: MemoryReservation,
    null_counts: Vec<u64>,
    rows: Count,
    sort_time: Time,
    encode_time: Time,
    write_time: Time,
}

impl Input {
    fn open(writer: &ExchangeWriter, number: usize, shared: Shared) -> Self {
        let time = |name: &'static str| MetricBuilder::new(&writer.metrics).subset_time(name, number);
        let Shared { schema, context, options, .. } = &shared;
        let batch_size = context.session_config().batch_size();
        Self {
            number,
            window: Window::new(schema.clone(), writer.keys.clone(), writer.partitions, batch_size),
            streams: Streams::new(schema.clone(), options.clone(), writer.partitions),
            reservation: MemoryConsumer::new(format!("ExchangeWriter[{number}]"))
                .with_can_spill(true)
                .register(&context.runtime_env().memory_pool),
            null_counts: vec![0; schema.fields().len()],
            rows: MetricBuilder::new(&writer.metrics).output_rows(number),
            sort_time: time("repart_time"),
            encode_time: time("encode_time"),
            write_time: time("write_time"),
            shared,
        }
    }

    async fn run(mut self, input: Arc<dyn ExecutionPlan>) -> Result<Given> {
        let mut batches = input.execute(self.number, self.shared.context.clone())?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            self.rows.add(batch.num_rows());
            for (count, column) in self.null_counts.iter_mut().zip(batch.columns()) {
                *count += column.logical_null_count() as u64;
            }
            let sort_time = self.sort_time.timer();
            self.window.push(batch)?;
            sort_time.done();
            // What the pool refuses is there all the same; writing it out is how it is given back.
            let is_short = self.reserve().is_err();
            let limit = if is_short { SMALL_RUN_BYTES } else { RUN_BYTES };
            if self.window.is_full() || self.window.bytes() >= limit {
                self.encode()?;
            }
            if self.streams.encoded() >= limit {
                self.write_run(!is_short).await?;
            }
        }
        // The input's own memory comes back before the last rows are encoded.
        drop(batches);
        self.encode()?;
        self.streams.finish()?;
        self.write_run(false).await?;
        Ok(Given { amounts: self.streams.amounts().to_vec(), null_counts: self.null_counts })
    }

    fn reserve(&mut self) -> Result<()> {
        self.reservation.try_resize(self.window.bytes() + self.streams.capacity())
    }

    fn encode(&mut self) -> Result<()> {
        let _timer = self.encode_time.timer();
        self.window.empty(|partition, batch| self.streams.write(partition, batch))
    }

    /// Writes what is encoded; the buffers are used again or given up.
    async fn write_run(&mut self, keep_buffers: bool) -> Result<()> {
        let pieces = self.streams.take();
        if pieces.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let _timer = self.write_time.timer();
        let (file, number) = (self.shared.file.clone(), self.number);
        let written = tokio::task::spawn_blocking(move || {
            file.lock().append(number, &pieces)?;
            Ok::<_, std::io::Error>(pieces)
        });
        let buffers = written.await.map_err(|e| DataFusionError::External(Box::new(e)))??;
        if keep_buffers {
            self.streams.give_back(buffers);
        } else {
            self.reservation.free();
        }
        Ok(())
    }
}
