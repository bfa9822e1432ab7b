//! What the writer lays down, read back with the store: every row once, whatever the shape of the input and of memory.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use ballista_core::execution_plans::sort_shuffle::SortShuffleConfig;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::expressions::col;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use selvedge_model::TaskRef;
use tempfile::TempDir;

use super::*;
use crate::shuffle::tests::location_of;
use crate::shuffle::{ShuffleStore, data_path};

const PARTITIONS: usize = 5;

struct Bench {
    root: TempDir,
    context: SessionContext,
}

impl Bench {
    fn new(memory: usize) -> Self {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(memory));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let config = SessionConfig::new_with_ballista().with_batch_size(100);
        let context = SessionContext::new_with_config_rt(config, runtime);
        Self { root: tempfile::tempdir().unwrap(), context }
    }

    fn task() -> TaskRef {
        TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 0, task_id: 3 }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("e").join(data_path(&Self::task(), 0, Some(3), true).unwrap())
    }

    async fn write(&self, inputs: &[Vec<RecordBatch>], schema: &SchemaRef) -> Result<Vec<ShuffleWritePartition>> {
        let source: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(inputs, schema.clone(), None)?;
        let hash = Partitioning::Hash(vec![col("k", schema)?], PARTITIONS);
        let config = SortShuffleConfig::default();
        let node = SortShuffleWriterExec::try_new("j".into(), 1, source, String::new(), hash, config)?;
        let writer = ExchangeWriter::for_stage(&node).unwrap();
        writer.write(&self.path(), 3, self.context.task_ctx()).await
    }

    async fn read(&self, partition: usize) -> Result<Vec<RecordBatch>> {
        let store = ShuffleStore::new(Some(self.root.path().to_owned()), None);
        let location = location_of("e", Self::task(), partition, true);
        store.open(&location, 1000).await?.try_collect().await
    }

    /// Every key with the partition it is in and the values it has; the rows of a key stay in order.
    async fn read_all(&self) -> BTreeMap<Option<i64>, (usize, Vec<Option<String>>)> {
        let mut rows: BTreeMap<_, (usize, Vec<_>)> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for batch in self.read(partition).await.unwrap() {
                for (key, value) in pairs(&batch) {
                    let (place, values) = rows.entry(key).or_insert((partition, Vec::new()));
                    assert_eq!(*place, partition, "key {key:?} is in two partitions");
                    values.push(value);
                }
            }
        }
        rows
    }
}

fn pairs(batch: &RecordBatch) -> Vec<(Option<i64>, Option<String>)> {
    let keys = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
    let values = arrow::compute::cast(batch.column(1), &DataType::Utf8).unwrap();
    let values = values.as_any().downcast_ref::<StringArray>().unwrap();
    keys.iter().zip(values.iter().map(|v| v.map(str::to_owned))).collect()
}

fn schema(values: DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", values, true)]))
}

/// Batches of `rows` rows whose values do not compress.
fn batches(schema: &SchemaRef, count: usize, rows: usize, width: usize, first: i64) -> Vec<RecordBatch> {
    let mut state = first as u64 + 1;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let batch = |_| {
        let keys: Vec<Option<i64>> = (0..rows).map(|_| (random() % 50 != 0).then(|| (random() % 300) as i64)).collect();
        let value = |_| (random() % 20 != 0).then(|| (0..width / 8).map(|_| format!("{:08x}", random())).collect());
        let values: Vec<Option<String>> = (0..rows).map(value).collect();
        let values: ArrayRef = match schema.field(1).data_type() {
            DataType::Utf8View => Arc::new(StringViewArray::from_iter(values)),
            _ => Arc::new(StringArray::from_iter(values)),
        };
        RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(keys)), values]).unwrap()
    };
    (0..count).map(batch).collect()
}

fn expected(inputs: &[Vec<RecordBatch>]) -> HashMap<Option<i64>, Vec<Option<String>>> {
    let mut rows: HashMap<_, Vec<_>> = HashMap::new();
    for (key, value) in inputs.iter().flatten().flat_map(pairs) {
        rows.entry(key).or_default().push(value);
    }
    rows
}

async fn check(bench: &Bench, inputs: &[Vec<RecordBatch>], schema: &SchemaRef) {
    let written = bench.write(inputs, schema).await.unwrap();
    let wanted = expected(inputs);
    let rows: usize = inputs.iter().flatten().map(RecordBatch::num_rows).sum();
    assert_eq!(written.iter().map(|p| p.num_rows as usize).sum::<usize>(), rows);
    let read = bench.read_all().await;
    assert_eq!(read.len(), wanted.len());
    for (key, (_, values)) in read {
        assert_eq!(values, wanted[&key], "{key:?}");
    }
}

#[tokio::test]
async fn every_row_is_in_one_partition_once_with_one_input_and_with_three() {
    for values in [DataType::Utf8, DataType::Utf8View] {
        let schema = schema(values);
        for inputs in [1, 3] {
            let inputs: Vec<_> = (0..inputs).map(|i| batches(&schema, 7, 130, 40, i)).collect();
            check(&Bench::new(1 << 30), &inputs, &schema).await;
        }
    }
}

#[tokio::test]
async fn without_memory_it_writes_many_runs_and_loses_nothing() {
    let schema = schema(DataType::Utf8);
    let inputs = [batches(&schema, 40, 100, 4000, 0), batches(&schema, 40, 100, 4000, 9)];
    let bench = Bench::new(1);
    check(&bench, &inputs, &schema).await;
    let index = std::fs::read(super::super::paths::sort_index(&bench.path().to_string_lossy())).unwrap();
    let runs = u32::from_le_bytes(*index[12..].first_chunk().unwrap());
    assert!(runs > 4, "{runs}");
}

#[tokio::test]
async fn one_key_alone_and_slices_of_a_large_batch_are_written_whole() {
    let schema = schema(DataType::Utf8);
    let large = batches(&schema, 1, 5000, 16, 0).remove(0);
    let one_key: ArrayRef = Arc::new(Int64Array::from(vec![7; 5000]));
    let skewed = RecordBatch::try_new(schema.clone(), vec![one_key, large.column(1).clone()]).unwrap();
    for batch in [large, skewed] {
        let slices: Vec<_> = (0..50).map(|i| batch.slice(i * 100, 100)).collect();
        check(&Bench::new(1 << 30), &[slices], &schema).await;
    }
}

#[tokio::test]
async fn partitions_without_rows_are_left_out() {
    let schema = schema(DataType::Utf8);
    let bench = Bench::new(1 << 30);
    assert_eq!(bench.write(&[Vec::new()], &schema).await.unwrap(), []);
    assert_eq!(bench.read(0).await.unwrap(), []);
}

#[tokio::test]
async fn a_changed_byte_anywhere_is_an_error_and_never_another_answer() {
    let schema = schema(DataType::Utf8);
    let bench = Bench::new(1 << 30);
    bench.write(&[batches(&schema, 4, 100, 16, 0)], &schema).await.unwrap();
    let whole = std::fs::read(bench.path()).unwrap();
    let wanted = bench.read_all().await;
    for at in (0..whole.len()).step_by(97) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        std::fs::write(bench.path(), changed).unwrap();
        let mut failures = 0;
        for partition in 0..PARTITIONS {
            match bench.read(partition).await {
                Err(e) => {
                    failures += 1;
                    assert_eq!(crate::error::classify(&e).code, "SHUFFLE_LOST", "{at}: {e}");
                }
                Ok(batches) => {
                    batches.iter().flat_map(pairs).for_each(|(key, _)| assert_eq!(wanted[&key].0, partition))
                }
            }
        }
        // Bytes of the header are in no piece: nothing but an empty partition's schema comes from them.
        assert!(failures == 1 || at < 400, "byte {at}: {failures} failures");
    }
}
