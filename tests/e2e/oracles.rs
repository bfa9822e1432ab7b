//! The oracles agree with each other: what S3 holds reads back the same in DuckDB and in DataFusion. When this fails, look
//! at the harness before looking at Selvedge.

use selvedge_tests::readback::{Source, duckdb};
use selvedge_tests::rows::Order;
use selvedge_tests::tpch::{self, QUERIES};

use crate::stage::{ORACLE, S3, TPCH_URL, expected, same};

#[test]
fn duckdb_over_s3_and_datafusion_on_disk_agree() {
    let sources: Vec<Source> = tpch::TABLES.iter().map(|t| Source::new(t, &format!("{}/{t}", *TPCH_URL))).collect();
    for number in [3, 12, 16, 18, 21] {
        let query = tpch::query(number).unwrap();
        let got = duckdb(query.sql, &sources, Some(&S3.access())).unwrap();
        same(&got, &expected(&query), query.order, &format!("q{number}"));
    }
    let sql = "SELECT count(*), sum(l_extendedprice), min(l_shipdate), max(l_comment) FROM lineitem";
    same(&duckdb(sql, &sources, Some(&S3.access())).unwrap(), &ORACLE.query(sql).unwrap(), Order::Total, "sums");
}

#[test]
fn every_query_has_rows_at_this_scale() {
    for query in QUERIES {
        expected(query);
    }
}

#[test]
fn the_read_only_user_may_not_write() {
    use object_store::ObjectStoreExt as _;
    let client = S3.read_only().client(crate::stage::BUCKET).unwrap();
    let put = selvedge_tests::block_on(client.put(&"refused/x".into(), "x".into())).unwrap();
    assert!(put.is_err(), "the tests of refused writes would prove nothing");
}
