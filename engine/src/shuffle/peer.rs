//! How executors read each other's shuffle files: Arrow Flight `DoAction` of type [`READ_ACTION`].
//!
//! The request names one file and the byte ranges wanted; the reply streams their raw bytes one after another. This file
//! holds the request and the client's side; the executor crate serves it. Called from `source.rs`.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use arrow_flight::Action;
use arrow_flight::flight_service_client::FlightServiceClient;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tonic::transport::{Channel, Endpoint};

/// The type of the Flight action.
pub const READ_ACTION: &str = "selvedge.read";
/// The largest piece of a reply.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// The most ranges in one request.
pub const MAX_RANGES: usize = 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const MAX_MESSAGE_BYTES: usize = 4 * CHUNK_BYTES;
const MAX_PEERS: usize = 1024;
/// Doubled with each silence, up to about half a minute.
const FIRST_SHUN: Duration = Duration::from_millis(500);

/// Part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// The byte after the last one; none for the file's end.
    pub end: Option<u64>,
}

/// The body of a [`READ_ACTION`], as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadRequest {
    /// The file, relative to the shuffle folder of the executor asked.
    pub path: String,
    /// What to read of it, in this order; the whole file when empty.
    pub ranges: Vec<ByteRange>,
}

/// One connection for each peer, kept open.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: Mutex<HashMap<String, Peer>>,
}

/// What is known of one peer.
#[derive(Debug, Clone)]
struct Peer {
    channel: Channel,
    /// Requests in a row that it did not answer.
    silences: u32,
    /// Until when it is not asked again: its blocks are likely elsewhere, and each question costs a timeout.
    shunned_until: Option<Instant>,
}

impl Peers {
    fn channel(&self, address: &str) -> io::Result<Channel> {
        let mut known = self.known.lock();
        if let Some(peer) = known.get(address) {
            if peer.shunned_until.is_some_and(|until| Instant::now() < until) {
                return Err(unanswered(address, "did not answer a moment ago"));
            }
            return Ok(peer.channel.clone());
        }
        let channel = Endpoint::from_shared(address.to_owned())
            .map_err(io::Error::other)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .connect_lazy();
        if known.len() >= MAX_PEERS {
            known.clear();
        }
        known.insert(address.to_owned(), Peer { channel: channel.clone(), silences: 0, shunned_until: None });
        Ok(channel)
    }

    fn note(&self, address: &str, answered: bool) {
        let mut known = self.known.lock();
        let Some(peer) = known.get_mut(address) else { return };
        peer.silences = if answered { 0 } else { peer.silences + 1 };
        peer.shunned_until = (!answered).then(|| Instant::now() + FIRST_SHUN * (1 << peer.silences.min(6)));
    }

    /// Asks a peer for one range of a file.
    pub(super) async fn read(
        &self,
        (host, port): (&str, u16),
        path: &str,
        range: ByteRange,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let address = format!("http://{host}:{port}");
        let request = ReadRequest { path: path.to_owned(), ranges: vec![range] };
        let action = Action { r#type: READ_ACTION.to_owned(), body: serde_json::to_vec(&request)?.into() };
        let mut client = FlightServiceClient::new(self.channel(&address)?).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.do_action(action)).await;
        let silent = match &answer {
            Ok(answer) => answer.as_ref().is_err_and(is_silence),
            Err(_) => true,
        };
        self.note(&address, !silent);
        let answer = answer
            .map_err(|_| unanswered(&address, "does not answer"))?
            .map_err(|status| from_status(&status, &address))?;
        Ok(answer
            .into_inner()
            .map(move |part| part.map(|result| result.body).map_err(|s| io::Error::other(format!("{address}: {s}"))))
            .boxed())
    }
}

fn unanswered(address: &str, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("executor at {address} {what}"))
}

/// Whether a status was made up on this side because nobody is there.
fn is_silence(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::Unavailable
}

fn from_status(status: &tonic::Status, address: &str) -> io::Error {
    let kind = match status.code() {
        tonic::Code::NotFound => io::ErrorKind::NotFound,
        tonic::Code::OutOfRange => io::ErrorKind::UnexpectedEof,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, format!("executor at {address}: {}", status.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_is_gone_is_not_asked_again_at_once() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let peers = Peers::default();
        let ask = || peers.read(("127.0.0.1", gone.port()), "j/f", ByteRange { start: 0, end: None });
        assert!(ask().await.is_err());
        let error = ask().await.err().unwrap();
        assert!(error.to_string().contains("a moment ago"), "{error}");
    }
}
