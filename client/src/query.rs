//! Interactive SQL: a script's statements in order, each result as a stream of record batches.
//!
//! Each statement's Arrow IPC bytes arrive in chunks that split anywhere; [`Decoding`] puts them together again, without
//! I/O. Dropping the stream cancels the query.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use futures::stream::{BoxStream, Stream, StreamExt as _};
use selvedge_model::id::RunId;
use selvedge_proto::v1;
use selvedge_proto::v1::execute_query_response::Event;

use crate::connect::Selvedge;
use crate::error::{Error, Result};
use crate::runs::local_user;
use crate::runs::{Submission, run_id};

/// What a query sends, in order: `Run`, then for each statement `Start`, perhaps `Schema` and `Batch`es, and `End`.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryEvent {
    /// The run that the query is recorded as.
    Run(RunId),
    /// A statement begins.
    Start {
        /// Its position, from 1.
        statement: u32,
        /// `SELECT`, `SET`, ...
        kind: String,
    },
    /// Its result has these columns. Comes also when the result is empty.
    Schema(SchemaRef),
    /// The next rows of its result.
    Batch(RecordBatch),
    /// It has ended.
    End {
        /// Its position, from 1.
        statement: u32,
        /// What it did, for statements without a result.
        message: String,
    },
}

/// The events of one query.
pub struct QueryStream(BoxStream<'static, Result<QueryEvent>>);

impl Stream for QueryStream {
    type Item = Result<QueryEvent>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl Selvedge {
    /// Runs a script's statements and streams their results back.
    ///
    /// # Errors
    /// When the script is refused, or nobody answers. Later failures come through the stream.
    pub async fn query(&self, sql: &str) -> Result<QueryStream> {
        self.query_with(sql, Submission::default()).await
    }

    /// As [`Self::query`], with parameters, settings and queue. (A query's run has no name of its own.)
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn query_with(&self, sql: &str, submission: Submission) -> Result<QueryStream> {
        let request = v1::ExecuteQueryRequest {
            sql: sql.to_owned(),
            params: submission.params.into_iter().collect(),
            settings: submission.settings.into_iter().collect(),
            queue: submission.queue.unwrap_or_default(),
            user: submission.user.unwrap_or_else(local_user),
        };
        let reply = self.queries().execute_query(request).await.map_err(|e| self.fail(&e))?.into_inner();
        let client = self.clone();
        let state = (reply, Decoding::default(), false);
        let events = futures::stream::unfold(state, move |(mut reply, mut decoding, ended)| {
            let client = client.clone();
            async move {
                loop {
                    if let Some(event) = decoding.ready.pop_front() {
                        return Some((Ok(event), (reply, decoding, ended)));
                    }
                    if ended {
                        return None;
                    }
                    let fed = match reply.message().await {
                        Ok(Some(message)) => decoding.push(message),
                        Ok(None) => return None,
                        Err(status) => Err(client.fail(&status)),
                    };
                    if let Err(error) = fed {
                        decoding.ready.clear();
                        return Some((Err(error), (reply, decoding, true)));
                    }
                }
            }
        });
        Ok(QueryStream(events.boxed()))
    }

    /// Runs a script and gathers every statement's rows, by the statement's position. For results that fit in memory.
    ///
    /// # Errors
    /// As [`Self::query`], and when a statement fails.
    pub async fn collect(&self, sql: &str) -> Result<BTreeMap<u32, Vec<RecordBatch>>> {
        let mut events = self.query(sql).await?;
        let mut results: BTreeMap<u32, Vec<RecordBatch>> = BTreeMap::new();
        let mut current = 0;
        while let Some(event) = events.next().await {
            match event? {
                QueryEvent::Start { statement, .. } => current = statement,
                QueryEvent::Batch(batch) => results.entry(current).or_default().push(batch),
                QueryEvent::Schema(_) => drop(results.entry(current).or_default()),
                QueryEvent::Run(_) | QueryEvent::End { .. } => {}
            }
        }
        Ok(results)
    }
}

/// From messages to events.
#[derive(Default)]
struct Decoding {
    decoder: Option<StreamDecoder>,
    schema_sent: bool,
    ready: VecDeque<QueryEvent>,
}

impl Decoding {
    fn push(&mut self, message: v1::ExecuteQueryResponse) -> Result<()> {
        match message.event {
            Some(Event::RunId(id)) => self.ready.push_back(QueryEvent::Run(run_id(id)?)),
            Some(Event::Start(start)) => {
                self.decoder = None;
                self.schema_sent = false;
                self.ready.push_back(QueryEvent::Start { statement: start.statement, kind: start.kind });
            }
            Some(Event::ArrowIpc(bytes)) => self.decode(Buffer::from(bytes))?,
            Some(Event::End(end)) => self.end(end)?,
            None => {}
        }
        Ok(())
    }

    fn decode(&mut self, mut bytes: Buffer) -> Result<()> {
        let decoder = self.decoder.get_or_insert_with(StreamDecoder::new);
        while !bytes.is_empty() {
            let batch = decoder.decode(&mut bytes).map_err(|e| Error::Reply(e.to_string()))?;
            if let Some(schema) = decoder.schema().filter(|_| !self.schema_sent) {
                self.schema_sent = true;
                self.ready.push_back(QueryEvent::Schema(schema));
            }
            self.ready.extend(batch.map(QueryEvent::Batch));
        }
        Ok(())
    }

    fn end(&mut self, end: v1::ResultEnd) -> Result<()> {
        if let Some(mut decoder) = self.decoder.take() {
            decoder.finish().map_err(|e| Error::Reply(format!("a result was cut short: {e}")))?;
        }
        self.ready.push_back(QueryEvent::End { statement: end.statement, message: end.message });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    fn message(event: Event) -> v1::ExecuteQueryResponse {
        v1::ExecuteQueryResponse { event: Some(event) }
    }

    fn stream_of(batches: &[RecordBatch], schema: &Schema) -> Vec<u8> {
        let mut writer = StreamWriter::try_new(Vec::new(), schema).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn sample() -> (RecordBatch, Vec<u8>) {
        let schema = Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![Some(1), None])), Arc::new(StringArray::from(vec!["a", "b"]))];
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
        let bytes = stream_of(&[batch.clone(), batch.clone()], &schema);
        (batch, bytes)
    }

    #[test]
    fn chunks_may_split_anywhere() {
        let (batch, bytes) = sample();
        for size in [1, 7, 64, bytes.len()] {
            let mut decoding = Decoding::default();
            decoding.push(message(Event::Start(v1::ResultStart { statement: 1, kind: "SELECT".into() }))).unwrap();
            for chunk in bytes.chunks(size) {
                decoding.push(message(Event::ArrowIpc(chunk.to_vec().into()))).unwrap();
            }
            decoding.push(message(Event::End(v1::ResultEnd { statement: 1, message: String::new() }))).unwrap();
            let events: Vec<_> = decoding.ready.into_iter().collect();
            assert_eq!(events.len(), 5, "chunks of {size}");
            assert!(matches!(events[1], QueryEvent::Schema(_)));
            assert_eq!(events[3], QueryEvent::Batch(batch.clone()));
        }
    }

    #[test]
    fn a_result_that_is_cut_short_is_an_error() {
        let (_, bytes) = sample();
        let mut decoding = Decoding::default();
        decoding.push(message(Event::ArrowIpc(bytes[..bytes.len() / 2].to_vec().into()))).unwrap();
        let end = message(Event::End(v1::ResultEnd { statement: 1, message: String::new() }));
        assert!(decoding.push(end).is_err());
    }

    #[test]
    fn an_empty_result_still_tells_its_columns() {
        let schema = Schema::new(vec![Field::new("k", DataType::Int64, true)]);
        let mut decoding = Decoding::default();
        decoding.push(message(Event::ArrowIpc(stream_of(&[], &schema).into()))).unwrap();
        assert_eq!(decoding.ready.pop_front(), Some(QueryEvent::Schema(Arc::new(schema))));
    }
}
