//! Serves this executor's shuffle files to other executors: Arrow Flight `DoAction` of type `selvedge.read`.
//!
//! A byte server: it knows files below one folder and ranges of them, nothing of what they mean, and gives out nothing else
//! on this disk. The other side is `selvedge_engine::shuffle::peer`.

mod flight;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selvedge_engine::shuffle::is_plain_path;
use selvedge_engine::shuffle::peer::{ByteRange, CHUNK_BYTES, MAX_RANGES, ReadRequest};
use selvedge_model::words::counted;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

use crate::metrics::Metrics;

/// Files read at the same time; further requests wait.
const READS: usize = 32;
/// Pieces read ahead for one request.
const PIECES: usize = 2;
/// How long a request may wait for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a reader may leave a piece lying.
const READER_TIMEOUT: Duration = Duration::from_secs(60);

/// The service; clones share their limits.
#[derive(Clone)]
pub(crate) struct ShuffleService {
    folder: PathBuf,
    turns: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

type Pieces = mpsc::Receiver<Result<Bytes, Status>>;

impl ShuffleService {
    /// Serves the files below `folder`, which has no symbolic links in its own path.
    pub(crate) fn new(folder: PathBuf, metrics: Arc<Metrics>) -> Self {
        Self { folder, turns: Arc::new(Semaphore::new(READS)), metrics }
    }

    async fn read(&self, request: ReadRequest) -> Result<Pieces, Status> {
        if !is_plain_path(&request.path) {
            return Err(Status::invalid_argument("not a path of a shuffle file"));
        }
        if request.ranges.len() > MAX_RANGES {
            return Err(Status::invalid_argument(format!("more than {MAX_RANGES} ranges")));
        }
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.turns.clone().acquire_owned())
            .await
            .map_err(|_| Status::resource_exhausted("too many readers"))?
            .map_err(|_| Status::unavailable("stopping"))?;
        let (folder, path) = (self.folder.clone(), self.folder.join(&request.path));
        let opened = tokio::task::spawn_blocking(move || open(&folder, &path, &request.ranges)).await;
        let (file, ranges) = opened.map_err(|e| Status::internal(e.to_string()))?.map_err(to_status)?;
        let (sender, pieces) = mpsc::channel(PIECES);
        tokio::spawn(send(file, ranges, sender, turn, self.metrics.clone()));
        Ok(pieces)
    }
}

fn open(folder: &Path, path: &Path, ranges: &[ByteRange]) -> io::Result<(File, Vec<(u64, u64)>)> {
    // Plain names cannot climb, but a symbolic link could point elsewhere.
    if !path.canonicalize()?.starts_with(folder) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is not in the shuffle folder"));
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "not a file"));
    }
    let whole = [ByteRange { start: 0, end: None }];
    let ranges = if ranges.is_empty() { &whole[..] } else { ranges };
    let within = ranges.iter().map(|range| match range.end.unwrap_or(meta.len()) {
        end if range.start <= end && end <= meta.len() => Ok((range.start, end)),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file has {}", counted(meta.len(), "byte")))),
    });
    Ok((file, within.collect::<io::Result<_>>()?))
}

fn to_status(error: io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::NotFound => Status::not_found("no such shuffle file here"),
        io::ErrorKind::UnexpectedEof => Status::out_of_range(error.to_string()),
        io::ErrorKind::PermissionDenied => Status::permission_denied("not a shuffle file"),
        _ => Status::internal(error.to_string()),
    }
}

async fn send(
    mut file: File,
    ranges: Vec<(u64, u64)>,
    to: mpsc::Sender<Result<Bytes, Status>>,
    _turn: OwnedSemaphorePermit,
    metrics: Arc<Metrics>,
) {
    for (start, end) in ranges {
        let mut next = start;
        while next < end {
            let length = (end - next).min(CHUNK_BYTES as u64);
            let read = tokio::task::spawn_blocking(move || read_piece(file, next, length)).await;
            let piece = match read {
                Ok(Ok((given_back, piece))) => {
                    file = given_back;
                    Ok(piece)
                }
                Ok(Err(cause)) => return drop(to.send(Err(to_status(cause))).await),
                Err(cause) => return drop(to.send(Err(Status::internal(cause.to_string()))).await),
            };
            next += length;
            metrics.shuffle_served_bytes.inc_by(length);
            // A reader that hangs must not keep its turn.
            if !matches!(tokio::time::timeout(READER_TIMEOUT, to.send(piece)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

fn read_piece(mut file: File, start: u64, length: u64) -> io::Result<(File, Bytes)> {
    file.seek(SeekFrom::Start(start))?;
    let mut piece = Vec::with_capacity(length as usize);
    (&mut file).take(length).read_to_end(&mut piece)?;
    if piece.len() as u64 != length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
    }
    Ok((file, piece.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(service: &ShuffleService, path: &str, ranges: &[(u64, Option<u64>)]) -> Result<Vec<u8>, Status> {
        let ranges = ranges.iter().map(|&(start, end)| ByteRange { start, end }).collect();
        let mut pieces = service.read(ReadRequest { path: path.into(), ranges }).await?;
        let mut all = Vec::new();
        while let Some(piece) = pieces.recv().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn ranges_of_files_below_the_folder_are_served_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let folder = root.join("e1");
        std::fs::create_dir_all(folder.join("j/1.0.0")).unwrap();
        let content: Vec<u8> = (0..CHUNK_BYTES + 500).map(|i| i as u8).collect();
        std::fs::write(folder.join("j/1.0.0/data.arrow"), &content).unwrap();
        std::fs::write(root.join("secret"), "s").unwrap();
        std::os::unix::fs::symlink(root.join("secret"), folder.join("link")).unwrap();
        let service = ShuffleService::new(folder.clone(), Arc::new(Metrics::new().unwrap()));

        let file = "j/1.0.0/data.arrow";
        assert_eq!(read(&service, file, &[]).await.unwrap(), content);
        let cut = [&content[5..9], &content[CHUNK_BYTES..]].concat();
        assert_eq!(read(&service, file, &[(5, Some(9)), (CHUNK_BYTES as u64, None)]).await.unwrap(), cut);

        let code = async |path: &str, ranges: &[_]| read(&service, path, ranges).await.unwrap_err().code();
        assert_eq!(code(file, &[(0, Some(1 << 40))]).await, tonic::Code::OutOfRange);
        assert_eq!(code("j/2.0.0/data.arrow", &[]).await, tonic::Code::NotFound);
        assert_eq!(code("link", &[]).await, tonic::Code::PermissionDenied);
        let absolute = root.join("secret").to_string_lossy().into_owned();
        for climbing in ["../secret", "j/../../secret", "/etc/passwd", &absolute, "./j", "", "j/\0"] {
            assert_eq!(code(climbing, &[]).await, tonic::Code::InvalidArgument, "{climbing}");
        }
    }
}
