//! How executors read each other's shuffle files: Arrow Flight `DoAction` of type [`READ_ACTION`].
//!
//! The request names one file and the byte ranges wanted; the reply streams their raw bytes one after another. This file
//! holds the request and the client's side; the executor crate serves it. Called from `source.rs`.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

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
    channels: Mutex<HashMap<String, Channel>>,
}

impl Peers {
    fn channel(&self, host: &str, port: u16) -> io::Result<Channel> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let address = format!("http://{host}:{port}");
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(&address) {
            return Ok(channel.clone());
        }
        let channel = Endpoint::from_shared(address.clone())
            .map_err(io::Error::other)?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .connect_lazy();
        if channels.len() >= MAX_PEERS {
            channels.clear();
        }
        channels.insert(address, channel.clone());
        Ok(channel)
    }

    /// Asks a peer for one range of a file.
    pub(super) async fn read(
        &self,
        (host, port): (&str, u16),
        path: &str,
        range: ByteRange,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let request = ReadRequest { path: path.to_owned(), ranges: vec![range] };
        let action = Action { r#type: READ_ACTION.to_owned(), body: serde_json::to_vec(&request)?.into() };
        let mut client =
            FlightServiceClient::new(self.channel(host, port)?).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.do_action(action))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("{host}:{port} does not answer")))?
            .map_err(|status| from_status(&status, host, port))?;
        let peer = format!("{host}:{port}");
        Ok(answer
            .into_inner()
            .map(move |part| part.map(|result| result.body).map_err(|s| io::Error::other(format!("{peer}: {s}"))))
            .boxed())
    }
}

fn from_status(status: &tonic::Status, host: &str, port: u16) -> io::Error {
    let kind = match status.code() {
        tonic::Code::NotFound => io::ErrorKind::NotFound,
        tonic::Code::OutOfRange => io::ErrorKind::UnexpectedEof,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, format!("executor at {host}:{port}: {}", status.message()))
}
