//! A TCP proxy that delays: what comes in at t goes out at t + delay, in both directions, without narrowing the pipe.
//!
//! Each direction takes half of the round trip; a new connection waits one round trip more, as its handshake would.

use std::net::SocketAddr;
use std::time::Duration;

use selvedge_tests::{Outcome, block_on, fail, runtime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes under way in one direction: 1024 chunks are 64 MiB.
const CHUNKS_UNDER_WAY: usize = 1024;

/// Starts a proxy before `upstream` (`http://HOST:PORT`); returns its own URL. It lives as long as the process.
pub fn start(upstream: &str, round_trip: Duration) -> Outcome<String> {
    let target = upstream.strip_prefix("http://").ok_or_else(|| fail(format!("{upstream} is not http://")))?;
    let target: SocketAddr = target.parse()?;
    let listener = block_on(TcpListener::bind(("127.0.0.1", 0)))??;
    let address = listener.local_addr()?;
    runtime()?.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(relay(client, target, round_trip));
        }
    });
    Ok(format!("http://{address}"))
}

async fn relay(client: TcpStream, target: SocketAddr, round_trip: Duration) {
    tokio::time::sleep(round_trip).await;
    // A connection that fails shows at the client as a closed one.
    let Ok(server) = TcpStream::connect(target).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let half = round_trip / 2;
    tokio::join!(carry(from_client, to_server, half), carry(from_server, to_client, half));
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_UNDER_WAY);
    let read = async move {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let Ok(size) = from.read(&mut chunk).await else { break };
            chunk.truncate(size);
            if size == 0 || sender.send((Instant::now() + delay, chunk)).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // The other end closed: pass it on. An error means that ours has closed already.
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
