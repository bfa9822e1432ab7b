//! Statements that look after managed tables: what they come to, on a log whose files are only named.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use selvedge_engine::delta::{AddFile, CommitRequest, DeltaSnapshot, NewTable, Operation, VersionSpec, commit};
use selvedge_engine::delta::{MetadataChange, create_table};
use selvedge_model::delta::{DeltaWrite, PartitionSet};
use selvedge_model::vacuum::DEFAULT_RETENTION_MS;

use super::*;

/// The table `d`, whose versions from 1 on are a file each.
struct Made {
    bench: Bench,
    location: Location,
}

fn operation(name: &str) -> Operation {
    Operation { name: name.to_owned(), ..Default::default() }
}

impl Made {
    async fn new(partition_by: &[&str], files: &[(&str, u64)]) -> Self {
        let mut bench = Bench::new().await;
        let location = Location::parse(&format!("{}/", bench.path("d"))).unwrap();
        let columns = vec![Field::new("id", DataType::Int64, false), Field::new("ds", DataType::Utf8, true)];
        let table = NewTable {
            app_id: "create".into(),
            schema: Arc::new(Schema::new(columns)),
            partition_by: partition_by.iter().map(ToString::to_string).collect(),
            properties: Default::default(),
            description: None,
            adds: vec![],
            operation: operation("CREATE TABLE"),
            run: None,
        };
        create_table(bench.planner.engine.stores(), &location, &table).await.unwrap();
        bench.run(&format!("CREATE EXTERNAL TABLE d STORED AS DELTA LOCATION '{location}'")).await.unwrap();
        let made = Self { bench, location };
        for (version, (ds, bytes)) in files.iter().enumerate() {
            let partition = if partition_by.is_empty() { vec![] } else { vec![Some((*ds).to_owned())] };
            let path = format!("f{}.parquet", version + 1);
            let file = AddFile { path, partition, bytes: *bytes, rows: 1, stats: None };
            made.commit(DeltaWrite::Append, vec![file], None).await;
        }
        made
    }

    async fn latest(&self) -> DeltaSnapshot {
        let stores = self.bench.planner.engine.stores();
        DeltaSnapshot::open(stores, &self.location, VersionSpec::Latest).await.unwrap()
    }

    async fn commit(&self, write: DeltaWrite, adds: Vec<AddFile>, metadata: Option<MetadataChange>) {
        let now = self.latest().await;
        let request = CommitRequest {
            app_id: format!("write {}", now.version()),
            table_id: now.table_id().to_owned(),
            base_version: now.version(),
            write,
            reads: PartitionSet::none(),
            searched: PartitionSet::none(),
            adds,
            changes_rows: true,
            metadata,
            operation: operation("WRITE"),
            run: Some("r-7".into()),
            user_metadata: None,
        };
        commit(self.bench.planner.engine.stores(), &self.location, &request).await.unwrap();
    }

    async fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let Some((_, Planned::Done { result: Some(batches), .. })) = self.bench.run(sql).await.unwrap().pop() else {
            panic!("{sql} shows nothing")
        };
        let texts = |i: usize| batches[0].columns().iter().map(|c| c.as_string::<i32>().value(i).to_owned()).collect();
        (0..batches[0].num_rows()).map(texts).collect()
    }

    async fn said(&mut self, sql: &str) -> String {
        match self.bench.run(sql).await.unwrap_or_else(|f| panic!("{sql}: {f}")).pop() {
            Some((_, Planned::Done { message, .. })) => message,
            _ => panic!("{sql} is not done by planning"),
        }
    }

    async fn log(&mut self, sql: &str) -> LogTarget {
        self.bench.write(sql).await.log.unwrap()
    }
}

fn paths(log: &LogTarget) -> Vec<&str> {
    log.rewrites.iter().flatten().map(String::as_str).collect()
}

#[tokio::test]
async fn history_and_detail_are_told_from_the_log() {
    let mut made = Made::new(&["ds"], &[("a", 10), ("b", 20)]).await;
    let history = made.rows("DESCRIBE HISTORY d").await;
    let versions: Vec<_> = history.iter().map(|row| (row[0].as_str(), row[2].as_str(), row[5].as_str())).collect();
    assert_eq!(versions, [("2", "WRITE", "r-7"), ("1", "WRITE", "r-7"), ("0", "CREATE TABLE", "")]);
    assert_eq!(made.rows("DESCRIBE HISTORY d LIMIT 1").await[0][0], "2");
    let detail = made.rows("DESCRIBE DETAIL d").await.remove(0);
    assert_eq!(detail[0..2], ["public.d", "DELTA"].map(str::to_owned), "{detail:?}");
    assert_eq!(detail[4..8], ["2", "ds", "2", "30"].map(str::to_owned), "{detail:?}");
    for sql in ["DESCRIBE HISTORY orders", "OPTIMIZE orders", "VACUUM orders", "ALTER TABLE orders ADD COLUMN a INT"] {
        let found = made.bench.refusal(sql).await;
        assert!(found.starts_with("NOT_SUPPORTED") && found.contains("only managed tables"), "{sql}: {found}");
    }
    assert!(made.bench.refusal("DESCRIBE HISTORY e").await.starts_with("TABLE_NOT_FOUND 1:18"));
}

#[tokio::test]
async fn optimize_rewrites_the_small_files_of_partitions_that_have_some() {
    let mut made = Made::new(&["ds"], &[("a", 10), ("a", 10), ("a", 500 << 20), ("b", 10), ("c", 1), ("c", 2)]).await;
    let log = made.log("OPTIMIZE d").await;
    assert_eq!(paths(&log), ["f1.parquet", "f2.parquet", "f5.parquet", "f6.parquet"]);
    assert!(!log.changes_rows && !log.replaces_columns && log.reads.is_empty());
    assert_eq!((log.operation.name.as_str(), &log.operation.metrics["numRemovedBytes"]), ("OPTIMIZE", &23.into()));
    assert_eq!(paths(&made.log("OPTIMIZE d WHERE ds > 'a'").await), ["f5.parquet", "f6.parquet"]);
    assert_eq!(made.said("OPTIMIZE d WHERE ds = 'b'").await, "public.d has no small files to compact");
    let small = "SET selvedge.write.target_file_bytes = 4; OPTIMIZE d";
    assert_eq!(made.said(small).await, "public.d has no small files to compact");
    for (sql, expected) in [
        ("OPTIMIZE d WHERE id = 1", "INVALID_PARTITION 1:10 OPTIMIZE chooses whole partitions, and id is no"),
        ("OPTIMIZE d WHERE ds", "INVALID_PARTITION 1:10 the condition of OPTIMIZE is Utf8"),
        ("OPTIMIZE d WHERE dss = 'a'", "COLUMN_NOT_FOUND 1:18 "),
    ] {
        let found = made.bench.refusal(sql).await;
        assert!(found.starts_with(expected), "{sql}\nexpected {expected}\nfound    {found}");
    }
}

#[tokio::test]
async fn optimize_without_partitions_has_no_more_writers_than_files_to_make() {
    let mut made = Made::new(&[], &[("", 10), ("", 10), ("", 10)]).await;
    let write = made.bench.write("OPTIMIZE d").await;
    assert_eq!(columns(&write), ["id Int64", "ds Utf8"]);
    let engine = &made.bench.planner.engine;
    let physical = engine.session(&Settings::new()).unwrap().create_physical_plan(&write.plan).await.unwrap();
    let partitions = datafusion::physical_plan::ExecutionPlanProperties::output_partitioning(&physical);
    assert_eq!(partitions.partition_count(), 1);
}

#[tokio::test]
async fn restore_names_what_was_there_and_removes_what_came() {
    let mut made = Made::new(&["ds"], &[("a", 10), ("b", 20)]).await;
    made.commit(DeltaWrite::Replace(PartitionSet::of([vec![Some("a".to_owned())]])), vec![], None).await;
    let write = made.bench.write("RESTORE TABLE d TO VERSION AS OF 1").await;
    assert_eq!((write.rows, write.done.as_str()), (Rows::None, "public.d is as in version 1 again"));
    let log = write.log.unwrap();
    assert_eq!(paths(&log), ["f2.parquet"]);
    let restored = log.change.restores.unwrap();
    assert_eq!((restored.len(), restored[0].path.as_str()), (1, "f1.parquet"));
    assert_eq!(restored[0].partition, [Some("a".to_owned())]);
    assert_eq!((log.reads, log.replaces_columns), (PartitionSet::everything(), false));
    assert_eq!(made.said("RESTORE d TO VERSION AS OF 3").await, "public.d is as in version 3 already");
    let found = made.bench.refusal("RESTORE d TO VERSION AS OF 9").await;
    assert!(found.starts_with("VERSION_NOT_FOUND 1:9"), "{found}");
    // A script may make the version that it restores.
    assert_eq!(made.bench.check("RESTORE d TO VERSION AS OF 9; SELECT id FROM d").await, [""; 0]);
}

#[tokio::test]
async fn restore_brings_back_the_columns_of_then() {
    let mut made = Made::new(&["ds"], &[("a", 10)]).await;
    let fields = [("id", DataType::Int64), ("x", DataType::Int32), ("ds", DataType::Utf8)];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec();
    let change = MetadataChange { schema: Some(Arc::new(Schema::new(fields))), ..Default::default() };
    made.commit(DeltaWrite::Append, vec![], Some(change)).await;
    let write = made.bench.write("RESTORE d TO VERSION AS OF 1").await;
    let names: Vec<_> = write.schema.fields().iter().map(|f| (f.name().as_str(), f.is_nullable())).collect();
    assert_eq!(names, [("id", false), ("ds", true)]);
    assert!(write.log.unwrap().replaces_columns);
    let script = "SELECT x FROM d; RESTORE d TO VERSION AS OF 1; SELECT id FROM d; SELECT x FROM d";
    let found = made.bench.check(script).await;
    assert!(found.len() == 1 && found[0].starts_with("COLUMN_NOT_FOUND 1:73"), "{found:#?}");
}

#[tokio::test]
async fn columns_are_added_before_those_of_the_partitions() {
    let mut made = Made::new(&["ds"], &[("a", 10)]).await;
    let write = made.bench.write("ALTER TABLE d ADD COLUMNS (x INT, y DECIMAL(9, 2))").await;
    let names: Vec<_> = write.schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!((names, write.rows), (vec!["id", "x", "y", "ds"], Rows::None));
    assert_eq!(write.done, "public.d has the new columns x, y");
    let log = write.log.unwrap();
    assert!(log.replaces_columns && log.rewrites.is_none());
    assert_eq!(made.said("ALTER TABLE d ADD COLUMN IF NOT EXISTS id INT").await, "public.d has the columns already");
    for (sql, expected) in [
        ("ALTER TABLE d ADD COLUMN ID INT", "DUPLICATE_COLUMN 1:26 table public.d has a column id already"),
        ("ALTER TABLE d ADD COLUMN x INT NOT NULL", "NOT_SUPPORTED 1:26 column x cannot be NOT NULL"),
        ("ALTER TABLE d ADD COLUMNS (x INT, x INT)", "DUPLICATE_COLUMN 1:35 column x is declared twice"),
        ("ALTER TABLE e ADD COLUMN x INT", "TABLE_NOT_FOUND 1:13"),
    ] {
        let found = made.bench.refusal(sql).await;
        assert!(found.starts_with(expected), "{sql}\nexpected {expected}\nfound    {found}");
    }
}

#[tokio::test]
async fn later_statements_of_a_script_find_the_new_columns() {
    let made = Made::new(&["ds"], &[("a", 10)]).await;
    let good = "ALTER TABLE d ADD COLUMN x INT; INSERT INTO d SELECT 1, 2, 'a'; SELECT x FROM d; OPTIMIZE d; VACUUM d;
                ALTER TABLE d ADD COLUMN y INT; INSERT INTO d (id, y, ds) SELECT 1, 2, 'a'; DESCRIBE HISTORY d";
    assert_eq!(made.bench.check(good).await, [""; 0]);
    let found = made.bench.check("ALTER TABLE d ADD COLUMN x INT; SELECT y FROM d").await;
    assert!(found.len() == 1 && found[0].starts_with("COLUMN_NOT_FOUND 1:40"), "{found:#?}");
    let properties = "ALTER TABLE d SET TBLPROPERTIES ('delta.deletedFileRetentionDuration' = 'interval 1 hour');
                      VACUUM d RETAIN 1 HOURS; INSERT OVERWRITE d SELECT 1, 'a'; RESTORE d TO VERSION AS OF 0";
    assert_eq!(made.bench.check(properties).await, [""; 0]);
    let replaced = format!("CREATE OR REPLACE TABLE d LOCATION '{}' AS SELECT 1 AS z; SELECT z FROM d", made.location);
    assert_eq!(made.bench.check(&replaced).await, [""; 0]);
    // And nothing of it happened.
    assert_eq!(made.bench.check("SELECT id, ds FROM d").await, [""; 0]);
    assert_eq!(made.latest().await.version(), 1);
}

#[tokio::test]
async fn properties_are_set_where_they_change() {
    let mut made = Made::new(&["ds"], &[]).await;
    let log = made.log("ALTER TABLE d SET TBLPROPERTIES ('delta.appendOnly' = 'true', owner = 'me')").await;
    let set: Vec<_> = log.change.properties.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
    assert_eq!(set, [("delta.appendOnly", Some("true")), ("owner", Some("me"))]);
    assert!(!log.replaces_columns && log.rewrites.is_none());
    let unset = "ALTER TABLE d UNSET TBLPROPERTIES (owner)";
    assert_eq!(made.said(unset).await, "public.d has these properties already");
    let change = MetadataChange { properties: [("owner".into(), Some("me".into()))].into(), ..Default::default() };
    made.commit(DeltaWrite::Append, vec![], Some(change)).await;
    let log = made.log(unset).await;
    assert_eq!((log.operation.name.as_str(), &log.change.properties["owner"]), ("UNSET TBLPROPERTIES", &None));
    let found = made.bench.refusal("ALTER TABLE d SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')").await;
    assert!(found.starts_with("INVALID_PROPERTY 1:34"), "{found}");
}

#[tokio::test]
async fn vacuum_keeps_what_the_table_keeps_unless_told_twice() {
    let mut made = Made::new(&["ds"], &[]).await;
    let hour = 3_600_000;
    let inner = format!("{}inner/", made.location);
    made.bench.run(&format!("CREATE EXTERNAL TABLE i (a INT) STORED AS PARQUET LOCATION '{inner}'")).await.unwrap();
    let planned = |bench: Vec<(SessionState, Planned)>| match bench.into_iter().next_back() {
        Some((_, Planned::Vacuum(vacuum))) => *vacuum,
        _ => panic!("no VACUUM"),
    };
    let vacuum = planned(made.bench.run("VACUUM d").await.unwrap());
    assert_eq!((vacuum.retention_ms, vacuum.is_dry_run), (DEFAULT_RETENTION_MS, false));
    assert_eq!(vacuum.others, ["inner/".to_owned()].into());
    let vacuum = planned(made.bench.run("VACUUM d RETAIN 1000 HOURS DRY RUN").await.unwrap());
    assert_eq!((vacuum.retention_ms, vacuum.is_dry_run), (1_000 * hour, true));
    let found = made.bench.refusal("VACUUM d RETAIN 1 HOURS").await;
    assert!(found.starts_with("RETENTION_TOO_SHORT 1:8 1 hour is shorter than the 7 days"), "{found}");
    let key = "delta.deletedFileRetentionDuration".to_owned();
    let change =
        |text: &str| MetadataChange { properties: [(key.clone(), Some(text.to_owned()))].into(), ..Default::default() };
    made.commit(DeltaWrite::Append, vec![], Some(change("interval 2 hours"))).await;
    assert_eq!(planned(made.bench.run("VACUUM d").await.unwrap()).retention_ms, 2 * hour);
    assert!(made.bench.refusal("VACUUM d RETAIN 1 HOURS").await.starts_with("RETENTION_TOO_SHORT"));
    let allowed = "SET selvedge.vacuum.allow_short_retention = true; VACUUM d RETAIN 0 HOURS";
    assert_eq!(planned(made.bench.run(allowed).await.unwrap()).retention_ms, 0);
    made.commit(DeltaWrite::Append, vec![], Some(change("soon"))).await;
    assert!(made.bench.refusal("VACUUM d").await.starts_with("INVALID_PROPERTY"));
}
