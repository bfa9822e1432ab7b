//! Runs statements on the cluster over the public API and takes all result rows, as any client does.

use std::io::Cursor;
use std::time::{Duration, Instant};

use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use prost::Message as _;
use selvedge_proto::MAX_MESSAGE_BYTES;
use selvedge_proto::v1::execute_query_response::Event;
use selvedge_proto::v1::query_service_client::QueryServiceClient;
use selvedge_proto::v1::{ErrorStatus, ExecuteQueryRequest, ExecuteQueryResponse};
use selvedge_tests::{HarnessError, Outcome, block_on, fail, runtime};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// What a script gave: the rows of its last SELECT, and how long everything took.
pub struct Answer {
    /// Rows.
    pub batches: Vec<RecordBatch>,
    /// From sending the request to holding the last row.
    pub took: Duration,
    /// The run that it was.
    pub run_id: String,
}

/// A script that runs.
pub struct Begun {
    /// Its run.
    pub run_id: String,
    started: Instant,
    rest: JoinHandle<Outcome<(Vec<u8>, Instant)>>,
}

impl Begun {
    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether all rows are there, or it failed.
    pub fn has_ended(&self) -> bool {
        self.rest.is_finished()
    }

    /// Waits for its end.
    pub fn finish(self) -> Outcome<Answer> {
        let (bytes, ended) = block_on(self.rest)???;
        let batches = match bytes.is_empty() {
            true => Vec::new(),
            false => StreamReader::try_new(Cursor::new(bytes), None)?.collect::<Result<_, _>>()?,
        };
        Ok(Answer { batches, took: ended.duration_since(self.started), run_id: self.run_id })
    }
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
        self.begin(sql, None)?.finish()
    }

    /// Runs a script to its end under a setting.
    pub fn run_with(&self, sql: &str, setting: Option<(String, String)>) -> Outcome<Answer> {
        self.begin(sql, setting)?.finish()
    }

    /// Begins a script; its rows are taken while the caller does other things.
    pub fn begin(&self, sql: &str, setting: Option<(String, String)>) -> Outcome<Begun> {
        let settings = setting.into_iter().collect();
        let request = ExecuteQueryRequest { sql: sql.to_owned(), settings, ..Default::default() };
        let started = Instant::now();
        let mut client = self.client.clone();
        let (run_id, stream) = block_on(async move {
            let mut stream = client.execute_query(request).await.map_err(|s| explain(&s))?.into_inner();
            match stream.message().await.map_err(|s| explain(&s))?.and_then(|message| message.event) {
                Some(Event::RunId(run_id)) => Ok((run_id, stream)),
                _ => Err(fail("the first message of an answer names no run")),
            }
        })??;
        let rest = runtime()?.spawn(fetch(stream));
        Ok(Begun { run_id, started, rest })
    }
}

async fn fetch(mut stream: Streaming<ExecuteQueryResponse>) -> Outcome<(Vec<u8>, Instant)> {
    let mut last = Vec::new();
    while let Some(message) = stream.message().await.map_err(|s| explain(&s))? {
        match message.event {
            Some(Event::Start(_)) => last.clear(),
            Some(Event::ArrowIpc(chunk)) => last.extend_from_slice(&chunk),
            Some(Event::RunId(_) | Event::End(_)) | None => {}
        }
    }
    Ok((last, Instant::now()))
}

fn explain(status: &Status) -> HarnessError {
    let details = ErrorStatus::decode(status.details()).unwrap_or_default();
    let failure = details.failures.first().map(|f| format!(" [{}] {}", f.code, f.hint)).unwrap_or_default();
    fail(format!("{}{failure}", status.message()))
}
