//! INSERT INTO, INSERT OVERWRITE, COPY and CREATE TABLE AS over s3://, read back by DuckDB.

use std::time::Duration;

use selvedge_tests::cluster::eventually;
use selvedge_tests::readback::{Source, duckdb};
use selvedge_tests::rows::{Order, Rows};
use selvedge_tests::{block_on, fail};

use object_store::ObjectStoreExt as _;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path as ObjectPath;
use parquet::basic::Compression;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};

use crate::stage::{BUCKET, CLUSTER, LONG, Mart, ORACLE, S3, heavy, same, unique};

fn execute(sql: &str) {
    CLUSTER.cli().unwrap().run(&["sql", "-c", sql]).unwrap().succeeded().unwrap();
}

fn read_back(sql: &str, location: &str) -> Rows {
    duckdb(sql, &[Source::new("t", location)], Some(&S3.access())).unwrap()
}

/// A table of nations partitioned by region, at a fresh location: its name and location.
fn nations() -> (String, String) {
    let table = unique("nations");
    let location = format!("s3://{BUCKET}/{table}/");
    execute(&format!(
        "CREATE EXTERNAL TABLE {table} (n_nationkey BIGINT, n_name VARCHAR, region VARCHAR) STORED AS PARQUET \
         PARTITIONED BY (region) LOCATION '{location}';
         INSERT INTO {table} SELECT n_nationkey, n_name, r_name FROM nation JOIN region ON n_regionkey = r_regionkey;"
    ));
    (table, location)
}

fn counts(location: &str) -> Vec<(String, String)> {
    let sql = "SELECT CAST(region AS VARCHAR), count(*) FROM t GROUP BY 1 ORDER BY 1";
    read_back(sql, location).rows.into_iter().map(|r| (r[0].clone(), r[1].clone())).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

const ALL_FIVE: [(&str, &str); 5] =
    [("AFRICA", "5"), ("AMERICA", "5"), ("ASIA", "5"), ("EUROPE", "5"), ("MIDDLE EAST", "5")];

#[test]
fn insert_into_appends() {
    let _turn = heavy();
    let (table, location) = nations();
    assert_eq!(counts(&location), pairs(&ALL_FIVE));
    execute(&format!("INSERT INTO {table} SELECT 100, 'ATLANTIS', 'EUROPE';"));
    let names = read_back("SELECT n_name FROM t WHERE region = 'EUROPE' ORDER BY n_name", &location);
    assert_eq!(names.rows.len(), 6);
    assert_eq!(names.rows[0], ["ATLANTIS"]);
    // A column list in another order, and what is not named is NULL.
    execute(&format!("INSERT INTO {table} (region, n_nationkey) SELECT 'ASIA', 101;"));
    let row = read_back("SELECT n_name IS NULL FROM t WHERE n_nationkey = 101 AND region = 'ASIA'", &location);
    assert_eq!(row.rows, [["true"]]);
    // Those who wait for it get a marker, if that was asked for.
    let marker = format!("{table}/_SUCCESS");
    let marked = || S3.keys(BUCKET, &table).unwrap().contains(&marker);
    assert!(!marked());
    execute(&format!("SET selvedge.write.success_file = true; INSERT INTO {table} SELECT 102, 'LEMURIA', 'AFRICA'"));
    assert!(marked(), "{:?}", S3.keys(BUCKET, &table));
}

#[test]
fn an_overwrite_never_deletes_the_files_of_a_managed_table_below() {
    let _turn = heavy();
    let (outer, inner) = (unique("outer"), unique("inner"));
    let location = format!("s3://{BUCKET}/{outer}/");
    execute(&format!(
        "CREATE EXTERNAL TABLE {outer} (id BIGINT) STORED AS PARQUET LOCATION '{location}';
         INSERT OVERWRITE {outer} SELECT 1;
         CREATE TABLE {inner} LOCATION '{location}a/inner/' AS SELECT 2 AS id"
    ));
    let output = CLUSTER.cli().unwrap().run(&["sql", "-c", &format!("INSERT OVERWRITE {outer} SELECT 3")]).unwrap();
    assert!(output.code == 1 && output.stderr.contains("TABLE_BELOW"), "{}", output.report());
    let rows = CLUSTER.cli().unwrap().query(&format!("SELECT id FROM {inner}")).unwrap().rows;
    assert_eq!(rows, [["2"]]);
}

#[test]
fn dynamic_overwrite_replaces_the_partitions_of_the_result() {
    let _turn = heavy();
    let (table, location) = nations();
    execute(&format!(
        "INSERT OVERWRITE {table} SELECT n_nationkey, n_name, r_name FROM nation JOIN region \
         ON n_regionkey = r_regionkey WHERE r_name IN ('ASIA', 'EUROPE') AND n_name < 'H';"
    ));
    let want = [("AFRICA", "5"), ("AMERICA", "5"), ("ASIA", "1"), ("EUROPE", "2"), ("MIDDLE EAST", "5")];
    assert_eq!(counts(&location), pairs(&want));
    // Nothing in the result, nothing replaced.
    execute(&format!("INSERT OVERWRITE {table} SELECT n_nationkey, n_name, 'AFRICA' FROM nation WHERE false;"));
    assert_eq!(counts(&location), pairs(&want));
}

#[test]
fn static_overwrite_replaces_exactly_that_partition() {
    let _turn = heavy();
    let (table, location) = nations();
    execute(&format!(
        "INSERT OVERWRITE {table} PARTITION (region = 'ASIA') SELECT n_nationkey, n_name FROM nation WHERE n_nationkey < 2;"
    ));
    let want = [("AFRICA", "5"), ("AMERICA", "5"), ("ASIA", "2"), ("EUROPE", "5"), ("MIDDLE EAST", "5")];
    assert_eq!(counts(&location), pairs(&want));
    // Also when the result is empty.
    execute(&format!(
        "INSERT OVERWRITE {table} PARTITION (region = 'AFRICA') SELECT n_nationkey, n_name FROM nation WHERE false;"
    ));
    assert_eq!(counts(&location), pairs(&want[1..]));
}

/// Moves a partition's files to the directory that another engine would have made.
fn respell(table: &str, from: &str, to: &str) {
    let client = S3.access().client(BUCKET).unwrap();
    let keys = S3.keys(BUCKET, &format!("{table}/{from}")).unwrap();
    assert!(!keys.is_empty(), "nothing in {table}/{from}");
    for key in keys {
        let to = ObjectPath::from(key.replace(from, to));
        block_on(client.rename(&ObjectPath::from(key), &to)).unwrap().unwrap();
    }
}

#[test]
fn an_overwrite_replaces_a_partition_whose_directory_is_spelt_otherwise() {
    let _turn = heavy();
    let table = unique("months");
    execute(&format!(
        "CREATE EXTERNAL TABLE {table} (id BIGINT, month INT) STORED AS PARQUET PARTITIONED BY (month)
           LOCATION 's3://{BUCKET}/{table}/';
         INSERT INTO {table} SELECT n_nationkey, 1 + n_nationkey % 2 FROM nation;"
    ));
    let counts = || {
        let sql = format!("SELECT month, count(*) FROM {table} GROUP BY month ORDER BY month");
        CLUSTER.cli().unwrap().query(&sql).unwrap().rows
    };
    respell(&table, "month=1", "month=01");
    assert_eq!(counts(), [["1", "13"], ["2", "12"]]);
    execute(&format!("INSERT OVERWRITE {table} SELECT n_nationkey, 1 FROM nation WHERE n_nationkey < 3;"));
    assert_eq!(counts(), [["1", "3"], ["2", "12"]]);
    respell(&table, "month=2", "month=002");
    execute(&format!("INSERT OVERWRITE {table} PARTITION (month = '02') SELECT n_nationkey FROM nation LIMIT 4;"));
    assert_eq!(counts(), [["1", "3"], ["2", "4"]]);
}

#[test]
fn overwrite_of_a_table_without_partitions_replaces_it_all() {
    let _turn = heavy();
    let table = unique("plain");
    let location = format!("s3://{BUCKET}/{table}/");
    execute(&format!(
        "CREATE EXTERNAL TABLE {table} (a BIGINT, b VARCHAR) STORED AS PARQUET LOCATION '{location}';
         INSERT INTO {table} SELECT n_nationkey, n_name FROM nation;
         INSERT OVERWRITE {table} SELECT 1, 'only';"
    ));
    assert_eq!(read_back("SELECT * FROM t", &location).rows, [["1", "only"]]);
    execute(&format!("INSERT OVERWRITE {table} SELECT 1, 'none' FROM nation WHERE false;"));
    assert_eq!(CLUSTER.cli().unwrap().query(&format!("SELECT count(*) FROM {table}")).unwrap().single().unwrap(), "0");
}

#[test]
fn partition_values_that_need_escaping_survive() {
    let _turn = heavy();
    let table = unique("odd");
    let location = format!("s3://{BUCKET}/{table}/");
    let values = "(1, 'a b'), (2, 'x/y'), (3, 'k=v'), (4, 'köln'), (5, '100%'), (6, NULL), (7, 'a:b''c')";
    execute(&format!(
        "CREATE EXTERNAL TABLE {table} (id BIGINT, p VARCHAR) STORED AS PARQUET PARTITIONED BY (p) LOCATION '{location}';
         INSERT INTO {table} SELECT column1, column2 FROM (VALUES {values});"
    ));
    let want = [["1", "a b"], ["2", "x/y"], ["3", "k=v"], ["4", "köln"], ["5", "100%"], ["6", ""], ["7", "a:b'c"]];
    assert_eq!(read_back("SELECT id, CAST(p AS VARCHAR) FROM t ORDER BY id", &location).rows, want, "DuckDB");
    let own = CLUSTER.cli().unwrap().query(&format!("SELECT id, p FROM {table} ORDER BY id")).unwrap();
    assert_eq!(own.rows, want, "Selvedge");
}

#[test]
fn create_table_as_and_its_schema_location() {
    let _turn = heavy();
    let schema = unique("lake");
    let select = "SELECT o_orderpriority, count(*) AS orders, sum(o_totalprice) AS total FROM orders GROUP BY 1";
    execute(&format!(
        "CREATE SCHEMA {schema} LOCATION 's3://{BUCKET}/{schema}/';\nCREATE TABLE {schema}.priorities AS {select};"
    ));
    let want = ORACLE.query(select).unwrap();
    let own = CLUSTER.cli().unwrap().query(&format!("SELECT * FROM {schema}.priorities")).unwrap();
    same(&own, &want, Order::Any, "the table read by Selvedge");
    let source = Source::delta("t", &format!("s3://{BUCKET}/{schema}/priorities"));
    let theirs = duckdb("SELECT * FROM t", &[source], Some(&S3.access())).unwrap();
    same(&theirs, &want, Order::Any, "read by DuckDB");
}

#[test]
fn copy_to_a_directory_and_to_one_file() {
    let _turn = heavy();
    let name = unique("copied");
    let select = "SELECT c_custkey, c_name, c_acctbal FROM customer WHERE c_custkey % 7 = 0";
    execute(&format!("COPY ({select}) TO 's3://{BUCKET}/{name}/dir/' STORED AS PARQUET;"));
    execute(&format!("COPY ({select}) TO 's3://{BUCKET}/{name}/one.parquet' STORED AS PARQUET;"));
    let want = ORACLE.query(select).unwrap();
    for place in ["dir", "one.parquet"] {
        let got = read_back("SELECT * FROM t", &format!("s3://{BUCKET}/{name}/{place}"));
        same(&got, &want, Order::Any, place);
    }
    assert!(S3.keys(BUCKET, &name).unwrap().contains(&format!("{name}/one.parquet")));
}

#[test]
fn the_etl_write_is_right_parallel_and_well_formed() {
    let _turn = heavy();
    let mart = Mart::new();
    execute(&format!("{}{}", mart.create(), mart.fill()));
    mart.expect_right();
    // Again: replaces, does not add.
    execute(&mart.fill());
    mart.expect_right();

    let keys = S3.keys(BUCKET, &mart.prefix).unwrap();
    assert_eq!(keys.len(), 80, "each of the 80 months fits into one file, and one task writes it");
    let client = S3.access().client(BUCKET).unwrap();
    let key = ObjectPath::from(keys[0].as_str());
    let body = block_on(async { client.get(&key).await?.bytes().await }).unwrap().unwrap();
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(body, options).unwrap();
    let metadata = reader.metadata();
    let column = metadata.row_group(0).column(0);
    assert!(matches!(column.compression(), Compression::ZSTD(_)), "{:?}", column.compression());
    assert!(column.statistics().is_some(), "no statistics in {key}");
    assert!(metadata.column_index().is_some() && metadata.offset_index().is_some(), "no page index in {key}");
    let names: Vec<_> = reader.metadata().file_metadata().schema_descr().columns().iter().map(|c| c.name()).collect();
    assert!(!names.contains(&"o_month"), "the partition column is in the path, not in the file: {names:?}");
}

#[test]
fn the_target_file_size_is_kept() {
    let _turn = heavy();
    let name = unique("sized");
    execute(&format!(
        "SET selvedge.write.target_file_bytes = '1MiB';
         COPY (SELECT l_orderkey, l_partkey, l_comment FROM lineitem) TO 's3://{BUCKET}/{name}/' STORED AS PARQUET;"
    ));
    let client = S3.access().client(BUCKET).unwrap();
    let keys = S3.keys(BUCKET, &name).unwrap();
    assert!(keys.len() >= 8, "{} files for about 15 MB", keys.len());
    for key in keys {
        let size = block_on(client.head(&ObjectPath::from(key.as_str()))).unwrap().unwrap().size;
        assert!(size < 4 * 1024 * 1024, "{key} has {size} bytes");
    }
    let got = read_back(
        "SELECT count(*), sum(l_partkey), count(DISTINCT l_orderkey) FROM t",
        &format!("s3://{BUCKET}/{name}"),
    );
    let want = ORACLE.query("SELECT count(*), sum(l_partkey), count(DISTINCT l_orderkey) FROM lineitem").unwrap();
    same(&got, &want, Order::Total, "rows over all files");
}

#[test]
fn a_write_that_fails_late_changes_nothing() {
    let _turn = heavy();
    let (table, location) = nations();
    let before = S3.keys(BUCKET, &table).unwrap();
    // The last order of the last file: most rows are written by then.
    let last = ORACLE.query("SELECT max(l_orderkey) FROM lineitem").unwrap();
    let insert = format!(
        "INSERT OVERWRITE {table} SELECT l_orderkey / (l_orderkey - {}), l_comment, l_shipmode FROM lineitem;",
        last.single().unwrap()
    );
    let output = CLUSTER.cli().unwrap().run(&["sql", "-c", &insert]).unwrap();
    assert_eq!(output.code, 1, "{}", output.report());
    assert!(output.stderr.to_lowercase().contains("zero"), "{}", output.report());
    assert_eq!(S3.keys(BUCKET, &table).unwrap(), before);
    assert_eq!(counts(&location), pairs(&ALL_FIVE));
}

#[test]
fn what_a_late_task_stages_after_the_end_is_swept_too() {
    let _turn = heavy();
    let table = unique("late");
    let script = format!("COPY (SELECT n_nationkey FROM nation) TO 's3://{BUCKET}/{table}/' STORED AS PARQUET;");
    let file = CLUSTER.dir().join("late.sql");
    std::fs::write(&file, script).unwrap();
    let cli = CLUSTER.cli().unwrap();
    let submitted = cli.run(&["--format", "json", "submit", &file.to_string_lossy()]).unwrap().succeeded().unwrap();
    let run = submitted.run_id().unwrap();
    let record = CLUSTER.fleet().unwrap().wait_final(&run, LONG).unwrap();
    assert_eq!(record.state().as_str_name(), "RUN_STATE_SUCCEEDED");
    // As a task leaves it that was killed before it could clear up.
    let client = S3.access().client(BUCKET).unwrap();
    let path = ObjectPath::from(format!("{table}/late.parquet"));
    let upload = block_on(client.create_multipart(&path)).unwrap().unwrap();
    // One that the store opened without its task ever hearing of it; and another job's, which is none of ours.
    let open = |name: String| {
        let path = ObjectPath::from(format!("{table}/{name}.parquet"));
        let upload = block_on(client.create_multipart(&path)).unwrap().unwrap();
        (path, upload)
    };
    let (unheard, other) = (open(format!("{run}-s1-a1-9.0.9.9.0-0")), open(format!("{run}-s1-a10-9.0.9.9.0-0")));
    let entry = serde_json::json!({"path": path.to_string(), "upload_id": upload}).to_string();
    let journal = ObjectPath::from(format!("{table}/_selvedge_staging/{run}-s1-a1/late.parquet.json"));
    block_on(client.put(&journal, entry.into())).unwrap().unwrap();
    eventually(Duration::from_secs(30), || {
        let staged: Vec<_> = S3.keys(BUCKET, &table)?.into_iter().filter(|key| key.contains("staging")).collect();
        if staged.is_empty() { Ok(()) } else { Err(fail(format!("left behind: {staged:?}"))) }
    })
    .unwrap();
    let is_open = |path, upload| block_on(client.put_part(path, upload, 0, "late".into())).unwrap().is_ok();
    assert!(!is_open(&path, &upload), "the upload is still open");
    let is_unheard_open =
        || if is_open(&unheard.0, &unheard.1) { Err(fail("one without an entry is open")) } else { Ok(()) };
    eventually(Duration::from_secs(30), is_unheard_open).unwrap();
    assert!(is_open(&other.0, &other.1), "another job's upload is gone");
    block_on(client.abort_multipart(&other.0, &other.1)).unwrap().unwrap();
    assert_eq!(read_back("SELECT count(*) FROM t", &format!("s3://{BUCKET}/{table}/")).single().unwrap(), "25");
}
