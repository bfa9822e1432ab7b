//! Doubled, lost and late messages between executors and scheduler change no row and hang nothing.
//!
//! Each guards a bug of the engine below: a repeated success counted twice doubles rows, a lost reply loses its tasks for
//! ever, a lost acknowledgement drops a result.

use std::time::Duration;

use selvedge_tests::cluster::{Cluster, ClusterOptions};
use selvedge_tests::tpch;

use crate::stage::{Mart, expected, heavy, same, shuffle, tpch_cluster};

const MANY_TASKS: &str = "SET selvedge.planner.target_partitions = 8;\n";

fn faulty_cluster() -> Cluster {
    tpch_cluster(ClusterOptions { faulty_network: true, shuffle: shuffle(), ..Default::default() })
}

fn expect_right(cluster: &Cluster, queries: &[u32], what: &str) {
    for number in queries {
        let query = tpch::query(*number).unwrap();
        let got = cluster.cli().unwrap().query(&format!("{MANY_TASKS}{}", query.sql)).unwrap();
        same(&got, &expected(&query), query.order, &format!("q{number} with {what}"));
    }
}

#[test]
fn a_status_that_arrives_twice_counts_once() {
    let _turn = heavy();
    let cluster = faulty_cluster();
    cluster.proxy().unwrap().duplicate_statuses();
    expect_right(&cluster, &[3, 13, 16], "statuses doubled");
    let mart = Mart::new();
    cluster.cli().unwrap().run(&["sql", "-c", &(mart.create() + &mart.fill())]).unwrap().succeeded().unwrap();
    mart.expect_right();
    assert!(cluster.proxy().unwrap().done().0 > 10, "the proxy has doubled next to nothing");
}

#[test]
fn tasks_in_a_lost_reply_run_all_the_same() {
    let _turn = heavy();
    let cluster = faulty_cluster();
    cluster.proxy().unwrap().lose_tasks(5);
    expect_right(&cluster, &[3, 18], "replies with tasks lost");
    assert!(cluster.proxy().unwrap().done().1 > 1, "the proxy has lost next to nothing");
}

#[test]
fn a_status_whose_acknowledgement_is_lost_is_sent_again() {
    let _turn = heavy();
    let cluster = faulty_cluster();
    cluster.proxy().unwrap().lose_acknowledgements(3);
    expect_right(&cluster, &[3, 21], "acknowledgements lost");
    assert!(cluster.proxy().unwrap().done().1 > 3, "the proxy has lost next to nothing");
}

#[test]
fn a_slow_network_only_slows() {
    let _turn = heavy();
    let cluster = faulty_cluster();
    cluster.proxy().unwrap().delay(Duration::from_millis(300));
    expect_right(&cluster, &[6, 14], "every call 300 ms late");
}
