//! The three places a block may be read from, in the order in which they are asked: this machine's disk, the executor
//! that wrote it, object storage.
//!
//! One request is one try: retries, resuming and falling back are `fetch.rs`'s.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::physical_plan::metrics::Count;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{GetOptions, GetRange, ObjectStore};
use selvedge_model::words::counted;

use super::peer::{ByteRange, CHUNK_BYTES, Peers};

/// A place that may hold a block's file.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A file on this machine.
    Local(PathBuf),
    /// The executor that wrote it, by address; the path is relative to its shuffle folder.
    Peer { peers: Arc<Peers>, host: String, port: u16, path: String },
    /// An object.
    Remote { store: Arc<dyn ObjectStore>, path: object_store::path::Path },
}

/// What reading costs, counted as it happens.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadCounts {
    pub bytes: Count,
    pub rows: Count,
    pub local: Count,
    pub peer: Count,
    pub remote: Count,
    pub retries: Count,
}

pub(super) type Chunks = BoxStream<'static, io::Result<Bytes>>;

impl Source {
    /// Asks for one range. A file that ends before the range does is an error.
    pub(super) async fn request(&self, range: ByteRange, counts: &ReadCounts) -> io::Result<Chunks> {
        match self {
            Self::Local(path) => {
                let chunks = read_local(path.clone(), range).await?;
                counts.local.add(1);
                Ok(chunks)
            }
            Self::Peer { peers, host, port, path } => {
                let chunks = peers.read((host, *port), path, range).await?;
                counts.peer.add(1);
                Ok(chunks)
            }
            Self::Remote { store, path } => {
                let chunks = read_remote(store.as_ref(), path, range).await?;
                counts.remote.add(1);
                Ok(chunks)
            }
        }
    }
}

async fn read_remote(store: &dyn ObjectStore, path: &object_store::path::Path, range: ByteRange) -> io::Result<Chunks> {
    let wanted = match range {
        ByteRange { start, end: Some(end) } => Some(GetRange::Bounded(start..end)),
        ByteRange { start: 0, end: None } => None,
        ByteRange { start, end: None } => Some(GetRange::Offset(start)),
    };
    let got = store.get_opts(path, GetOptions::new().with_range(wanted)).await.map_err(from_store)?;
    if range.end.is_some_and(|end| got.range.end != end) || got.range.start != range.start {
        return Err(too_short(got.meta.size, range));
    }
    Ok(got.into_stream().map_err(from_store).boxed())
}

fn from_store(error: object_store::Error) -> io::Error {
    match error {
        object_store::Error::NotFound { .. } => io::Error::new(io::ErrorKind::NotFound, error),
        other => io::Error::other(other),
    }
}

fn too_short(size: u64, range: ByteRange) -> io::Error {
    let message = format!("the file has {}, which is less than the range {range:?} asks for", counted(size, "byte"));
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
}

/// An open local file and what is still to be read of it.
struct Rest {
    file: File,
    left: u64,
}

async fn read_local(path: PathBuf, range: ByteRange) -> io::Result<Chunks> {
    // The first piece is read where the file is opened: most blocks are smaller than one piece.
    let (first, rest) = off_thread(move || {
        let mut file = File::open(&path)?;
        let size = file.metadata()?.len();
        let end = range.end.unwrap_or(size);
        if end > size || range.start > end {
            return Err(too_short(size, range));
        }
        file.seek(SeekFrom::Start(range.start))?;
        let mut rest = Rest { file, left: end - range.start };
        let first = next_piece(&mut rest)?;
        Ok((first, rest))
    })
    .await?;
    let following = stream::try_unfold(rest, |mut rest| async move {
        if rest.left == 0 {
            return Ok(None);
        }
        off_thread(move || next_piece(&mut rest).map(|piece| Some((piece, rest)))).await
    });
    Ok(stream::once(async move { Ok(first) }).chain(following).boxed())
}

fn next_piece(rest: &mut Rest) -> io::Result<Bytes> {
    let length = rest.left.min(CHUNK_BYTES as u64);
    let mut piece = Vec::with_capacity(length as usize);
    (&mut rest.file).take(length).read_to_end(&mut piece)?;
    if piece.len() as u64 != length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
    }
    rest.left -= length;
    Ok(piece.into())
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
