//! Opens one block, that is one output partition of one task, whatever its format.
//!
//! A slice of a sort shuffle's file and a passthrough file are decoded while they arrive. The IPC file format of range
//! shuffles needs seeking, so such a file is brought to local disk first. Who asks: `reader.rs` and `ShuffleStore::open`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use ballista_core::execution_plans::WidenedBound;
use ballista_core::execution_plans::range_shuffle::{is_ipc_file, open_ipc_file, open_ipc_file_range};
use ballista_core::serde::scheduler::PartitionLocation;
use datafusion::error::{DataFusionError, Result};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use selvedge_model::TaskRef;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::decode::{self, Input, IpcStream};
use super::error::{SHUFFLE_LOST, ShuffleError};
use super::fetch::Fetch;
use super::paths;
use super::peer::ByteRange;
use super::source::ReadCounts;
use super::store::ShuffleStore;
use crate::error::classify;

pub(super) type Batches = BoxStream<'static, Result<RecordBatch>>;

/// A block ready to be read, and its schema unless nothing was ever written.
pub(super) struct Block {
    pub schema: Option<SchemaRef>,
    pub batches: Batches,
}

/// What to read and how.
#[derive(Clone)]
pub(super) struct BlockRequest {
    pub location: PartitionLocation,
    /// The keys wanted; more may come.
    pub bound: Option<WidenedBound>,
    /// Whether to find the schema out; a plan node knows it.
    pub with_schema: bool,
    pub counts: ReadCounts,
    /// The task that reads, by the engine's name for it.
    pub reader: String,
}

/// Opens a block. With somebody to ask, a missing one is waited for.
pub(super) async fn open(store: &ShuffleStore, mut request: BlockRequest) -> Result<Block> {
    loop {
        let Some(missing) = store.missing() else { return try_open(store, request).await };
        request.location = missing.current(request.location);
        let (writer, _) = paths::locate(&request.location)?;
        if !missing.is_missed(&writer.task) {
            match try_open(store, request.clone()).await {
                Err(error) if is_lost(&error) => {
                    tracing::warn!(output = %writer, %error, "a task's output is missing: waiting until it is made again");
                }
                opened => return opened,
            }
        }
        missing.wait(&writer.task, &request.reader).await;
    }
}

/// Whether another copy of the block would help.
fn is_lost(error: &DataFusionError) -> bool {
    classify(error).code == SHUFFLE_LOST
}

async fn try_open(store: &ShuffleStore, request: BlockRequest) -> Result<Block> {
    let counts = request.counts.clone();
    let mut block = if request.location.is_sort_shuffle {
        open_slice(store, request).await?
    } else {
        open_file(store, request).await?
    };
    let rows = counts.rows;
    block.batches = block.batches.inspect_ok(move |batch| rows.add(batch.num_rows())).boxed();
    Ok(block)
}

async fn open_slice(store: &ShuffleStore, request: BlockRequest) -> Result<Block> {
    let BlockRequest { location, counts, with_schema, .. } = request;
    let (writer, path) = paths::locate(&location)?;
    let index_path = paths::sort_index(&path);
    let index_sources = store.sources(&location, &writer, &index_path)?;
    let index = store.indexes().get(Fetch::new(index_path, index_sources, whole(), counts.clone())).await?;
    let pieces = index.pieces(location.partition_id.partition_id, &path)?;
    let sources = store.sources(&location, &writer, &path)?;
    let mut ipc = IpcStream::framed(Fetch::of_pieces(path.clone(), sources.clone(), pieces, counts.clone()));
    let mut schema = None;
    if with_schema {
        schema = ipc.schema().await?;
        if schema.is_none() {
            let header = vec![index.header()];
            schema = IpcStream::framed(Fetch::of_pieces(path, sources, header, counts)).schema().await?;
        }
    }
    Ok(Block { schema, batches: decode::batches(ipc) })
}

async fn open_file(store: &ShuffleStore, request: BlockRequest) -> Result<Block> {
    let BlockRequest { location, bound, counts, with_schema, .. } = request;
    let (writer, path) = paths::locate(&location)?;
    if let Some(local) = store.local_file(&writer, &path)
        && is_ipc_file(&local)
    {
        match read_ipc_file(local, bound.clone(), None).await {
            Ok(block) => return Ok(block),
            Err(cause) => tracing::warn!(path, %cause, "a local shuffle file is damaged; trying other places"),
        }
    }
    let sources = store.sources(&location, &writer, &path)?;
    let mut ipc = IpcStream::new(Fetch::new(path.clone(), sources, whole(), counts.clone()));
    if !ipc.is_file_format().await? {
        let schema = if with_schema { ipc.schema().await? } else { None };
        return Ok(Block { schema, batches: decode::batches(ipc) });
    }
    let _turn = store.download_turn().await;
    let folder = store.temp_dir().map_err(DataFusionError::IoError)?;
    let data = folder.path().join("data.arrow");
    let (head, rest) = ipc.into_bytes();
    save(&data, head.as_slice(), rest).await?;
    if bound.is_some() {
        let index = paths::range_index(&path);
        let sources = store.sources(&location, &writer, &index)?;
        let beside = PathBuf::from(paths::range_index(&data.to_string_lossy()));
        save(&beside, &[], Input::Plain(Fetch::new(index, sources, whole(), counts))).await?;
    }
    read_ipc_file(data, bound, Some(folder)).await
}

async fn save(to: &Path, head: &[u8], mut rest: Input) -> Result<()> {
    let mut file = tokio::fs::File::create(to).await?;
    file.write_all(head).await?;
    while let Some(piece) = rest.next().await? {
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    Ok(())
}

/// Opens a file in the IPC file format; `folder` lives as long as the batches are read.
async fn read_ipc_file(path: PathBuf, bound: Option<WidenedBound>, folder: Option<TempDir>) -> Result<Block> {
    let shown = path.display().to_string();
    let damaged = move |cause: String| ShuffleError::Damaged { path: shown.clone(), cause };
    let opened = tokio::task::spawn_blocking(move || {
        let whole = open_ipc_file(&path)?;
        let schema = whole.schema();
        let selected: Box<dyn Iterator<Item = _> + Send> = match bound {
            Some((low, high)) => Box::new(open_ipc_file_range(&path, low.as_ref(), high.as_ref())?),
            None => Box::new(whole),
        };
        Ok::<_, ballista_core::error::BallistaError>((schema, selected))
    })
    .await
    .map_err(|e| DataFusionError::IoError(std::io::Error::other(e)))?;
    let (schema, selected) = opened.map_err(|e| damaged(e.to_string()))?;
    let batches = stream::iter(selected.map(move |batch| {
        let _folder = &folder;
        batch.map_err(|e| damaged(e.to_string()).into())
    }));
    Ok(Block { schema: Some(schema), batches: batches.boxed() })
}

fn whole() -> ByteRange {
    ByteRange { start: 0, end: None }
}

/// A block that is opened when first asked for a batch.
pub(super) fn lazily(store: Arc<ShuffleStore>, request: BlockRequest) -> Batches {
    stream::once(begin(store, request)).try_flatten().boxed()
}

/// Opens a block and reads its first batch. Until there is one, another copy of the block is as good: after that a reader
/// would see rows twice, so the task has to begin again.
async fn begin(store: Arc<ShuffleStore>, mut request: BlockRequest) -> Result<Batches> {
    loop {
        let mut batches = open(&store, request.clone()).await?.batches;
        let first = match batches.next().await {
            None => return Ok(batches),
            Some(first) => first,
        };
        let Some(missing) = store.missing() else { return Ok(stream::iter([first]).chain(batches).boxed()) };
        request.location = missing.current(request.location);
        let (writer, _) = paths::locate(&request.location)?;
        match first {
            Err(error) if is_lost(&error) => missing.note(&writer.task),
            first => {
                let rest = stream::iter([first]).chain(batches);
                return Ok(rest.inspect_err(move |error| note_lost(&store, &writer.task, error)).boxed());
            }
        }
    }
}

fn note_lost(store: &ShuffleStore, task: &TaskRef, error: &DataFusionError) {
    if let Some(missing) = store.missing().filter(|_| is_lost(error)) {
        missing.note(task);
    }
}
