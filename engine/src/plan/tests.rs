//! Writes run in plain DataFusion, published by hand, read back, and compared with their input.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::MemTable;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, execute_stream_partitioned};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use selvedge_model::manifest::{Accepted, StagedFile, accept};

use super::*;
use crate::store::{Location, ObjectStores, StoreOptions};
use crate::write::{check_writable, list_visible, publish_file, sweep_staging};

mod contract;

/// 30,000 rows: `k` is NULL, odd or plain, and `skew` is one value nearly always.
const ROWS: &str = "SELECT value AS v, repeat('x', (value % 40)::int) AS s, \
    CASE value % 5 WHEN 0 THEN NULL WHEN 1 THEN 'a/b=c d' WHEN 2 THEN 'é:%' WHEN 3 THEN 'plain' ELSE '' END AS k, \
    CASE WHEN value % 100 = 0 THEN value % 7 ELSE 0 END AS skew \
    FROM (SELECT * FROM generate_series(1, 10000) UNION ALL SELECT * FROM generate_series(10001, 30000))";

fn stores() -> ObjectStores {
    ObjectStores::new(StoreOptions::default())
}

fn session() -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(4).with_round_robin_repartition(false);
    SessionContext::new_with_config(config.with_extension(Arc::new(stores())))
}

fn spec(root: &Path, plan: &LogicalPlan, partition_by: &[&str]) -> WriteSpec {
    let schema = plan.schema().as_arrow().clone();
    let fields = schema.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true)));
    WriteSpec {
        location: Location::parse(root.to_str().unwrap()).unwrap(),
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        partition_by: partition_by.iter().map(ToString::to_string).collect(),
        job_id: "r-s1-a1".into(),
        target_file_bytes: 256 << 20,
        compression: "zstd".into(),
        single_file: None,
        format: WriteFormat::Parquet,
        with_stats: false,
        is_spread: true,
    }
}

async fn physical(context: &SessionContext, plan: LogicalPlan, spec: WriteSpec) -> Arc<dyn ExecutionPlan> {
    context.state().create_physical_plan(&write_plan(plan, spec).unwrap()).await.unwrap()
}

async fn run(context: &SessionContext, plan: Arc<dyn ExecutionPlan>) -> Accepted {
    let writers = plan.output_partitioning().partition_count() as u32;
    let mut rows = Vec::new();
    for (writer, stream) in execute_stream_partitioned(plan, context.task_ctx()).unwrap().into_iter().enumerate() {
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        rows.extend(batches.iter().flat_map(|b| manifest_rows(b, writer as u32).unwrap()));
    }
    accept(rows, writers).unwrap()
}

async fn publish(location: &Location, accepted: &Accepted) {
    for file in &accepted.files {
        publish_file(&stores(), location, file).await.unwrap();
        publish_file(&stores(), location, file).await.unwrap();
    }
    sweep_staging(&stores(), location, "r").await.unwrap();
}

fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().to_str().unwrap().to_owned()),
        }
    }
    found
}

/// The rows of a query as text, in an order of their own.
async fn rows(context: &SessionContext, sql: &str) -> Vec<String> {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        let options = FormatOptions::new().with_null("NULL");
        let columns = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap());
        let columns: Vec<_> = columns.collect();
        rows.extend(
            (0..batch.num_rows()).map(|i| columns.iter().map(|c| format!("{}|", c.value(i))).collect::<String>()),
        );
    }
    rows.sort_unstable();
    rows
}

/// What published files hold, each row with the partition value of its file.
async fn written(accepted: &Accepted, columns: &str) -> Vec<String> {
    let context = session();
    let mut all = Vec::new();
    for (i, file) in accepted.files.iter().enumerate() {
        let name = format!("f{i}");
        let bytes = bytes::Bytes::from(std::fs::read(format!("/{}", file.path)).unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let table = MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
        context.register_table(&name, Arc::new(table)).unwrap();
        let values: String =
            file.partition.iter().map(|(_, v)| format!("{}|", v.as_deref().unwrap_or("NULL"))).collect();
        let found = rows(&context, &format!("SELECT {columns} FROM {name}")).await;
        assert_eq!(found.len() as u64, file.rows);
        all.extend(found.into_iter().map(|row| row + &values));
    }
    all.sort_unstable();
    all
}

#[tokio::test]
async fn a_partitioned_write_reads_back_equal_and_makes_one_file_a_value() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let plan = context.state().create_logical_plan(&format!("SELECT v, s, skew, k FROM ({ROWS})")).await.unwrap();
    let root = dir.path().join("odd root");
    let spec = spec(&root, &plan, &["k"]);
    let location = spec.location.clone();
    let exec = physical(&context, plan, spec).await;
    let accepted = run(&context, exec).await;
    // NULL and the empty string share a directory, as in Hive, but not a file.
    assert_eq!((accepted.files.len(), accepted.rows), (5, 30_000));
    let by = [Arc::new(Field::new("k", DataType::Utf8, true))];
    assert!(list_visible(&stores(), &location, &by).await.unwrap().is_empty());
    publish(&location, &accepted).await;

    let visible = list_visible(&stores(), &location, &by).await.unwrap();
    let mut values: Vec<Option<&str>> = visible.iter().map(|f| f.partition[0].1.as_deref()).collect();
    values.sort_unstable();
    assert_eq!(values, [None, None, Some("a/b=c d"), Some("plain"), Some("é:%")]);
    assert_eq!(root.read_dir().unwrap().count(), 4, "a directory for each value, one for NULL and the empty string");
    assert!(!root.join(".staging").exists());

    let given = rows(&context, &format!("SELECT v, s, skew, k FROM ({ROWS})")).await;
    assert_eq!(written(&accepted, "v, s, skew").await, given);
}

#[tokio::test]
async fn a_huge_value_is_spread_and_files_end_at_their_target_size() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let sql = format!("SELECT v, md5(v::varchar) AS s, skew FROM ({ROWS})");
    let plan = context.state().create_logical_plan(&sql).await.unwrap();
    let mut spec = spec(dir.path(), &plan, &["skew"]);
    spec.target_file_bytes = 64 << 10;
    let exec = physical(&context, plan, spec).await;
    let writers = exec.output_partitioning().partition_count();
    let location = Location::parse(dir.path().to_str().unwrap()).unwrap();
    let accepted = run(&context, exec).await;
    let big = |f: &&StagedFile| f.partition[0].1.as_deref() == Some("0");
    // A file is named after its writer: `job-partition-n.parquet`.
    let writer = |f: &StagedFile| f.path.rsplit('-').nth(1).unwrap().to_owned();
    let busy: BTreeSet<String> = accepted.files.iter().filter(big).map(writer).collect();
    assert!(writers == 4 && busy.len() > 1, "{busy:?} of {writers} writers had rows of the huge value");
    let sizes: Vec<u64> = accepted.files.iter().filter(big).map(|f| f.bytes).collect();
    assert!(sizes.len() > busy.len() && sizes.iter().all(|bytes| *bytes < 512 << 10), "{sizes:?}");
    let small: Vec<_> = accepted.files.iter().filter(|f| !big(f)).map(|f| f.partition.clone()).collect();
    assert_eq!(small.len(), small.iter().collect::<BTreeSet<_>>().len(), "a small value became several files");
    publish(&location, &accepted).await;
    let given = rows(&context, &sql).await;
    assert_eq!(written(&accepted, "v, s").await, given);
}

/// About a fifth of what one open file for each partition would take; wherever the last one ends, the sort of the others
/// finds what it needs.
#[tokio::test]
async fn many_partitions_take_little_memory_and_one_file_each() {
    for mebibytes in [150, 160, 166, 170, 175] {
        let dir = tempfile::tempdir().unwrap();
        let pool = Arc::new(crate::session::BorrowingPool::new(mebibytes << 20));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
        let context = SessionContext::new_with_state(
            SessionStateBuilder::new_from_existing(session().state()).with_runtime_env(runtime).build(),
        );
        let sql = format!("SELECT v, s, CASE WHEN v % 61 < 50 THEN v % 61 END AS part FROM ({ROWS})");
        let plan = plan_of(&context, &sql).await;
        let exec = physical(&context, plan.clone(), spec(dir.path(), &plan, &["part"])).await;
        assert!(!displayable(exec.as_ref()).indent(false).to_string().contains("SortExec"));
        let accepted = run(&context, exec).await;
        assert_eq!((accepted.files.len(), accepted.rows), (51, 30_000));
        let root = Location::parse(dir.path().to_str().unwrap()).unwrap();
        publish(&root, &accepted).await;
        assert_eq!(written(&accepted, "v, s").await, rows(&context, &sql).await);
    }
}

#[tokio::test]
async fn a_failing_input_leaves_nothing() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let sql = "SELECT value AS v, 1 / (value - 29000) AS x, value % 3 AS k FROM generate_series(1, 30000)";
    for by in [&[][..], &["k"]] {
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        let exec = physical(&context, plan, spec(dir.path(), &plan_of(&context, sql).await, by)).await;
        let error = collect(exec, context.task_ctx()).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("divide by zero"), "{error}");
        assert_eq!(files(dir.path()), Vec::<String>::new());
    }
}

async fn plan_of(context: &SessionContext, sql: &str) -> LogicalPlan {
    context.state().create_logical_plan(sql).await.unwrap()
}

#[tokio::test]
async fn a_dropped_writer_and_a_sweep_leave_nothing() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let plan = plan_of(&context, ROWS).await;
    let mut spec = spec(dir.path(), &plan, &[]);
    let location = spec.location.clone();
    spec.target_file_bytes = 1 << 10;
    let exec = physical(&context, plan, spec).await;
    // Staged, and never reported to anybody.
    run(&context, exec).await;
    assert!(files(dir.path()).len() > 2);
    assert_eq!(sweep_staging(&stores(), &location, "other").await.unwrap(), 0);
    assert!(sweep_staging(&stores(), &location, "r").await.unwrap() > 2);
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_to_write_still_reports_an_end_and_asks_for_no_exchange() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    for (sql, single) in [("WHERE false", false), ("WHERE v < 0", false), ("WHERE v < 0", true)] {
        let plan = plan_of(&context, &format!("SELECT v, s, k FROM ({ROWS}) {sql}")).await;
        let mut spec = spec(dir.path(), &plan, if single { &[] } else { &["k"] });
        spec.single_file = single.then(|| "one.parquet".to_owned());
        let exec = physical(&context, plan, spec).await;
        let shown = displayable(exec.as_ref()).indent(false).to_string();
        assert_eq!(sql == "WHERE false", !shown.contains("RepartitionExec") && !single, "{shown}");
        let accepted = run(&context, exec).await;
        assert_eq!((accepted.rows, accepted.files.len()), (0, usize::from(single)));
    }
}

#[tokio::test]
async fn a_value_that_is_not_to_be_spread_is_one_tasks_work() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let sql = format!("SELECT v, md5(v::varchar) AS s, skew FROM ({ROWS})");
    let plan = context.state().create_logical_plan(&sql).await.unwrap();
    let spec = WriteSpec { is_spread: false, target_file_bytes: 64 << 10, ..spec(dir.path(), &plan, &["skew"]) };
    let location = spec.location.clone();
    let exec = physical(&context, plan, spec).await;
    assert!(!displayable(exec.as_ref()).indent(true).to_string().contains("SpreadExec"));
    let accepted = run(&context, exec).await;
    let big: Vec<_> = accepted.files.iter().filter(|f| f.partition[0].1.as_deref() == Some("0")).collect();
    let writers: BTreeSet<_> = big.iter().map(|f| f.path.rsplit('-').nth(1).unwrap()).collect();
    assert!(big.len() > 1 && writers.len() == 1, "{writers:?} wrote {} files", big.len());
    publish(&location, &accepted).await;
    assert_eq!(written(&accepted, "v, s").await, rows(&context, &sql).await);
}

#[tokio::test]
async fn a_single_file_keeps_the_querys_order() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    for format in [WriteFormat::Csv, WriteFormat::Json, WriteFormat::Parquet] {
        let plan = plan_of(&context, &format!("SELECT v, s FROM ({ROWS}) ORDER BY v % 100, v")).await;
        let mut spec = spec(dir.path(), &plan, &[]);
        spec.format = format;
        spec.single_file = Some(format!("one.{}", format.extension()));
        let location = spec.location.clone();
        let exec = physical(&context, plan, spec).await;
        publish(&location, &run(&context, exec).await).await;
    }
    let csv = std::fs::read_to_string(dir.path().join("one.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().take(4).map(|l| l.split(',').next().unwrap()).collect();
    assert_eq!(lines, ["v", "100", "200", "300"]);
    let json = std::fs::read_to_string(dir.path().join("one.json")).unwrap();
    assert!(json.starts_with("{\"v\":100,") && json.lines().count() == 30_000);
}

#[tokio::test]
async fn both_nodes_survive_the_codec_and_a_plan_of_another_release_is_refused() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let plan = plan_of(&context, &format!("SELECT v, s, k FROM ({ROWS})")).await;
    let spec = spec(dir.path(), &plan, &["k"]);
    let values = plan_of(&context, "SELECT * FROM (VALUES (1, 'a', 'x'), (2, 'b', NULL)) AS t(v, s, k)").await;
    let spec = WriteSpec { schema: values.schema().inner().clone(), ..spec };
    let exec = physical(&context, values, spec).await;
    let codec = codec::SelvedgePhysicalCodec::default();
    let bytes = physical_plan_to_bytes_with_extension_codec(exec.clone(), &codec).unwrap();
    let task = TaskContext::default();
    let back = physical_plan_from_bytes_with_extension_codec(&bytes, &task, &codec).unwrap();
    let show = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
    assert_eq!(show(&back), show(&exec));
    assert!(show(&back).contains("SpreadExec"), "{}", show(&back));
    assert_eq!(run(&context, back).await.rows, 2);

    let at = bytes.windows(8).position(|w| w == b"SELVEDGE").unwrap() + 8;
    let mut other = bytes.to_vec();
    other[at] = 9;
    let error = physical_plan_from_bytes_with_extension_codec(&other, &task, &codec).unwrap_err();
    assert!(error.to_string().contains("same release"), "{error}");
}

#[tokio::test]
async fn a_schema_that_does_not_fit_is_refused_in_words() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let plan = plan_of(&context, "SELECT 1 AS a, 2 AS b").await;
    let good = spec(dir.path(), &plan, &["b"]);
    let refused = |plan: &LogicalPlan, spec: WriteSpec| write_plan(plan.clone(), spec).unwrap_err().to_string();
    assert!(refused(&plan_of(&context, "SELECT 1").await, good.clone()).contains("takes 2: a, b"));
    let named = |by: &[&str]| WriteSpec { partition_by: by.iter().map(ToString::to_string).collect(), ..good.clone() };
    assert!(refused(&plan, named(&["a"])).contains("'a'"));
    assert!(refused(&plan, named(&["a", "b"])).contains("every column"));
    assert!(refused(&plan, WriteSpec { compression: "zip".into(), ..good.clone() }).contains("'zip'"));
    // Types are cast, names replaced, by position.
    let other = plan_of(&context, "SELECT 'x' AS b, 7 AS a").await;
    let text = write_plan(other, WriteSpec { partition_by: vec![], ..good }).unwrap().display_indent().to_string();
    assert!(text.contains("CAST(b AS Int64) AS a"), "{text}");
}

#[tokio::test]
async fn the_root_of_the_disk_is_never_a_table() {
    let root = Location::parse("/").unwrap();
    assert_eq!(check_writable(&stores(), &root).await.unwrap_err().code, "LOCATION_NOT_WRITABLE");
    assert!(list_visible(&stores(), &root, &[]).await.is_err());
    assert_eq!(
        check_writable(&stores(), &Location::parse("/proc/x/").unwrap()).await.unwrap_err().code,
        "LOCATION_NOT_WRITABLE"
    );
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let plan = plan_of(&context, "SELECT 1 AS a").await;
    let spec = WriteSpec { location: root, ..spec(dir.path(), &plan, &[]) };
    let exec = physical(&context, plan, spec).await;
    assert!(collect(exec, context.task_ctx()).await.is_err());
}

/// AQE plans again after every stage. Whatever is left above an exchange that came out empty must ask for no new one, in
/// every step of the optimizer: or stages are added without end.
#[tokio::test]
async fn an_input_found_empty_at_run_time_is_never_distributed_again() {
    let (dir, context) = (tempfile::tempdir().unwrap(), session());
    let plan = plan_of(&context, &format!("SELECT v, s, k FROM ({ROWS}) WHERE v < 0")).await;
    let first = physical(&context, plan.clone(), spec(dir.path(), &plan, &["k"])).await;
    let emptied = first.transform_up(|node| match node.is::<RepartitionExec>() {
        true => Ok(Transformed::yes(Arc::new(EmptyExec::new(node.schema()).with_partitions(4)) as _)),
        false => Ok(Transformed::no(node)),
    });
    let mut plan = emptied.unwrap().data;
    let show = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(false).to_string();
    assert!(show(&plan).contains("EmptyExec"), "{}", show(&plan));
    for _ in 0..3 {
        for rule in PhysicalOptimizer::new().rules {
            plan = rule.optimize(plan, context.state().config_options()).unwrap();
            assert!(!show(&plan).contains("RepartitionExec"), "after {}:\n{}", rule.name(), show(&plan));
        }
    }
    assert_eq!(Accepted { reports: vec![], ..run(&context, plan).await }, Accepted::default());
}
