//! An executor that is asked to leave ends or hands back what it runs, and no row is lost.

use selvedge_tests::cluster::ClusterOptions;
use selvedge_tests::process::Signal;
use selvedge_tests::tpch;

use crate::stage::{LONG, expected, heavy, same, shuffle, tpch_cluster};

const MANY_TASKS: &str = "SET selvedge.planner.target_partitions = 12;\n";

#[test]
fn sigterm_drains_an_executor_in_the_middle_of_a_query() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions { shuffle: shuffle(), ..Default::default() });
    let query = tpch::query(9).unwrap();
    let sql = format!("{MANY_TASKS}{}", query.sql);
    let fleet = cluster.fleet().unwrap();
    let command = cluster.cli().unwrap().start(&["--format", "csv", "sql", "-c", &sql]).unwrap();
    let run = fleet.wait("the run", LONG, |f| Ok(f.open_runs()?.into_iter().next())).unwrap();
    assert!(fleet.wait_middle(&run, 2, LONG).unwrap());
    cluster.signal(0, Signal::Terminate).unwrap();
    let status = cluster.executor(0).unwrap().process.wait(LONG).unwrap();
    assert_eq!(status.code(), Some(0), "{}", cluster.logs());
    let got = command.finish(LONG).unwrap().succeeded().unwrap().rows().unwrap();
    same(&got, &expected(&query), query.order, "q9 with an executor drained");
    cluster.wait_executors(1).unwrap();
}

#[test]
fn a_drained_executor_takes_nothing_more_and_leaves() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions::default());
    let id = cluster.executor(0).unwrap().id.clone();
    let cli = cluster.cli().unwrap();
    let listed = cli.run(&["--format", "csv", "executors", "list"]).unwrap().succeeded().unwrap();
    assert!(listed.stdout.contains(&id), "{}", listed.report());
    cli.run(&["executors", "drain", &id]).unwrap().succeeded().unwrap();
    let status = cluster.executor(0).unwrap().process.wait(LONG).unwrap();
    assert_eq!(status.code(), Some(0), "{}", cluster.logs());
    cluster.wait_executors(1).unwrap();
    let query = tpch::query(6).unwrap();
    same(&cli.query(query.sql).unwrap(), &expected(&query), query.order, "q6 on the one that is left");
    let unknown = cli.run(&["executors", "drain", "nobody"]).unwrap();
    assert_eq!(unknown.code, 1, "{}", unknown.report());
    assert!(unknown.stderr.contains("nobody"), "{}", unknown.report());
}
