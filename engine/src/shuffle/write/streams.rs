//! Encodes each partition's batches as one Arrow IPC stream in frames, whose bytes are taken away run by run.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use datafusion::error::Result;

use super::super::frames;

/// What a partition got.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Amount {
    pub batches: u64,
    pub rows: u64,
    /// In memory, not as encoded.
    pub bytes: u64,
}

impl Amount {
    pub(super) fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// The streams of one input, one for each partition that got rows.
pub(super) struct Streams {
    schema: SchemaRef,
    options: IpcWriteOptions,
    open: Vec<Option<StreamWriter<Vec<u8>>>>,
    amounts: Vec<Amount>,
    encoded: usize,
}

impl Streams {
    pub(super) fn new(schema: SchemaRef, options: IpcWriteOptions, partitions: usize) -> Self {
        let open = (0..partitions).map(|_| None).collect();
        Self { schema, options, open, amounts: vec![Amount::default(); partitions], encoded: 0 }
    }

    /// A stream of no batches: what a reader learns the schema from.
    pub(super) fn header(schema: &SchemaRef, options: &IpcWriteOptions) -> Result<Vec<u8>> {
        let mut header = Vec::new();
        let frame = frames::begin(&mut header);
        header = StreamWriter::try_new_with_options(header, schema, options.clone())?.into_inner()?;
        frames::end(&mut header, frame);
        Ok(header)
    }

    pub(super) fn write(&mut self, partition: usize, batch: &RecordBatch) -> Result<()> {
        let stream = match &mut self.open[partition] {
            Some(stream) => stream,
            slot => slot.insert(begin(&self.schema, &self.options)?),
        };
        let before = stream.get_ref().len();
        let frame = frames::begin(stream.get_mut());
        stream.write(batch)?;
        frames::end(stream.get_mut(), frame);
        self.encoded += stream.get_ref().len() - before;
        let bytes = batch.get_array_memory_size() as u64;
        self.amounts[partition].add(&Amount { batches: 1, rows: batch.num_rows() as u64, bytes });
        Ok(())
    }

    /// Bytes encoded and not yet taken.
    pub(super) fn encoded(&self) -> usize {
        self.encoded
    }

    /// The memory of all buffers.
    pub(super) fn capacity(&self) -> usize {
        self.open.iter().flatten().map(|stream| stream.get_ref().capacity()).sum()
    }

    /// Ends every stream; its last bytes are still to be taken.
    pub(super) fn finish(&mut self) -> Result<()> {
        for stream in self.open.iter_mut().flatten() {
            let frame = frames::begin(stream.get_mut());
            stream.finish()?;
            frames::end(stream.get_mut(), frame);
        }
        Ok(())
    }

    /// Takes what was encoded since the last time, for each partition.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        self.encoded = 0;
        self.open.iter_mut().map(|s| s.as_mut().map(|s| std::mem::take(s.get_mut())).unwrap_or_default()).collect()
    }

    /// Gives written buffers back, so that their memory is used again.
    pub(super) fn give_back(&mut self, buffers: Vec<Vec<u8>>) {
        for (stream, mut buffer) in self.open.iter_mut().zip(buffers) {
            if let Some(stream) = stream {
                buffer.clear();
                *stream.get_mut() = buffer;
            }
        }
    }

    pub(super) fn amounts(&self) -> &[Amount] {
        &self.amounts
    }
}

/// A stream whose schema is in its first frame.
fn begin(schema: &SchemaRef, options: &IpcWriteOptions) -> Result<StreamWriter<Vec<u8>>> {
    let mut buffer = Vec::new();
    let frame = frames::begin(&mut buffer);
    let mut stream = StreamWriter::try_new_with_options(buffer, schema, options.clone())?;
    frames::end(stream.get_mut(), frame);
    Ok(stream)
}
