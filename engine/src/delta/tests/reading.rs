//! What a version shows, and what of it is opened.

use datafusion::common::ScalarValue;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::physical_plan::ExecutionPlanProperties;

use super::*;

#[tokio::test]
async fn partition_values_come_back_as_they_were() {
    let bench = Bench::memory().await;
    let values = [
        None,
        Some("plain"),
        Some("a b"),
        Some("a/b=c"),
        Some("100%"),
        Some("50%20"),
        Some("Zürich 東京"),
        Some("'q'"),
    ];
    for (i, value) in values.iter().enumerate() {
        let from = i64::try_from(i).unwrap();
        bench.append(&format!("a{i}"), *value, from..from + 1).await;
    }
    let got = bench.query("SELECT id, ds IS NULL, ds FROM t ORDER BY id").await.unwrap();
    let expected: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(i, v)| format!("{i} {} {}", v.is_none(), v.unwrap_or_default()).trim_end().to_owned())
        .collect();
    assert_eq!(got.iter().map(|row| row.trim_end()).collect::<Vec<_>>(), expected);
    assert_eq!(bench.query("SELECT id FROM t WHERE ds = 'a/b=c'").await.unwrap(), ["3"]);
    assert_eq!(bench.query("SELECT id FROM t WHERE ds IS NULL").await.unwrap(), ["0"]);
    // Each is replaced on its own.
    let file = bench.file(Some("50%20"), 50..51).await;
    bench.commit(&bench.request("o", 8, DeltaWrite::Replace(part("50%20")), vec![file])).await.unwrap();
    let null = DeltaWrite::Replace(PartitionSet::of([vec![None]]));
    assert_eq!(bench.commit(&bench.request("n", 9, null, vec![])).await.unwrap().removed, 1);
    assert_eq!(bench.query("SELECT sum(id), count(*) FROM t").await.unwrap(), ["73 7"]);
}

#[tokio::test]
async fn files_are_known_before_they_are_read() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 5..15).await;
    let snapshot = bench.latest().await;
    let files = snapshot.files().await.unwrap();
    assert_eq!((files.len(), files[0].rows), (1, Some(10)));
    assert_eq!(files[0].partition, [ScalarValue::Utf8(Some("1".into()))]);
    let known = statistics::file_statistics(&files[0], &schema());
    let id = &known.column_statistics[0];
    assert_eq!(id.min_value.get_value(), Some(&ScalarValue::Int64(Some(5))));
    assert_eq!(id.max_value.get_value(), Some(&ScalarValue::Int64(Some(14))));
    assert_eq!(id.null_count.get_value(), Some(&0));
    // Counting rows and the extremes of numbers opens nothing: the file is not even there.
    let path = Path::parse(format!("{}/{}", bench.location.path(), files[0].path)).unwrap();
    bench.stores().get(&bench.location).unwrap().delete(&path).await.unwrap();
    assert_eq!(bench.query("SELECT count(*), min(id), max(id) FROM t").await.unwrap(), ["10 5 14"]);
    assert_eq!(bench.query("SELECT name FROM t WHERE id > 14").await.unwrap(), [""; 0]);
    bench.query("SELECT name FROM t WHERE id > 13").await.unwrap_err();
}

/// The first id of each file that a scan would open, and how many partitions it has.
async fn scanned(bench: &Bench, filters: &[Expr]) -> (Vec<i64>, usize) {
    use datafusion::datasource::TableProvider;
    let state = bench.engine.session(&Settings::new()).unwrap();
    let table = DeltaTable::new(Arc::new(bench.latest().await), VersionSpec::Latest);
    let plan = table.scan(&state, None, filters, None).await.unwrap();
    let Some(scan) = plan.downcast_ref::<DataSourceExec>() else { return (vec![], 0) };
    let config = scan.data_source().downcast_ref::<FileScanConfig>().unwrap();
    let first = |file: &datafusion::datasource::listing::PartitionedFile| {
        let known = file.statistics.as_ref().unwrap();
        match known.column_statistics[0].min_value.get_value() {
            Some(ScalarValue::Int64(Some(id))) => *id,
            other => panic!("{other:?}"),
        }
    };
    let mut ids: Vec<i64> = config.file_groups.iter().flat_map(|g| g.iter()).map(first).collect();
    ids.sort_unstable();
    (ids, plan.output_partitioning().partition_count())
}

#[tokio::test]
async fn filters_leave_out_files() {
    let bench = Bench::memory().await;
    for i in 0..6_i64 {
        bench.append(&format!("a{i}"), Some(&format!("{}", i % 2)), i * 10..i * 10 + 10).await;
    }
    let rows: [(Vec<Expr>, &[i64]); 8] = [
        (vec![], &[0, 10, 20, 30, 40, 50]),
        (vec![col("ds").eq(lit("0"))], &[0, 20, 40]),
        (vec![col("id").gt(lit(44_i64))], &[40, 50]),
        (vec![col("ds").eq(lit("0")), col("id").lt(lit(20_i64))], &[0]),
        (vec![col("name").gt_eq(lit("n00055"))], &[50]),
        (vec![col("ds").eq(lit("1")).or(col("id").lt(lit(5_i64)))], &[0, 10, 30, 50]),
        (vec![col("id").is_null()], &[]),
        (vec![col("id").in_list(vec![lit(3_i64), lit(33_i64)], false)], &[0, 30]),
    ];
    for (filters, expected) in rows {
        assert_eq!(scanned(&bench, &filters).await.0, expected, "{filters:?}");
    }
    assert!((2..=4).contains(&scanned(&bench, &[]).await.1), "no more partitions than the session plans for");
    assert_eq!(bench.query("SELECT id FROM t WHERE ds = '0' AND id BETWEEN 19 AND 21").await.unwrap(), ["20", "21"]);
}

#[tokio::test]
async fn the_partitions_that_a_statement_reads_are_told_by_its_filters() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..5).await;
    let of = |values: &[&str]| PartitionSet::of(values.iter().map(|v| key(v)));
    let rows = [
        ("SELECT * FROM t", PartitionSet::everything()),
        ("SELECT * FROM t WHERE ds = '1' AND id > 3", of(&["1"])),
        ("SELECT * FROM t WHERE ds IN ('1', '2') AND name = 'x'", of(&["1", "2"])),
        ("SELECT * FROM t WHERE ds = '1' OR id > 3", PartitionSet::everything()),
        ("SELECT * FROM t WHERE ds > '1'", PartitionSet::everything()),
        ("SELECT * FROM t WHERE ds IS NULL", PartitionSet::of([vec![None]])),
        ("SELECT * FROM t a WHERE ds = '1' AND id IN (SELECT id FROM t WHERE ds = '7')", of(&["1", "7"])),
        ("SELECT 1", PartitionSet::none()),
    ];
    for (sql, expected) in rows {
        let state = bench.session().state();
        let plan = state.optimize(&state.create_logical_plan(sql).await.unwrap()).unwrap();
        assert_eq!(partitions_read(&plan, &bench.location).unwrap(), expected, "{sql}");
    }
}

/// Executors get the scan as bytes, of DataFusion's own kinds of nodes alone.
#[tokio::test]
async fn a_scan_travels_without_a_codec_of_its_own() {
    use datafusion_proto::bytes::{physical_plan_from_bytes, physical_plan_to_bytes};
    let bench = Bench::memory().await;
    bench.append("a", Some("a/b ü%"), 0..5).await;
    bench.append("b", None, 5..9).await;
    let session = bench.session();
    let plan = session.sql("SELECT id, ds, name FROM t WHERE id > 1").await.unwrap();
    let bytes = physical_plan_to_bytes(plan.create_physical_plan().await.unwrap()).unwrap();
    let executor = SessionContext::new_with_state(bench.engine.session(&Settings::new()).unwrap());
    let arrived = physical_plan_from_bytes(&bytes, &executor.task_ctx()).unwrap();
    let batches = datafusion::physical_plan::collect(arrived, executor.task_ctx()).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 7);
    let table = pretty_format_batches(&batches).unwrap().to_string();
    assert!(table.contains("a/b ü%") && table.contains("n00008"), "{table}");
}

#[tokio::test]
async fn history_tells_who_did_what() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..1).await;
    let history = bench.latest().await.history(None).await.unwrap();
    let told: Vec<_> = history.iter().map(|h| (h.version, h.operation.as_deref(), h.run.as_deref())).collect();
    assert_eq!(told, [(1, Some("WRITE"), Some("run of a")), (0, Some("CREATE TABLE"), Some("r-0"))]);
    assert_eq!((history[0].user_metadata.as_deref(), &history[0].parameters["mode"]), (Some("why"), &"Append".into()));
    assert_eq!(history[0].metrics["rows"], "3");
    assert!(history[0].timestamp_ms >= history[1].timestamp_ms);
    assert!(history[0].engine.as_deref().unwrap().starts_with("selvedge "));
    assert_eq!(bench.latest().await.history(Some(1)).await.unwrap().len(), 1);
}

/// A table whose log is written as it stands.
async fn foreign(lines: &[&str]) -> Bench {
    let bench = Bench::empty(None);
    let path = Path::parse(format!("{}/_delta_log/{:020}.json", bench.location.path(), 0)).unwrap();
    let store = bench.stores().get(&bench.location).unwrap();
    store.put(&path, lines.join("\n").into()).await.unwrap();
    bench
}

const METADATA: &str = r#"{"metaData":{"id":"1","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"id\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{},"createdTime":1}}"#;

#[tokio::test]
async fn what_cannot_be_read_right_is_refused() {
    let vectors = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}"#;
    let plain = r#"{"add":{"path":"x.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}"#;
    let deleted = r#"{"add":{"path":"x.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6}}}"#;
    // That it could have them does no harm.
    let fine = foreign(&[vectors, METADATA, plain]).await;
    assert_eq!(fine.latest().await.files().await.unwrap().len(), 1);
    let refused = foreign(&[vectors, METADATA, deleted]).await.latest().await.files().await.unwrap_err();
    assert_eq!(refused.code, "UNSUPPORTED_TABLE");
    assert!(refused.cause.contains("deletion vectors"), "{refused}");

    let mapped = r#"{"protocol":{"minReaderVersion":2,"minWriterVersion":5}}"#;
    let metadata = METADATA
        .replace(
            r#""configuration":{}"#,
            r#""configuration":{"delta.columnMapping.mode":"name","delta.columnMapping.maxColumnId":"1"}"#,
        )
        .replace(
            r#"\"metadata\":{}"#,
            r#"\"metadata\":{\"delta.columnMapping.id\":1,\"delta.columnMapping.physicalName\":\"c1\"}"#,
        );
    let failure = foreign(&[mapped, &metadata]).await.at(VersionSpec::Latest).await.unwrap_err();
    assert!(failure.cause.contains("column mapping (by name)"), "{failure}");

    let newer = r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["futureThing"],"writerFeatures":["futureThing"]}}"#;
    let failure = foreign(&[newer, METADATA]).await.at(VersionSpec::Latest).await.unwrap_err();
    assert!(failure.cause.contains("futureThing"), "{failure}");

    let old = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;
    let elsewhere = plain.replace("x.parquet", "s3://other/x.parquet");
    let failure = foreign(&[old, METADATA, &elsewhere]).await.latest().await.files().await.unwrap_err();
    assert!(failure.cause.contains("s3://other/x.parquet"), "{failure}");

    let append_only = METADATA.replace(r#""configuration":{}"#, r#""configuration":{"delta.appendOnly":"true"}"#);
    let snapshot = foreign(&[old, &append_only]).await.latest().await;
    assert_eq!(snapshot.check_write(true).unwrap_err().code, "APPEND_ONLY");
    assert!(snapshot.check_write(false).is_ok());
}

#[tokio::test]
async fn where_there_is_no_log_there_is_no_table() {
    let bench = Bench::empty(None);
    let failure = bench.at(VersionSpec::Latest).await.unwrap_err();
    assert_eq!(failure.code, "NOT_A_DELTA_TABLE");
    let failure = bench.at(VersionSpec::Timestamp(0)).await.unwrap_err();
    assert_eq!(failure.code, "NOT_A_DELTA_TABLE");
    let broken = foreign(&["no json"]).await.at(VersionSpec::Latest).await.unwrap_err();
    assert_eq!(broken.code, "INVALID_DELTA_LOG", "{broken}");
}

#[tokio::test]
async fn given_files_are_read_whole_and_no_others() {
    let bench = Bench::memory().await;
    bench.append("a", Some("1"), 0..10).await;
    bench.append("b", Some("2"), 10..20).await;
    bench.append("c", None, 20..30).await;
    let table = Arc::new(DeltaTable::new(Arc::new(bench.latest().await), VersionSpec::Latest));
    let files = table.snapshot().files().await.unwrap();
    let chosen: Vec<_> = files.iter().filter(|file| file.key != key("2")).cloned().collect();
    let context = SessionContext::new_with_state(bench.engine.session(&Settings::new()).unwrap());
    let frame = context.read_table(Arc::new(DeltaFiles::new(Arc::clone(&table), chosen))).unwrap();
    let filtered = frame.clone().filter(col("id").gt(lit(4))).unwrap();
    assert_eq!((frame.count().await.unwrap(), filtered.count().await.unwrap()), (20, 15));
    let none = context.read_table(Arc::new(DeltaFiles::new(table, vec![]))).unwrap();
    assert_eq!(none.count().await.unwrap(), 0);
}
