//! The 22 TPC-H queries through `selvedge sql` on a scheduler and two executors over s3://, against DataFusion alone.

use selvedge_tests::tpch::QUERIES;

use crate::stage::{CLUSTER, expected, heavy, same};

#[test]
fn all_22_queries_equal_single_process_datafusion() {
    let _turn = heavy();
    let cli = CLUSTER.cli().unwrap();
    let mut wrong = Vec::new();
    for query in QUERIES {
        let want = expected(query);
        match cli.query(query.sql) {
            Ok(got) => wrong.extend(got.difference(&want, query.order).map(|d| format!("q{}: {d}", query.number))),
            Err(error) => wrong.push(format!("q{}: {error}", query.number)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} queries are wrong:\n{}", wrong.len(), QUERIES.len(), wrong.join("\n"));
}

#[test]
fn the_adaptive_planner_gives_the_same_rows() {
    let _turn = heavy();
    let cli = CLUSTER.cli().unwrap();
    for query in QUERIES.iter().filter(|q| [3, 5, 10, 18].contains(&q.number)) {
        let got = cli.query(&format!("SET selvedge.planner.adaptive = true;\n{}", query.sql)).unwrap();
        same(&got, &expected(query), query.order, &format!("q{} with adaptive planning", query.number));
    }
}
