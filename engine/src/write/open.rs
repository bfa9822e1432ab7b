//! A file that a writer fills, with the memory it holds.

use arrow::array::RecordBatch;
use datafusion::error::Result;

use super::encode::Encoder;
use super::rows::PartitionValues;
use super::store::StagedSink;

/// Reserved for each open file before its first row.
pub(super) const RESERVED_BYTES: usize = 16 << 20;

/// A file in progress.
pub(super) struct OpenFile {
    pub(super) path: String,
    pub(super) partition: PartitionValues,
    pub(super) encoder: Encoder,
    pub(super) sink: StagedSink,
    pub(super) rows: u64,
    /// Rows yet to be encoded.
    pub(super) gathered: Vec<RecordBatch>,
    pub(super) gathered_rows: usize,
    pub(super) gathered_bytes: usize,
    /// Its part of the reservation.
    pub(super) reserved: usize,
}

impl OpenFile {
    /// One with no row yet, for which [`RESERVED_BYTES`] are set aside.
    pub(super) fn new(path: String, partition: PartitionValues, encoder: Encoder, sink: StagedSink) -> Self {
        Self {
            path,
            partition,
            encoder,
            sink,
            rows: 0,
            gathered: Vec::new(),
            gathered_rows: 0,
            gathered_bytes: 0,
            reserved: RESERVED_BYTES,
        }
    }

    /// Bytes that it holds, or may soon.
    pub(super) fn needs(&self) -> usize {
        RESERVED_BYTES.max(self.encoder.memory() + self.sink.buffered() + self.gathered_bytes)
    }

    /// Gives back what memory it can: ends the row group and waits for the uploads.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.encoder.end_row_group()?;
        self.sink.push(self.encoder.take()).await?;
        self.sink.drain().await?;
        Ok(())
    }
}
