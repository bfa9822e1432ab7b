//! What tests share: the S3 server, the TPC-H data, the healthy cluster, and the ETL write that several tests do.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selvedge_tests::cluster::{Cluster, ClusterOptions};
use selvedge_tests::oracle::Oracle;
use selvedge_tests::readback::{Source, duckdb};
use selvedge_tests::rows::{Order, Rows};
use selvedge_tests::seaweed::SeaweedFs;
use selvedge_tests::tpch;

/// Bounds everything that is not a bound under test: debug builds on two slow cores.
pub const LONG: Duration = Duration::from_secs(300);

pub const BUCKET: &str = "e2e";
const SCALE: f64 = 0.1;

pub static S3: LazyLock<SeaweedFs> = LazyLock::new(|| {
    let server = SeaweedFs::start().unwrap();
    server.create_bucket(BUCKET).unwrap();
    server
});

/// The TPC-H data on the local disk.
pub static DATA: LazyLock<PathBuf> = LazyLock::new(|| {
    let scale = std::env::var("SELVEDGE_TEST_SCALE").map_or(SCALE, |scale| scale.parse().unwrap());
    tpch::data(scale, 2).unwrap()
});

/// The same data in the bucket: the root of its tables.
pub static TPCH_URL: LazyLock<String> = LazyLock::new(|| {
    S3.upload(&DATA, BUCKET, "tpch").unwrap();
    format!("s3://{BUCKET}/tpch")
});

pub static ORACLE: LazyLock<Oracle> = LazyLock::new(|| Oracle::tpch(&DATA, 2).unwrap());

/// One scheduler, two executors, the TPC-H tables; for tests that break nothing.
pub static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| tpch_cluster(ClusterOptions::default()));

static HEAVY: Mutex<()> = Mutex::new(());

/// Held by tests that start or load a cluster: two at once on two cores only make both slow.
pub fn heavy() -> MutexGuard<'static, ()> {
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that no other test uses.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A cluster on the shared S3 server with the TPC-H tables created.
pub fn tpch_cluster(options: ClusterOptions) -> Cluster {
    let warehouse = format!("s3://{BUCKET}/{}", unique("warehouse"));
    let options = ClusterOptions { s3: Some(S3.access()), warehouse: Some(warehouse), ..options };
    let cluster = Cluster::start(options).unwrap();
    cluster.cli().unwrap().run(&["sql", "-c", &tpch::create_tables(&TPCH_URL)]).unwrap().succeeded().unwrap();
    cluster
}

/// A fresh location for shuffle files.
pub fn shuffle() -> Option<String> {
    Some(format!("s3://{BUCKET}/{}", unique("shuffle")))
}

/// What the oracle answers to a TPC-H query.
pub fn expected(query: &tpch::Query) -> Rows {
    let rows = ORACLE.query(query.sql).unwrap();
    assert!(!rows.rows.is_empty(), "q{} has no rows at this scale: it would prove nothing", query.number);
    rows
}

/// The rows of the ETL write: the join of lineitem, orders and customer, with the month of the order.
pub const MART_SELECT: &str = "\
SELECT l_orderkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_shipdate, o_orderdate, o_totalprice,
       c_custkey, c_name, c_mktsegment, strftime(o_orderdate, '%Y-%m') AS o_month
FROM lineitem JOIN orders ON l_orderkey = o_orderkey JOIN customer ON o_custkey = c_custkey";

/// The ETL write: a partitioned table at a fresh location, filled from the join.
pub struct Mart {
    pub table: String,
    pub location: String,
    pub prefix: String,
}

impl Mart {
    pub fn new() -> Self {
        let table = unique("mart");
        Self { location: format!("s3://{BUCKET}/{table}/"), prefix: table.clone(), table }
    }

    /// Creates the table.
    pub fn create(&self) -> String {
        format!(
            "CREATE EXTERNAL TABLE {} (
               l_orderkey BIGINT, l_linenumber INT, l_quantity DECIMAL(15, 2), l_extendedprice DECIMAL(15, 2),
               l_discount DECIMAL(15, 2), l_shipdate DATE, o_orderdate DATE, o_totalprice DECIMAL(15, 2),
               c_custkey BIGINT, c_name VARCHAR, c_mktsegment VARCHAR, o_month VARCHAR)
             STORED AS PARQUET PARTITIONED BY (o_month) LOCATION '{}';\n",
            self.table, self.location
        )
    }

    /// Fills it: many small tasks, so that there is a middle to kill in.
    pub fn fill(&self) -> String {
        let select = MART_SELECT.replace("strftime(o_orderdate, '%Y-%m')", "to_char(o_orderdate, '%Y-%m')");
        format!("SET selvedge.planner.target_partitions = 12;\nINSERT OVERWRITE {} {select};\n", self.table)
    }

    /// Its rows, read and compared by DuckDB with the same join over the source.
    pub fn expect_right(&self) {
        let sources = ["lineitem", "orders", "customer"].map(|t| Source::new(t, &DATA.join(t).to_string_lossy()));
        let all: Vec<Source> = sources.into_iter().chain([Source::new("mart", &self.location)]).collect();
        let columns = "l_orderkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_shipdate, o_orderdate, \
                       o_totalprice, c_custkey, c_name, c_mktsegment, CAST(o_month AS VARCHAR) AS o_month";
        let sql = format!(
            "WITH want AS ({MART_SELECT}), have AS (SELECT {columns} FROM mart)
             SELECT (SELECT count(*) FROM have), (SELECT count(*) FROM want),
                    (SELECT count(*) FROM (SELECT * FROM want EXCEPT ALL SELECT * FROM have)),
                    (SELECT count(*) FROM (SELECT * FROM have EXCEPT ALL SELECT * FROM want))"
        );
        let counts = duckdb(&sql, &all, Some(&S3.access())).unwrap();
        let [have, want, missing, extra] = counts.rows[0].as_slice() else { panic!("four counts: {counts:?}") };
        assert_eq!((have, missing.as_str(), extra.as_str()), (want, "0", "0"), "rows written, missing, too many");
        assert_ne!(want, "0");
    }

    /// Nothing that a reader would see, and no staging left either.
    pub fn expect_nothing(&self) {
        let keys = S3.keys(BUCKET, &self.prefix).unwrap();
        assert!(keys.is_empty(), "left behind: {keys:?}");
    }
}

/// Asserts that two results are the same.
#[track_caller]
pub fn same(left: &Rows, right: &Rows, order: Order, what: &str) {
    if let Some(difference) = left.difference(right, order) {
        panic!("{what}: results differ: {difference}");
    }
}
