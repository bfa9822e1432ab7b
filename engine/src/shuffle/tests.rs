//! The store and the reader against files that our exchange writer and Ballista's other writers wrote.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use ballista_core::execution_plans::sort_shuffle::SortShuffleConfig;
use ballista_core::execution_plans::{
    RangeShuffleReaderExec, RangeShuffleWriterExec, ShuffleReaderExec, ShuffleWriterExec, SortShuffleWriterExec,
};
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::scheduler::{ExecutorMetadata, PartitionId, PartitionLocation, PartitionStats};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::expressions::col;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};
use selvedge_model::TaskRef;
use tempfile::TempDir;

use super::*;
use crate::store::{Location, ObjectStores, StoreOptions};

const REAL: &str = "e1";
const PARTITIONS: usize = 3;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Utf8, true)]))
}

fn source(task: i64) -> Arc<dyn ExecutionPlan> {
    let batch = |from: i64| {
        let keys: Vec<i64> = (from..from + 100).map(|k| k * 7 % 1000).collect();
        let values = keys.iter().map(|k| (k % 5 != 0).then(|| format!("value {k}")));
        RecordBatch::try_new(
            schema(),
            vec![Arc::new(Int64Array::from(keys.clone())), Arc::new(StringArray::from_iter(values))],
        )
        .unwrap()
    };
    let batches = vec![batch(task * 1000), batch(task * 1000 + 100)];
    MemorySourceConfig::try_new_exec(&[batches], schema(), None).unwrap()
}

fn context() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new_with_ballista().with_batch_size(64))
}

fn task(task_id: u32) -> TaskRef {
    TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 2, task_id }
}

fn location(task_id: u32, partition: usize, is_sort_shuffle: bool) -> PartitionLocation {
    location_of(REAL, task(task_id), partition, is_sort_shuffle)
}

/// Where a task says that a partition of its output is.
pub(super) fn location_of(real: &str, task: TaskRef, partition: usize, is_sort_shuffle: bool) -> PartitionLocation {
    let task_id = task.task_id;
    let id = VirtualExecutorId { real: real.into(), task }.to_string();
    PartitionLocation {
        map_partition_id: 0,
        partition_id: PartitionId { job_id: "j".into(), stage_id: 1, partition_id: partition },
        executor_meta: ExecutorMetadata {
            id,
            host: String::new(),
            port: 0,
            grpc_port: 0,
            specification: Default::default(),
            os_info: Default::default(),
        },
        partition_stats: PartitionStats::new(None, None, None),
        file_id: Some(task_id.into()),
        is_sort_shuffle,
    }
}

async fn drive(writer: Arc<dyn ExecutionPlan>) {
    let context = context().task_ctx();
    let count = writer.properties().output_partitioning().partition_count();
    let streams: Vec<_> = (0..count).map(|p| writer.execute(p, context.clone()).unwrap()).collect();
    futures::future::join_all(streams.into_iter().map(|s| s.try_collect::<Vec<_>>()))
        .await
        .into_iter()
        .for_each(|written| drop(written.unwrap()));
}

fn work_dir(root: &Path, task_id: u32) -> String {
    root.join(REAL).join(task_dir(&task(task_id))).to_string_lossy().into_owned()
}

async fn write_sorted_shuffle(root: &Path) {
    for id in 0..2u32 {
        let hash = Partitioning::Hash(vec![col("k", &schema()).unwrap()], PARTITIONS);
        let (input, config) = (source(id.into()), SortShuffleConfig::default());
        let node = SortShuffleWriterExec::try_new("j".into(), 1, input, String::new(), hash, config).unwrap();
        let path = root.join(REAL).join(data_path(&task(id), 0, Some(id.into()), true).unwrap());
        let writer = ExchangeWriter::for_stage(&node).unwrap();
        // Smaller batches than the reader's.
        let context = SessionContext::new_with_config(SessionConfig::new_with_ballista().with_batch_size(10));
        writer.write(&path, id.into(), context.task_ctx()).await.unwrap();
    }
}

fn by_key() -> LexOrdering {
    LexOrdering::new(vec![PhysicalSortExpr::new_default(col("k", &schema()).unwrap())]).unwrap()
}

async fn write_range_shuffle(root: &Path) {
    for id in 0..2u32 {
        let sorted = Arc::new(SortExec::new(by_key(), source(id.into())));
        let writer = RangeShuffleWriterExec::try_new("j".into(), 1, sorted, work_dir(root, id)).unwrap();
        drive(Arc::new(writer.with_task_id(id as usize))).await;
    }
}

fn files_below(folder: &Path, prefix: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files_below(&entry.path(), prefix, found);
        } else {
            found.push(entry.path().strip_prefix(prefix).unwrap().to_string_lossy().into_owned());
        }
    }
}

/// Moves everything to a shuffle location and leaves nothing on local disk.
async fn upload_all(local: &TempDir, remote: &TempDir) -> Arc<ShuffleStore> {
    let stores = ObjectStores::new(StoreOptions::default());
    let root = Location::parse(&format!("{}/", remote.path().display())).unwrap();
    let store = ShuffleStore::new(None, Some((root, stores)));
    let mut files = Vec::new();
    let folder = local.path().join(REAL);
    files_below(&folder, &folder, &mut files);
    assert!(store.upload(&folder, &files).await.unwrap().bytes > 0);
    std::fs::remove_dir_all(folder).unwrap();
    store
}

async fn rows(plan: Arc<dyn ExecutionPlan>, partition: usize) -> Result<Vec<(i64, Option<String>)>, DataFusionError> {
    let batches: Vec<RecordBatch> = plan.execute(partition, context().task_ctx())?.try_collect().await?;
    let rows = batches.iter().flat_map(|batch| {
        let keys = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone();
        let values = batch.column(1).as_any().downcast_ref::<StringArray>().unwrap().clone();
        (0..batch.num_rows())
            .map(|i| (keys.value(i), values.iter().nth(i).unwrap().map(str::to_owned)))
            .collect::<Vec<_>>()
    });
    Ok(rows.collect())
}

fn sort_reader(store: &Arc<ShuffleStore>) -> Arc<dyn ExecutionPlan> {
    let partitions = (0..PARTITIONS).map(|p| (0..2).map(|t| location(t, p, true)).collect()).collect();
    let hash = Partitioning::Hash(vec![col("k", &schema()).unwrap()], PARTITIONS);
    let reader = ShuffleReaderExec::try_new(1, partitions, schema(), hash).unwrap();
    replace_readers(Arc::new(reader), store.clone()).unwrap()
}

async fn all_rows(plan: &Arc<dyn ExecutionPlan>) -> Vec<(i64, Option<String>)> {
    let mut all = Vec::new();
    for partition in 0..plan.properties().output_partitioning().partition_count() {
        all.extend(rows(plan.clone(), partition).await.unwrap());
    }
    all.sort();
    all
}

async fn expected() -> Vec<(i64, Option<String>)> {
    let mut all = rows(source(0), 0).await.unwrap();
    all.extend(rows(source(1), 0).await.unwrap());
    all.sort();
    all
}

#[tokio::test]
async fn a_sort_shuffle_reads_the_same_from_local_disk_and_from_the_shuffle_location() {
    let (local, remote) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_sorted_shuffle(local.path()).await;
    let plan = sort_reader(&ShuffleStore::new(Some(local.path().to_owned()), None));
    assert_eq!(all_rows(&plan).await, expected().await);
    let metrics = plan.metrics().unwrap();
    assert_eq!(metrics.output_rows(), Some(400));
    assert_eq!(metrics.sum_by_name(SHUFFLE_ROWS_READ).unwrap().as_usize(), 400);
    assert!(metrics.sum_by_name(SHUFFLE_BYTES_READ).unwrap().as_usize() > 4000);

    let store = upload_all(&local, &remote).await;
    assert_eq!(all_rows(&sort_reader(&store)).await, expected().await);
    store.forget_job("j").await.unwrap();
    let mut left = Vec::new();
    files_below(remote.path(), remote.path(), &mut left);
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn small_batches_come_out_joined() {
    let local = TempDir::new().unwrap();
    write_sorted_shuffle(local.path()).await;
    let plan = sort_reader(&ShuffleStore::new(Some(local.path().to_owned()), None));
    let batches: Vec<_> = plan.execute(0, context().task_ctx()).unwrap().try_collect::<Vec<_>>().await.unwrap();
    let (last, full) = batches.split_last().unwrap();
    assert!(
        full.iter().all(|batch| batch.num_rows() == 64),
        "{:?}",
        batches.iter().map(|b| b.num_rows()).collect::<Vec<_>>()
    );
    assert!(last.num_rows() <= 64);
}

#[tokio::test]
async fn a_range_shuffle_comes_out_merged_from_local_disk_and_from_the_shuffle_location() {
    let (local, remote) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_range_shuffle(local.path()).await;
    let reader = |store: &Arc<ShuffleStore>, bounded: bool| {
        let partitions = vec![(0..2).map(|t| location(t, 0, false)).collect()];
        let mut reader = RangeShuffleReaderExec::try_new(1, partitions, schema(), by_key()).unwrap();
        if bounded {
            reader = reader.with_bounds(vec![(Some(900i64.into()), None)]).unwrap();
        }
        replace_readers(Arc::new(reader), store.clone()).unwrap()
    };
    let near = ShuffleStore::new(Some(local.path().to_owned()), None);
    let sorted = rows(reader(&near, false), 0).await.unwrap();
    assert!(sorted.is_sorted_by_key(|(k, _)| *k));
    assert_eq!(sorted.len(), 400);
    let top = rows(reader(&near, true), 0).await.unwrap();
    let wanted = sorted.iter().filter(|(k, _)| *k >= 900).count();
    assert_eq!(top.iter().filter(|(k, _)| *k >= 900).count(), wanted);

    let far = upload_all(&local, &remote).await;
    assert_eq!(rows(reader(&far, false), 0).await.unwrap(), sorted);
    assert_eq!(rows(reader(&far, true), 0).await.unwrap(), top);
}

#[tokio::test]
async fn a_result_partition_opens_with_its_schema() {
    let local = TempDir::new().unwrap();
    let writer = ShuffleWriterExec::try_new("j".into(), 1, source(4), work_dir(local.path(), 0)).unwrap();
    drive(Arc::new(writer)).await;
    let store = ShuffleStore::new(Some(local.path().to_owned()), None);
    let stream = store.open(&location(0, 0, false), 1000).await.unwrap();
    assert_eq!(stream.schema(), schema());
    let batches: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(batches.iter().map(|b| b.num_rows()).collect::<Vec<_>>(), [200]);
}

#[tokio::test]
async fn a_truncated_or_missing_remote_block_is_an_io_error_that_may_be_retried() {
    let (local, remote) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_sorted_shuffle(local.path()).await;
    let store = upload_all(&local, &remote).await;
    let data = remote.path().join(data_path(&task(1), 0, Some(1), true).unwrap());
    let whole = std::fs::read(&data).unwrap();
    std::fs::write(&data, &whole[..whole.len() - 5]).unwrap();
    let read = async |partition| rows(sort_reader(&store), partition).await.unwrap_err();
    let error = read(PARTITIONS - 1).await;
    assert!(matches!(error.find_root(), DataFusionError::IoError(_)), "{error:?}");
    let failure = crate::error::classify(&error);
    assert_eq!((failure.code.as_str(), failure.is_retryable()), ("SHUFFLE_LOST", true), "{failure:?}");

    std::fs::remove_file(&data).unwrap();
    assert!(matches!(read(0).await.find_root(), DataFusionError::IoError(_)));
}

/// Reads to the end; an error anywhere is the outcome.
async fn read(store: &ShuffleStore) -> Result<usize, DataFusionError> {
    let batches: Vec<RecordBatch> = store.open(&location(0, 0, false), 1000).await?.try_collect().await?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

#[tokio::test]
async fn a_whole_file_cut_short_anywhere_is_an_error_and_never_fewer_rows() {
    let (plain, sorted) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let writer = ShuffleWriterExec::try_new("j".into(), 1, source(0), work_dir(plain.path(), 0)).unwrap();
    drive(Arc::new(writer)).await;
    write_range_shuffle(sorted.path()).await;
    for root in [&plain, &sorted] {
        let data = root.path().join(REAL).join(data_path(&task(0), 0, Some(0), false).unwrap());
        let whole = std::fs::read(&data).unwrap();
        let store = ShuffleStore::new(Some(root.path().to_owned()), None);
        assert_eq!(read(&store).await.unwrap(), 200);
        for kept in [0, 3, 8, whole.len() / 3, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
            std::fs::write(&data, &whole[..kept]).unwrap();
            let error = read(&store).await.expect_err(&format!("{kept} of {} bytes were taken for all", whole.len()));
            let failure = crate::error::classify(&error);
            assert_eq!((failure.code.as_str(), failure.is_retryable()), ("SHUFFLE_LOST", true), "{kept}: {failure:?}");
        }
    }
}
