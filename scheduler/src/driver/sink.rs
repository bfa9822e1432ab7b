//! Where a reader's results go: a bounded channel of events, result rows as chunks of one Arrow IPC stream a statement.
//!
//! A slow reader slows the driver down; a reader that left cancels the run. `api::execute_query` holds the other end.

use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use selvedge_model::Failure;
use tokio::sync::mpsc;

use super::Stop;

/// Events that may wait for a slow reader.
const MAX_WAITING_EVENTS: usize = 8;
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// What a reader hears.
#[derive(Debug, Clone, PartialEq)]
pub enum ResultEvent {
    /// A statement begins.
    Start {
        /// The statement, from 1.
        statement: u32,
        /// `SELECT`, ...
        kind: String,
    },
    /// The next bytes of its IPC stream.
    Ipc(Bytes),
    /// It has ended.
    End {
        /// The statement.
        statement: u32,
        /// What it did, when it has no result.
        message: String,
    },
    /// The run has failed or was cancelled; the last event.
    Failed(Failure),
}

/// The driver's end.
pub struct ResultSink {
    events: mpsc::Sender<ResultEvent>,
    writer: Option<StreamWriter<Vec<u8>>>,
    rows_sent: bool,
}

/// A sink and the reader's end of it.
pub fn result_channel() -> (ResultSink, mpsc::Receiver<ResultEvent>) {
    let (events, reader) = mpsc::channel(MAX_WAITING_EVENTS);
    (ResultSink { events, writer: None, rows_sent: false }, reader)
}

impl ResultSink {
    /// Whether rows of the statement at hand have gone out: they cannot be taken back.
    pub(super) fn has_sent_rows(&self) -> bool {
        self.rows_sent
    }

    pub(super) async fn start(&mut self, statement: u32, kind: String) -> Result<(), Stop> {
        self.writer = None;
        self.rows_sent = false;
        self.deliver(ResultEvent::Start { statement, kind }).await
    }

    /// Opens the IPC stream, once.
    pub(super) async fn schema(&mut self, schema: &SchemaRef) -> Result<(), Stop> {
        if self.writer.is_none() {
            self.writer = Some(StreamWriter::try_new(Vec::new(), schema).map_err(encoding)?);
            self.flush().await?;
        }
        Ok(())
    }

    pub(super) async fn rows(&mut self, batch: &RecordBatch) -> Result<(), Stop> {
        self.schema(&batch.schema()).await?;
        if let Some(writer) = &mut self.writer {
            writer.write(batch).map_err(encoding)?;
        }
        self.rows_sent = true;
        self.flush().await
    }

    pub(super) async fn end(&mut self, statement: u32, message: String) -> Result<(), Stop> {
        if let Some(writer) = &mut self.writer {
            writer.finish().map_err(encoding)?;
            self.flush().await?;
        }
        self.writer = None;
        self.deliver(ResultEvent::End { statement, message }).await
    }

    /// Sends without caring whether anybody listens.
    pub(super) async fn send(&self, event: ResultEvent) {
        let _ = self.events.send(event).await;
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let mut bytes = Bytes::from(std::mem::take(writer.get_mut()));
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(MAX_CHUNK_BYTES));
            self.deliver(ResultEvent::Ipc(chunk)).await?;
        }
        Ok(())
    }

    async fn deliver(&self, event: ResultEvent) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Cancelled)
    }
}

fn encoding(error: arrow::error::ArrowError) -> Failure {
    Failure::internal("INTERNAL", format!("The result cannot be encoded: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("c", column)]).unwrap()
    }

    #[tokio::test]
    async fn chunks_join_to_one_whole_stream_for_each_statement() {
        let (mut sink, mut reader) = result_channel();
        let written = tokio::spawn(async move {
            sink.start(1, "SELECT".into()).await.unwrap();
            // Larger than a chunk, so that one batch is cut.
            for rows in [3, 300_000] {
                sink.rows(&batch(rows)).await.unwrap();
            }
            assert!(sink.has_sent_rows());
            sink.end(1, String::new()).await.unwrap();
            sink.start(2, "SET".into()).await.unwrap();
            assert!(!sink.has_sent_rows());
        });
        let mut stream = Vec::new();
        let mut events = Vec::new();
        while let Some(event) = reader.recv().await {
            match event {
                ResultEvent::Ipc(bytes) => {
                    assert!(bytes.len() <= MAX_CHUNK_BYTES);
                    stream.extend_from_slice(&bytes);
                }
                other => events.push(other),
            }
        }
        written.await.unwrap();
        let rows: usize = StreamReader::try_new(stream.as_slice(), None).unwrap().map(|b| b.unwrap().num_rows()).sum();
        assert_eq!((rows, events.len()), (300_003, 3));
    }

    #[tokio::test]
    async fn a_reader_that_left_stops_the_driver() {
        let (mut sink, reader) = result_channel();
        drop(reader);
        assert_eq!(sink.start(1, "SELECT".into()).await, Err(Stop::Cancelled));
    }
}
