//! Uploads over an in-memory store: staged in parts, published, swept.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use selvedge_model::manifest::StagedFile;

use super::layout::TaskTag;
use super::remote::RemoteStore;
use super::rows::RowLayout;
use super::store::{StagedSink, TableStore, Target};
use super::task::{TaskMetrics, TaskWriter};
use crate::plan::{SinkSpec, WriteFormat};
use crate::store::Location;

fn store() -> (Arc<InMemory>, TableStore) {
    let memory = Arc::new(InMemory::new());
    (memory.clone(), TableStore::Remote(RemoteStore::new(memory.clone(), memory, None)))
}

async fn names(memory: &InMemory) -> Vec<String> {
    let all: Vec<_> = memory.list(None).map_ok(|o| o.location.to_string()).try_collect().await.unwrap();
    all
}

fn root() -> Path {
    Path::from("wh/t")
}

async fn stage(store: &TableStore, job: &str, n: u32, pieces: &[usize]) -> (Bytes, StagedFile) {
    let tag = TaskTag::new(job, None, 0);
    let name = tag.file_name(n, "parquet");
    let path = Path::from(format!("wh/t/{name}"));
    let target = Target { root: &root(), path: path.clone(), tag: &tag, file_name: &name, part_bytes: 10 };
    let mut sink: StagedSink = store.stage(target).await.unwrap();
    let mut whole = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let bytes: Vec<u8> = (0..*piece).map(|b| (b + i) as u8).collect();
        whole.extend_from_slice(&bytes);
        sink.push(bytes.into()).await.unwrap();
    }
    let staging = sink.finish().await.unwrap();
    let bytes = whole.len() as u64;
    (
        whole.into(),
        StagedFile {
            path: path.to_string(),
            staging,
            rows: 1,
            bytes,
            partition: vec![],
            stats: None,
            is_rejected: false,
        },
    )
}

#[tokio::test]
async fn an_upload_is_cut_into_even_parts_and_appears_whole_only_when_published() {
    for pieces in [&[][..], &[3], &[10], &[7, 7, 26, 1], &[95]] {
        let (memory, store) = store();
        let (whole, file) = stage(&store, "r-s1-a1", 0, pieces).await;
        assert!(store.list_visible(&root(), &[]).await.unwrap().is_empty(), "visible before it was published");
        store.publish(&file).await.unwrap();
        // The second one finds the upload gone and the object there.
        store.publish(&file).await.unwrap();
        let path = Path::from(file.path.as_str());
        assert_eq!(memory.get(&path).await.unwrap().bytes().await.unwrap(), whole);
        assert_eq!(store.list_visible(&root(), &[]).await.unwrap().len(), 1);
        assert_eq!(store.sweep(&root(), "r-s1-a1", std::slice::from_ref(&file)).await.unwrap(), 0);
        assert_eq!(names(&memory).await, [file.path]);
    }
}

#[tokio::test]
async fn a_sweep_aborts_what_no_task_reported_and_leaves_other_jobs_alone() {
    let (memory, store) = store();
    let (_, lost) = stage(&store, "r-s1-a1", 0, &[25]).await;
    let (_, other) = stage(&store, "r-s1-a10", 0, &[25]).await;
    assert_eq!(store.sweep(&root(), "r-s1-a1", &[]).await.unwrap(), 1);
    assert!(store.publish(&lost).await.is_err(), "an aborted upload was published");
    store.publish(&other).await.unwrap();
    assert_eq!(store.sweep(&root(), "r-s1-a10", std::slice::from_ref(&other)).await.unwrap(), 0);
    assert_eq!(names(&memory).await, [other.path]);
}

#[tokio::test]
async fn a_dropped_upload_aborts_itself() {
    let (memory, store) = store();
    let tag = TaskTag::new("r-s1-a1", None, 0);
    let (path, root) = (Path::from("wh/t/x"), root());
    let target = Target { root: &root, path, tag: &tag, file_name: "x", part_bytes: 10 };
    let mut sink = store.stage(target).await.unwrap();
    sink.push(Bytes::from_static(&[0; 35])).await.unwrap();
    assert_eq!(names(&memory).await.len(), 1);
    drop(sink);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(names(&memory).await.is_empty());
}

#[tokio::test]
async fn removing_and_probing_leave_nothing() {
    let (memory, store) = store();
    store.probe(&root()).await.unwrap();
    memory.put(&Path::from("wh/t/a"), "x".into()).await.unwrap();
    store.remove(&root(), &["wh/t/a".into(), "wh/t/gone".into()]).await.unwrap();
    assert!(names(&memory).await.is_empty());
}

fn writer(store: &TableStore, pool: &Arc<dyn MemoryPool>) -> datafusion::error::Result<TaskWriter> {
    let spec = Arc::new(SinkSpec {
        location: Location::parse("/unused").unwrap(),
        partition_by: vec![],
        data_columns: 2,
        required: vec![],
        job_id: "r-s1-a1".into(),
        target_file_bytes: 1 << 40,
        compression: "uncompressed".into(),
        single_file: None,
        format: WriteFormat::Parquet,
        with_stats: false,
        directory: String::new(),
    });
    let schema = Schema::new(vec![Field::new("v", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
    let layout = RowLayout::new(&schema, 2, vec![], &[]);
    let memory = MemoryConsumer::new("test").register(pool);
    let metrics = TaskMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
    TaskWriter::new(spec, store.clone(), TaskTag::new("r-s1-a1", None, 0), layout, memory, metrics)
}

#[tokio::test]
async fn a_full_pool_ends_row_groups_early_and_loses_no_row() {
    let (memory, store) = store();
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(20 << 20));
    let mut writer = writer(&store, &pool).unwrap();
    let schema =
        Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]));
    let batches: i64 = 60;
    for batch in 0..batches {
        let ids: Vec<i64> = (0..8192).map(|i| batch * 8192 + i).collect();
        let texts = StringArray::from_iter_values(ids.iter().map(|i| format!("{i:0>100}")));
        let columns = vec![Arc::new(Int64Array::from(ids)) as _, Arc::new(texts) as _];
        writer.write_sorted(&RecordBatch::try_new(schema.clone(), columns).unwrap()).await.unwrap();
    }
    let files = writer.finish().await.unwrap();
    assert_eq!(pool.reserved(), 0);
    let [file] = files.as_slice() else { panic!("{} files", files.len()) };
    store.publish(file).await.unwrap();
    let bytes = memory.get(&Path::parse(&file.path).unwrap()).await.unwrap().bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, file.bytes);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().num_rows(), batches * 8192);
    assert!(metadata.num_row_groups() > 1 && metadata.num_row_groups() < 12, "{}", metadata.num_row_groups());
    assert!(
        metadata.row_group(0).columns().iter().all(|c| c.offset_index_offset().is_some()
            && c.column_index_offset().is_some()
            && c.statistics().is_some())
    );
    let rows: usize = reader.build().unwrap().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(rows as i64, batches * 8192);
}

#[tokio::test]
async fn a_pool_without_room_refuses_a_writer_before_it_stages_anything() {
    let (memory, store) = store();
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(1 << 20));
    assert!(writer(&store, &pool).is_err());
    assert!(names(&memory).await.is_empty());
}
