//! Rows on their way to their partitions: a few batches, and for each partition which of their rows are its own.
//!
//! Rows are copied once, when the window is emptied. It holds enough batches that every partition gets a batch worth
//! encoding, and no more: what was just read is still in the processor's cache then.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::hash_utils::create_hashes;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::utils::evaluate_expressions_to_arrays;
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;

/// A window of more bytes is full, however few rows of a partition it holds.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Where a row lies: which batch of the window, and which row there.
type Place = (usize, usize);

/// The window of one input partition.
pub(super) struct Window {
    schema: SchemaRef,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    batch_size: usize,
    batches: Vec<RecordBatch>,
    places: Vec<Vec<Place>>,
    hashes: Vec<u64>,
    rows: usize,
    bytes: usize,
}

impl Window {
    pub(super) fn new(
        schema: SchemaRef,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        partitions: usize,
        batch_size: usize,
    ) -> Self {
        let places = vec![Vec::new(); partitions];
        let (batches, hashes) = Default::default();
        Self { schema, keys, batch_size: batch_size.max(1), batches, places, hashes, rows: 0, bytes: 0 }
    }

    /// Adds a batch. Rows whose keys are equal go to one partition, in every task and every stage.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let keys = evaluate_expressions_to_arrays(&self.keys, &batch)?;
        self.hashes.clear();
        self.hashes.resize(batch.num_rows(), 0);
        create_hashes(&keys, REPARTITION_RANDOM_STATE.random_state(), &mut self.hashes)?;
        let (number, partitions) = (self.batches.len(), self.places.len() as u64);
        // The same numbers either way; a mask is cheaper than a division.
        let mask = partitions.is_power_of_two().then(|| partitions - 1);
        for (row, hash) in self.hashes.iter().enumerate() {
            let partition = mask.map_or_else(|| hash % partitions, |mask| hash & mask);
            self.places[partition as usize].push((number, row));
        }
        self.rows += batch.num_rows();
        self.bytes += bytes_of(&batch);
        self.batches.push(batch);
        Ok(())
    }

    /// Whether it is time to empty it.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.batch_size.saturating_mul(self.places.len()) || self.bytes >= MAX_BYTES
    }

    /// The memory it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.places.iter().map(Vec::capacity).sum::<usize>() * size_of::<Place>()
    }

    /// Hands its rows on, partition by partition, in batches of at most two batch sizes, and is empty then.
    pub(super) fn empty(&mut self, mut each: impl FnMut(usize, &RecordBatch) -> Result<()>) -> Result<()> {
        for (partition, places) in self.places.iter().enumerate().filter(|(_, places)| !places.is_empty()) {
            // Of equal size: a last batch of a few rows costs as much as a full one.
            let batches = places.len().div_ceil(2 * self.batch_size);
            for places in places.chunks(places.len().div_ceil(batches)) {
                each(partition, &gather(&self.schema, &self.batches, places)?)?;
            }
        }
        self.batches.clear();
        self.places.iter_mut().for_each(Vec::clear);
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }
}

/// The memory of the rows of a batch; what it shares with other batches is not counted whole.
fn bytes_of(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0));
    sizes.sum()
}

fn gather(schema: &SchemaRef, batches: &[RecordBatch], places: &[Place]) -> Result<RecordBatch> {
    let column = |number: usize| -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(number).as_ref()).collect();
        Ok(compact(interleave(&parts, places)?))
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// Views keep all the buffers they came from, and encoding would write them whole.
fn compact(column: ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => column,
    }
}
