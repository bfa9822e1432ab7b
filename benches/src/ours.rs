//! Runs statements on the cluster over the public API and takes all result rows, as any client does.

use std::io::Cursor;
use std::time::{Duration, Instant};

use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use prost::Message as _;
use selvedge_proto::MAX_MESSAGE_BYTES;
use selvedge_proto::v1::execute_query_response::Event;
use selvedge_proto::v1::query_service_client::QueryServiceClient;
use selvedge_proto::v1::{ErrorStatus, ExecuteQueryRequest};
use selvedge_tests::{HarnessError, Outcome, block_on, fail};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// What a script gave: the rows of its last SELECT, and how long everything took.
pub struct Answer {
    /// Rows.
    pub batches: Vec<RecordBatch>,
    /// From sending the request to holding the last row.
    pub took: Duration,
}

/// The cluster's client.
pub struct Ours {
    client: QueryServiceClient<Channel>,
}

impl Ours {
    /// For the scheduler at `url`.
    pub fn connect(url: &str) -> Outcome<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())?;
        let channel = block_on(endpoint.connect())??;
        Ok(Self { client: QueryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES) })
    }

    /// Runs a script to its end.
    pub fn run(&self, sql: &str) -> Outcome<Answer> {
        let started = Instant::now();
        let bytes = block_on(self.fetch(sql))??;
        let took = started.elapsed();
        let batches = match bytes.is_empty() {
            true => Vec::new(),
            false => StreamReader::try_new(Cursor::new(bytes), None)?.collect::<Result<_, _>>()?,
        };
        Ok(Answer { batches, took })
    }

    async fn fetch(&self, sql: &str) -> Outcome<Vec<u8>> {
        let request = ExecuteQueryRequest { sql: sql.to_owned(), ..Default::default() };
        let mut stream = self.client.clone().execute_query(request).await.map_err(|s| explain(&s))?.into_inner();
        let mut last = Vec::new();
        while let Some(message) = stream.message().await.map_err(|s| explain(&s))? {
            match message.event {
                Some(Event::Start(_)) => last.clear(),
                Some(Event::ArrowIpc(chunk)) => last.extend_from_slice(&chunk),
                Some(Event::RunId(_) | Event::End(_)) | None => {}
            }
        }
        Ok(last)
    }
}

fn explain(status: &Status) -> HarnessError {
    let details = ErrorStatus::decode(status.details()).unwrap_or_default();
    let failure = details.failures.first().map(|f| format!(" [{}] {}", f.code, f.hint)).unwrap_or_default();
    fail(format!("{}{failure}", status.message()))
}
