//! Real files of every format, read back; pruning and splitting asserted from the plan.

use std::collections::BTreeMap;
use std::path::Path;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::prelude::SessionContext;
use selvedge_model::Domain;

use super::*;
use crate::catalog::{Format, resolve_files};
use crate::error::classify;
use crate::session::{Engine, EngineOptions, Settings};
use crate::store::Location;

pub(in crate::catalog) fn state() -> SessionState {
    let engine = Engine::new(EngineOptions::new(Location::parse("/tmp/selvedge-none").unwrap())).unwrap();
    let mut settings = Settings::new();
    settings.set("datafusion.optimizer.repartition_file_min_size", "1024").unwrap();
    engine.session(&settings).unwrap()
}

/// Runs SQL of plain DataFusion, to write files with.
pub(in crate::catalog) async fn write(sql: &str) {
    SessionContext::new().sql(sql).await.unwrap().collect().await.unwrap();
}

pub(in crate::catalog) async fn resolve(format: Format, at: &str) -> Result<TableDef, Failure> {
    resolve_files(&state(), format, &Location::parse(at).unwrap(), &[], &BTreeMap::new(), None).await
}

async fn query(def: &TableDef, sql: &str) -> Result<String, DataFusionError> {
    let state = state();
    let ctx = SessionContext::new_with_state(state.clone());
    ctx.state().catalog_list();
    let provider = table_provider(&state, def).map_err(EngineError::from)?;
    let plain = SessionContext::new_with_config_rt(state.config().clone(), Arc::clone(state.runtime_env()));
    plain.register_catalog("selvedge", Arc::new(datafusion::catalog::MemoryCatalogProvider::new()));
    let schema = Arc::new(datafusion::catalog::MemorySchemaProvider::new());
    plain.catalog("selvedge").unwrap().register_schema("public", schema)?;
    plain.register_table("t", provider)?;
    let batches = plain.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

/// Groups, files and ranges that a scan with this filter would read.
async fn scanned(def: &TableDef, filters: &[Expr]) -> (usize, Vec<String>) {
    let state = state();
    let plan = table_provider(&state, def).unwrap().scan(&state, None, filters, None).await.unwrap();
    let Some(exec) = plan.downcast_ref::<DataSourceExec>() else { return (0, vec![]) };
    let config = exec.data_source().downcast_ref::<FileScanConfig>().unwrap();
    let files = config.file_groups.iter().flat_map(|g| g.iter()).map(|f| {
        let name = f.object_meta.location.to_string();
        name.rsplit("/t/").next().unwrap_or_default().to_owned()
    });
    let mut files: Vec<String> = files.collect();
    files.sort();
    files.dedup();
    (plan.output_partitioning().partition_count(), files)
}

async fn partitioned(dir: &Path) -> String {
    let root = format!("{}/t/", dir.display());
    for (ds, region) in [("2026-01-01", "eu"), ("2026-01-01", "us"), ("2026-01-02", "eu")] {
        write(&format!(
            "COPY (SELECT value AS id, 'name ' || value AS name FROM generate_series(1, 100)) \
             TO '{root}ds={ds}/region={region}/part.parquet'"
        ))
        .await;
    }
    std::fs::create_dir_all(format!("{root}.staging")).unwrap();
    std::fs::write(format!("{root}.staging/x.parquet"), "half a file").unwrap();
    std::fs::write(format!("{root}_SUCCESS"), "").unwrap();
    root
}

#[tokio::test]
async fn hive_partitions_are_columns_and_prune_files() {
    use datafusion::prelude::{col, lit};
    let dir = tempfile::tempdir().unwrap();
    let root = partitioned(dir.path()).await;
    let def = resolve(Format::Parquet, &root).await.unwrap();
    assert_eq!(def.partition_by, ["ds", "region"]);
    let types: Vec<_> = def.schema.fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Utf8, DataType::Utf8, DataType::Utf8]);

    let (_, all) = scanned(&def, &[]).await;
    assert_eq!(all.len(), 3, "{all:?}");
    let (_, day) = scanned(&def, &[col("ds").eq(lit("2026-01-02"))]).await;
    assert_eq!(day, ["ds=2026-01-02/region=eu/part.parquet"]);
    let (_, eu) = scanned(&def, &[col("region").eq(lit("eu"))]).await;
    assert_eq!(eu.len(), 2, "{eu:?}");
    let (_, none) = scanned(&def, &[col("ds").is_null()]).await;
    assert!(none.is_empty());
    let rows =
        query(&def, "SELECT ds, count(*) AS n, max(id) AS m FROM t WHERE region <> 'us' GROUP BY ds ORDER BY ds");
    let rows = rows.await.unwrap();
    assert!(rows.contains("| 2026-01-01 | 100 | 100 |") && rows.contains("| 2026-01-02 | 100 | 100 |"), "{rows}");
}

#[tokio::test]
async fn null_partitions_are_null() {
    let dir = tempfile::tempdir().unwrap();
    let root = partitioned(dir.path()).await;
    write(&format!(
        "COPY (SELECT 7 AS id, 'x' AS name) TO '{root}ds=2026-01-01/region=__HIVE_DEFAULT_PARTITION__/p.parquet'"
    ))
    .await;
    let def = resolve(Format::Parquet, &root).await.unwrap();
    let rows = query(&def, "SELECT id, region IS NULL AS n FROM t WHERE region IS NULL").await.unwrap();
    assert!(rows.contains("| 7  | true |"), "{rows}");
    let rows = query(&def, "SELECT count(*) AS n, count(region) AS r FROM t").await.unwrap();
    assert!(rows.contains("| 301 | 300 |"), "{rows}");
}

#[tokio::test]
async fn declared_partition_types_are_believed_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let root = partitioned(dir.path()).await;
    let declared = |ds: DataType| {
        let fields = vec![
            datafusion::arrow::datatypes::Field::new("ds", ds, true),
            datafusion::arrow::datatypes::Field::new("id", DataType::Int64, true),
        ];
        Some(Arc::new(Schema::new(fields)))
    };
    let by = ["ds".to_owned(), "region".to_owned()];
    let at = Location::parse(&root).unwrap();
    let options = BTreeMap::new();
    let def = resolve_files(&state(), Format::Parquet, &at, &by, &options, declared(DataType::Date32)).await.unwrap();
    assert_eq!(def.schema.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["id", "ds", "region"]);
    let rows = query(&def, "SELECT count(*) AS n FROM t WHERE ds > DATE '2026-01-01'").await.unwrap();
    assert!(rows.contains("| 100 |"), "{rows}");
    let wrong = resolve_files(&state(), Format::Parquet, &at, &by, &options, declared(DataType::Int32)).await;
    assert_eq!(wrong.unwrap_err().code, "BAD_PARTITION");
}

#[tokio::test]
async fn text_formats_are_read_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display();
    let rows = "SELECT value AS id, 'n' || value AS name FROM generate_series(1, 500)";
    write(&format!("COPY ({rows}) TO '{base}/c/a.csv.gz' STORED AS CSV OPTIONS ('format.compression' 'gzip')")).await;
    write(&format!("COPY ({rows}) TO '{base}/c/b.csv.gz' STORED AS CSV OPTIONS ('format.compression' 'gzip')")).await;
    write(&format!("COPY ({rows}) TO '{base}/j/a.json.zst' STORED AS JSON OPTIONS ('format.compression' 'zstd')"))
        .await;
    for (format, at, expected) in [(Format::Csv, "c/*.csv.gz", "1000"), (Format::Json, "j", "500")] {
        let def = resolve(format, &format!("{base}/{at}")).await.unwrap();
        assert_eq!(def.schema.field_with_name("name").unwrap().data_type(), &DataType::Utf8, "{at}");
        let got = query(&def, "SELECT count(name) AS n, max(id) AS m FROM t").await.unwrap();
        assert!(got.contains(&format!("| {expected}")) && got.contains("500"), "{at}: {got}");
    }
}

#[tokio::test]
async fn one_big_file_keeps_all_partitions_busy() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display();
    let rows = "SELECT value AS id, 'a longer name ' || value AS name FROM generate_series(1, 20000)";
    write(&format!("COPY ({rows}) TO '{base}/t/big.parquet'")).await;
    write(&format!("COPY ({rows}) TO '{base}/t/big.csv' STORED AS CSV")).await;
    for (format, name) in [(Format::Parquet, "big.parquet"), (Format::Csv, "big.csv")] {
        let def = resolve(format, &format!("{base}/t/{name}")).await.unwrap();
        let (partitions, files) = scanned(&def, &[]).await;
        assert_eq!((partitions, files.len()), (4, 1), "{name}");
        let got = query(&def, "SELECT count(*) AS n, count(DISTINCT id) AS d FROM t").await.unwrap();
        assert!(got.contains("| 20000 | 20000 |"), "{name}: {got}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_files_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().display();
    let missing = resolve(Format::Parquet, &format!("{base}/nothing/")).await.unwrap_err();
    assert_eq!((missing.code.as_str(), missing.domain), ("FILE_NOT_FOUND", Domain::User));
    assert!(missing.cause.contains("/nothing/"), "{}", missing.cause);

    std::fs::write(dir.path().join("torn.parquet"), "PAR1 and nothing more").unwrap();
    let torn = resolve(Format::Parquet, &format!("{base}/torn.parquet")).await.unwrap_err();
    assert_eq!(torn.code, "CORRUPT_FILE");
    assert!(torn.cause.contains("torn.parquet"), "{}", torn.cause);

    std::fs::write(dir.path().join("wide.csv"), "a,b\n1,2\n3,4,5\n").unwrap();
    let wide = resolve(Format::Csv, &format!("{base}/wide.csv")).await.unwrap_err();
    assert_eq!(wide.code, "BAD_DATA");
    assert!(wide.cause.contains("wide.csv"), "{}", wide.cause);

    let good: String = (0..2000).map(|i| format!("{i},{i}\n")).collect();
    std::fs::write(dir.path().join("late.csv"), format!("a,b\n{good}1,2,3\n")).unwrap();
    let late = resolve(Format::Csv, &format!("{base}/late.csv")).await.unwrap();
    let failure = classify(&query(&late, "SELECT sum(a) FROM t").await.unwrap_err());
    assert_eq!((failure.code.as_str(), failure.domain), ("BAD_DATA", Domain::User), "{failure:?}");
}

#[tokio::test]
async fn an_empty_location_needs_declared_columns() {
    let dir = tempfile::tempdir().unwrap();
    let at = Location::parse(&format!("{}/later/", dir.path().display())).unwrap();
    let declared = Arc::new(Schema::new(vec![datafusion::arrow::datatypes::Field::new("s", DataType::Utf8View, true)]));
    let def = resolve_files(&state(), Format::Parquet, &at, &[], &BTreeMap::new(), Some(declared)).await.unwrap();
    assert_eq!(def.schema.field(0).data_type(), &DataType::Utf8);
    assert!(query(&def, "SELECT count(*) AS n FROM t").await.unwrap().contains("| 0 |"));
    // What is written later is seen at the next scan.
    write(&format!("COPY (SELECT 'x' AS s) TO '{}/later/a.parquet'", dir.path().display())).await;
    assert!(query(&def, "SELECT count(*) AS n FROM t").await.unwrap().contains("| 1 |"));
}

/// A scan as an executor gets it: encoded by the scheduler, decoded with the executor's own registry.
pub(in crate::catalog) async fn sent_to_an_executor(def: &TableDef) -> Arc<dyn ExecutionPlan> {
    use ballista_core::serde::BallistaPhysicalExtensionCodec;
    use datafusion_proto::physical_plan::AsExecutionPlan;
    use datafusion_proto::protobuf::PhysicalPlanNode;

    let state = state();
    let plan = table_provider(&state, def).unwrap().scan(&state, None, &[], None).await.unwrap();
    let codec = BallistaPhysicalExtensionCodec::default();
    let node = PhysicalPlanNode::try_from_physical_plan(plan, &codec).unwrap();
    let executor = SessionContext::new_with_state(self::state());
    let decoded = node.try_into_physical_plan(&executor.task_ctx(), &codec).unwrap();
    crate::catalog::prepare_scans(decoded).unwrap()
}

#[tokio::test]
async fn scans_survive_the_way_to_an_executor() {
    let dir = tempfile::tempdir().unwrap();
    let root = partitioned(dir.path()).await;
    write(&format!(
        "COPY (SELECT 7 AS id, 'x' AS name) TO '{root}ds=2026-01-03/region=__HIVE_DEFAULT_PARTITION__/p.parquet'"
    ))
    .await;
    std::fs::write(dir.path().join("a.csv"), "1;'two\nlines'\n3;four\n").unwrap();
    let csv = [("header", "false"), ("delimiter", ";"), ("quote", "'"), ("multiline", "true")];
    let csv: BTreeMap<String, String> = csv.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let at = Location::parse(&format!("{}/a.csv", dir.path().display())).unwrap();
    let text = resolve_files(&state(), Format::Csv, &at, &[], &csv, None).await.unwrap();
    let rows = "SELECT value AS id FROM generate_series(1, 50)";
    write(&format!(
        "COPY ({rows}) TO '{}/a.json.gz' STORED AS JSON OPTIONS ('format.compression' 'gzip')",
        dir.path().display()
    ))
    .await;
    let json = resolve(Format::Json, &format!("{}/a.json.gz", dir.path().display())).await.unwrap();
    let parquet = resolve(Format::Parquet, &root).await.unwrap();
    for (def, rows, nulls) in [(parquet, 301, 1), (text, 2, 0), (json, 50, 0)] {
        let plan = sent_to_an_executor(&def).await;
        assert_eq!(plan.schema(), def.schema, "{}", def.location);
        let ctx = SessionContext::new_with_state(state()).task_ctx();
        let batches = datafusion::physical_plan::collect(plan, ctx).await.unwrap();
        assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), rows, "{}", def.location);
        let last = |b: &datafusion::arrow::record_batch::RecordBatch| b.column(b.num_columns() - 1).null_count();
        assert_eq!(batches.iter().map(last).sum::<usize>(), nulls, "{}", def.location);
    }
}

#[tokio::test]
async fn avro_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let schema = Arc::new(Schema::new(vec![datafusion::arrow::datatypes::Field::new("s", DataType::Utf8, false)]));
    let column = Arc::new(datafusion::arrow::array::StringArray::from(vec!["a", "b"]));
    let batch = datafusion::arrow::record_batch::RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let file = std::fs::File::create(dir.path().join("a.avro")).unwrap();
    let mut writer = datafusion::arrow_avro::writer::AvroWriter::new(file, schema.as_ref().clone()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let def = resolve(Format::Avro, &format!("{}/a.avro", dir.path().display())).await.unwrap();
    assert_eq!(def.schema.field(0).data_type(), &DataType::Utf8);
    let got = query(&def, "SELECT count(*) AS n, max(s) AS m FROM t").await.unwrap();
    assert!(got.contains("| 2 | b |"), "{got}");
}

#[test]
fn looking_at_a_location_may_move_between_threads() {
    fn assert_send<T: Send>(_: T) {}
    let (state, at, options) = (state(), Location::parse("/tmp/x").unwrap(), BTreeMap::new());
    assert_send(resolve_files(&state, Format::Csv, &at, &[], &options, None));
}
