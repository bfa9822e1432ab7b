//! Following a run to its end. The stream survives a lost connection: it asks again, a bounded number of times, and the
//! scheduler then sends the run as it is.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt as _};
use selvedge_model::id::RunId;
use selvedge_model::run::RunRecord;
use selvedge_proto::v1;
use tonic::Streaming;

use crate::connect::Selvedge;
use crate::error::{Error, Result};
use crate::runs::run_record;

/// How often in a row a lost connection is made anew, and the longest wait between two tries.
const MAX_RECONNECTS: u32 = 8;
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The run as it is now, then again whenever it changes; the last item is its final state.
pub struct RunStream(BoxStream<'static, Result<RunRecord>>);

impl Stream for RunStream {
    type Item = Result<RunRecord>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl Selvedge {
    /// Follows a run. Dropping the stream does not touch the run.
    pub fn watch(&self, id: &RunId) -> RunStream {
        let watching = Watching { client: self.clone(), id: id.clone(), stream: None, losses: 0, ended: false };
        RunStream(futures::stream::unfold(watching, Watching::next).boxed())
    }
}

struct Watching {
    client: Selvedge,
    id: RunId,
    stream: Option<Streaming<v1::WatchRunResponse>>,
    losses: u32,
    ended: bool,
}

impl Watching {
    async fn next(mut self) -> Option<(Result<RunRecord>, Self)> {
        while !self.ended {
            match self.receive().await {
                Ok(Some(run)) => {
                    self.losses = 0;
                    self.ended = run.state.is_final();
                    return Some((Ok(run), self));
                }
                Err(error) if !error.is_unreachable() || self.losses >= MAX_RECONNECTS => {
                    self.ended = true;
                    return Some((Err(error), self));
                }
                // The stream ended before the run did, or the connection was lost.
                Ok(None) if self.losses >= MAX_RECONNECTS => {
                    self.ended = true;
                    let error = Error::Reply(format!("it stopped telling about run {} before its end", self.id));
                    return Some((Err(error), self));
                }
                Ok(None) | Err(_) => {
                    self.stream = None;
                    tokio::time::sleep(wait(self.losses)).await;
                    self.losses += 1;
                }
            }
        }
        None
    }

    async fn receive(&mut self) -> Result<Option<RunRecord>> {
        if self.stream.is_none() {
            let request = v1::WatchRunRequest { run_id: self.id.to_string() };
            let reply = self.client.jobs().watch_run(request).await.map_err(|e| self.client.fail(&e))?;
            self.stream = Some(reply.into_inner());
        }
        let Some(stream) = &mut self.stream else { return Ok(None) };
        match stream.message().await.map_err(|e| self.client.fail(&e))? {
            Some(reply) => run_record(reply.run).map(Some),
            None => Ok(None),
        }
    }
}

/// The wait before the next try: doubling from 100 ms.
fn wait(losses: u32) -> Duration {
    Duration::from_millis(100 * 2_u64.pow(losses.min(10))).min(MAX_WAIT)
}
