//! Joins whose tasks see only a part of one input give the rows of a single process, whichever planner made the plan.
//!
//! Each of these gave too many rows, or none ever, on the engine below as it is: unmatched rows came once for every task, and an
//! input that is empty at run time kept the adaptive planner busy for ever. See docs/adr/0008.

use selvedge_tests::rows::Order;
use selvedge_tests::tpch::Query;

use crate::stage::{CLUSTER, expected, heavy, same};

const NONE: &str = "(SELECT * FROM customer WHERE c_nationkey > 99)";

fn joins() -> Vec<String> {
    let few = "(SELECT * FROM orders WHERE o_orderkey < 3000)";
    [
        "SELECT count(*), count(b.o_orderkey), sum(n_nationkey) FROM nation LEFT JOIN orders b
           ON n_nationkey * 500 + 1 > b.o_custkey AND b.o_orderkey < 300"
            .to_owned(),
        format!("SELECT count(*), count(o_orderkey), count(n_nationkey) FROM {few} b FULL JOIN nation ON n_nationkey * 1000 - 500 > o_custkey"),
        format!("SELECT count(*) FROM {few} b RIGHT JOIN nation ON n_nationkey > o_custkey"),
        "SELECT count(*) FROM nation WHERE EXISTS (SELECT 1 FROM orders WHERE o_custkey < n_nationkey * 10)".to_owned(),
        "SELECT count(*) FROM nation WHERE NOT EXISTS (SELECT 1 FROM orders WHERE o_custkey < n_nationkey)".to_owned(),
        "SELECT count(*), sum(o_orderkey) FROM orders WHERE o_custkey NOT IN (SELECT c_custkey FROM customer WHERE c_nationkey < 12)".to_owned(),
        "SELECT count(*) FROM orders WHERE o_custkey NOT IN
           (SELECT CASE WHEN c_custkey = 5 THEN NULL ELSE c_custkey END FROM customer WHERE c_nationkey < 12)"
            .to_owned(),
        "SELECT count(*) FROM nation WHERE n_nationkey NOT IN (SELECT c_nationkey FROM customer WHERE c_custkey < n_regionkey * 9)".to_owned(),
        format!("SELECT count(*) FROM orders WHERE o_custkey NOT IN (SELECT c_custkey FROM {NONE} c)"),
        format!("SELECT count(*), count(c_custkey) FROM orders LEFT JOIN {NONE} c ON c_custkey = o_custkey"),
        format!("SELECT count(*), count(c_custkey) FROM {NONE} c FULL JOIN orders ON c_custkey = o_custkey"),
        "SELECT count(*) FROM orders WHERE NOT EXISTS (SELECT 1 FROM customer WHERE c_custkey = o_custkey AND c_nationkey > 99)".to_owned(),
        "SELECT count(*), count(o_orderkey), count(c_custkey) FROM customer FULL JOIN orders ON c_custkey = o_custkey".to_owned(),
    ]
    .into()
}

#[test]
fn joins_give_the_rows_of_a_single_process() {
    let _turn = heavy();
    let cli = CLUSTER.cli().unwrap();
    for (index, sql) in joins().iter().enumerate() {
        let number = u32::try_from(index).unwrap() + 101;
        let want = expected(&Query { number, sql: sql.clone().leak(), order: Order::Any });
        for adaptive in [false, true] {
            let settings =
                format!("SET selvedge.planner.target_partitions = 8; SET selvedge.planner.adaptive = {adaptive};");
            let got = cli.query(&format!("{settings}\n{sql};")).unwrap();
            same(&got, &want, Order::Any, &format!("adaptive = {adaptive}: {sql}"));
        }
    }
}

/// What a single process refuses, or answers wrongly, with the answers of DuckDB.
#[test]
fn not_in_is_right_where_a_single_process_has_no_answer() {
    let cli = CLUSTER.cli().unwrap();
    for (sql, want) in [
        (
            "SELECT count(*) FROM nation WHERE 5 NOT IN (SELECT CASE WHEN c_custkey = 9 THEN NULL ELSE 7 END FROM customer)",
            "0",
        ),
        (
            "SELECT count(*) FROM nation WHERE n_regionkey NOT IN
               (SELECT CASE WHEN c_custkey = 1 THEN NULL ELSE 7 END FROM customer WHERE c_nationkey = n_nationkey)",
            "24",
        ),
    ] {
        assert_eq!(cli.query(sql).unwrap().single().unwrap(), want, "{sql}");
    }
}
