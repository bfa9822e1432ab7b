//! Decodes Arrow IPC while it arrives: zero or more IPC streams one after another, as shuffle writers lay them down.
//!
//! Those of exchanges come in frames. Holds one piece of the transfer and one message, never a whole block. A block that ends inside a stream is damaged,
//! also when it ends neatly between two messages. The IPC *file* format is read in `block.rs`.

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use futures::StreamExt;

use super::error::ShuffleError;
use super::fetch::Fetch;
use super::frames::Frames;

/// The first bytes of the IPC file format.
const FILE_MAGIC: &[u8] = b"ARROW1";

/// Where the bytes come from.
pub(super) enum Input {
    Plain(Fetch),
    Framed(Frames),
}

impl Input {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ShuffleError> {
        match self {
            Self::Plain(fetch) => fetch.next().await,
            Self::Framed(frames) => frames.next().await,
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Plain(fetch) => fetch.path(),
            Self::Framed(frames) => frames.path(),
        }
    }
}

/// Decodes what a [`Fetch`] brings.
pub(super) struct IpcStream {
    input: Input,
    decoder: StreamDecoder,
    pending: Buffer,
    /// Whether any byte was seen: a slice of no bytes holds no stream, which is well. Of a whole file [`Fetch`] brings some.
    begun: bool,
    schema: Option<SchemaRef>,
}

impl IpcStream {
    /// Of a file that one writer wrote from end to end.
    pub(super) fn new(fetch: Fetch) -> Self {
        Self::of(Input::Plain(fetch))
    }

    /// Of a partition of an exchange.
    pub(super) fn framed(fetch: Fetch) -> Self {
        Self::of(Input::Framed(Frames::new(fetch)))
    }

    fn of(input: Input) -> Self {
        Self { input, decoder: StreamDecoder::new(), pending: Buffer::default(), begun: false, schema: None }
    }

    /// Whether what comes is in the IPC file format, which cannot be decoded while it arrives.
    pub(super) async fn is_file_format(&mut self) -> Result<bool, ShuffleError> {
        while self.pending.len() < FILE_MAGIC.len() {
            let Some(piece) = self.input.next().await? else { break };
            self.begun = true;
            let head = [self.pending.as_slice(), piece.as_ref()].concat();
            self.pending = if self.pending.is_empty() { piece.into() } else { head.into() };
        }
        Ok(self.pending.starts_with(FILE_MAGIC))
    }

    /// Gives back the bytes seen so far and the rest of the transfer.
    pub(super) fn into_bytes(self) -> (Buffer, Input) {
        (self.pending, self.input)
    }

    /// The next batch; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>, ShuffleError> {
        loop {
            if let Some(batch) = self.decode()? {
                return Ok(Some(batch));
            }
            match self.input.next().await? {
                Some(piece) => {
                    self.begun = true;
                    self.pending = piece.into();
                }
                None if self.begun && !self.ended() => return Err(self.damaged("it ends in the middle of a stream")),
                None => return Ok(None),
            }
        }
    }

    /// The schema, read as far as needed; none when there are no bytes.
    pub(super) async fn schema(&mut self) -> Result<Option<SchemaRef>, ShuffleError> {
        while self.schema.is_none() {
            // One byte at a time stops right behind the schema, before a batch could be lost.
            if self.pending.is_empty() {
                let Some(piece) = self.input.next().await? else { return Ok(None) };
                self.begun = true;
                self.pending = piece.into();
            }
            let mut one = self.pending.slice_with_length(0, 1);
            self.pending.advance(1);
            self.decoder.decode(&mut one).map_err(|e| self.damaged(&e.to_string()))?;
            self.schema = self.decoder.schema();
        }
        Ok(self.schema.clone())
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>, ShuffleError> {
        while !self.pending.is_empty() {
            match self.decoder.decode(&mut self.pending) {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) => {}
                Err(e) if is_after_end(&e) => self.decoder = StreamDecoder::new(),
                Err(e) => return Err(self.damaged(&e.to_string())),
            }
        }
        Ok(None)
    }

    /// Whether the decoder has seen the end mark of the last stream: only then does it refuse a further byte so.
    fn ended(&mut self) -> bool {
        let mut probe = Buffer::from(vec![0u8]);
        self.decoder.decode(&mut probe).is_err_and(|e| is_after_end(&e))
    }

    fn damaged(&self, cause: &str) -> ShuffleError {
        ShuffleError::Damaged { path: self.input.path().to_owned(), cause: cause.to_owned() }
    }
}

/// What [`StreamDecoder`] answers to bytes behind the end of a stream; it offers no other way to learn that it ended. A
/// test below fails should the words change.
fn is_after_end(error: &ArrowError) -> bool {
    matches!(error, ArrowError::IpcError(message) if message == "Unexpected EOS")
}

/// Batches as a stream.
pub(super) fn batches(ipc: IpcStream) -> super::block::Batches {
    futures::stream::try_unfold(ipc, |mut ipc| async move {
        let batch = ipc.next().await?;
        Ok(batch.map(|batch| (batch, ipc)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::shuffle::peer::ByteRange;
    use crate::shuffle::source::Source;
    use arrow::array::Int32Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::ipc::writer::StreamWriter;

    fn ipc(values: &[Vec<i32>]) -> Vec<u8> {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, false)]));
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        for values in values {
            let column = Arc::new(Int32Array::from(values.clone()));
            writer.write(&RecordBatch::try_new(schema.clone(), vec![column]).unwrap()).unwrap();
        }
        writer.into_inner().unwrap()
    }

    async fn decode(bytes: &[u8]) -> Result<usize, ShuffleError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let sources = Arc::from([Source::Local(file.path().to_owned())]);
        let range = ByteRange { start: 0, end: Some(bytes.len() as u64) };
        let mut stream = IpcStream::new(Fetch::new("t".into(), sources, range, Default::default()));
        let mut rows = 0;
        while let Some(batch) = stream.next().await? {
            rows += batch.num_rows();
        }
        Ok(rows)
    }

    #[tokio::test]
    async fn concatenated_streams_are_read_through() {
        let bytes = [ipc(&[]), ipc(&[vec![1, 2], vec![3]]), ipc(&[vec![4]])].concat();
        assert_eq!(decode(&bytes).await.unwrap(), 4);
        assert_eq!(decode(&[]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_whole_file_cut_to_nothing_is_unreadable_and_a_whole_one_elsewhere_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (cut, whole) = (folder.path().join("cut"), folder.path().join("whole"));
        std::fs::write(&cut, b"").unwrap();
        std::fs::write(&whole, ipc(&[vec![1, 2]])).unwrap();
        let open = |places: &[&std::path::PathBuf]| {
            let sources: Vec<Source> = places.iter().map(|path| Source::Local((*path).clone())).collect();
            let range = ByteRange { start: 0, end: None };
            IpcStream::new(Fetch::new("t".into(), sources.into(), range, Default::default()))
        };
        let nothing = tokio::time::timeout(std::time::Duration::from_secs(20), open(&[&cut]).next()).await.unwrap();
        assert!(matches!(nothing, Err(ShuffleError::Unreadable { .. })), "{nothing:?}");
        assert!(open(&[&cut]).schema().await.is_err());
        assert_eq!(open(&[&cut, &whole]).next().await.unwrap().unwrap().num_rows(), 2);
    }

    #[tokio::test]
    async fn a_stream_cut_anywhere_is_damaged_even_between_two_messages() {
        let bytes = ipc(&[vec![1, 2]]);
        for cut in 1..bytes.len() {
            assert!(matches!(decode(&bytes[..cut]).await, Err(ShuffleError::Damaged { .. })), "cut at {cut}");
        }
    }
}
