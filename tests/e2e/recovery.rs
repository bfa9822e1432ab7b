//! `kill -9` of one of two executors in the middle of a query or a write.
//!
//! With a shuffle location the rows are right every time. Without one they are right, or the run ends with a clear error
//! within a minute, and nothing is published.

use std::time::{Duration, Instant};

use selvedge_tests::cluster::{Cluster, ClusterOptions};
use selvedge_tests::process::Signal;
use selvedge_tests::tpch;

use crate::stage::{LONG, Mart, expected, heavy, same, shuffle, tpch_cluster};

const KILLED_IN: [u32; 4] = [3, 9, 18, 21];
/// Many small tasks: there is a middle to kill in.
const MANY_TASKS: &str = "SET selvedge.planner.target_partitions = 12;\n";
/// The promise of an end without a shuffle location.
const CLEAR_ERROR_LIMIT: Duration = Duration::from_secs(60);

/// Starts a script, kills executor `victim` once `tasks` tasks are done, and gives back how the command ended.
fn run_and_kill(
    cluster: &mut Cluster,
    args: &[&str],
    victim: usize,
    tasks: u32,
) -> (selvedge_tests::cli::Output, Duration) {
    let fleet = cluster.fleet().unwrap();
    let command = cluster.cli().unwrap().start(args).unwrap();
    let run = fleet.wait("the run", LONG, |f| Ok(f.open_runs()?.into_iter().next())).unwrap();
    let middle = fleet.wait_middle(&run, tasks, LONG).unwrap();
    assert!(middle, "the run ended before the kill: use more tasks\n{}", cluster.logs());
    cluster.kill_executor(victim).unwrap();
    let killed = Instant::now();
    let output = command.finish(LONG).unwrap();
    (output, killed.elapsed())
}

/// Brings the cluster back to two executors.
fn replace(cluster: &mut Cluster) -> usize {
    let position = cluster.add_executor().unwrap();
    cluster.wait_executors(2).unwrap();
    position
}

fn expect_clear_error(output: &selvedge_tests::cli::Output, took: Duration) {
    assert!(took < CLEAR_ERROR_LIMIT, "no end within {CLEAR_ERROR_LIMIT:?} of the kill\n{}", output.report());
    assert_eq!(output.code, 1, "{}", output.report());
    assert!(output.stderr.contains("executor"), "the error must name what was lost\n{}", output.report());
    assert!(!output.stderr.contains("panicked"), "{}", output.report());
}

#[test]
fn with_a_shuffle_location_a_killed_executor_costs_no_row() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions { shuffle: shuffle(), ..Default::default() });
    let mut victim = 0;
    for (round, number) in KILLED_IN.into_iter().enumerate() {
        let query = tpch::query(number).unwrap();
        let sql = format!("{MANY_TASKS}{}", query.sql);
        let tasks = [1, 6, 14, 20][round % 4];
        let (output, _) = run_and_kill(&mut cluster, &["--format", "csv", "sql", "-c", &sql], victim, tasks);
        let got = output.succeeded().unwrap().rows().unwrap();
        same(&got, &expected(&query), query.order, &format!("q{number} with an executor killed after {tasks} tasks"));
        victim = replace(&mut cluster);
    }
}

#[test]
fn without_a_shuffle_location_the_rows_are_right_or_the_error_is_clear() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions::default());
    let mut victim = 0;
    for number in KILLED_IN {
        let query = tpch::query(number).unwrap();
        let sql = format!("{MANY_TASKS}{}", query.sql);
        let (output, took) = run_and_kill(&mut cluster, &["--format", "csv", "sql", "-c", &sql], victim, 8);
        if output.code == 0 {
            same(&output.rows().unwrap(), &expected(&query), query.order, &format!("q{number}"));
        } else {
            expect_clear_error(&output, took);
        }
        victim = replace(&mut cluster);
    }
}

#[test]
fn with_a_shuffle_location_a_write_survives_a_killed_executor() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions { shuffle: shuffle(), ..Default::default() });
    let mut victim = 0;
    // Early, while sources are read; late, while files are staged.
    for tasks in [2, 20] {
        let mart = Mart::new();
        cluster.cli().unwrap().run(&["sql", "-c", &mart.create()]).unwrap().succeeded().unwrap();
        let script = cluster.dir().join("mart.sql");
        std::fs::write(&script, mart.fill()).unwrap();
        let args = ["submit", &script.to_string_lossy(), "--wait"];
        let (output, _) = run_and_kill(&mut cluster, &args, victim, tasks);
        output.succeeded().unwrap();
        mart.expect_right();
        victim = replace(&mut cluster);
    }
}

#[test]
fn without_a_shuffle_location_a_broken_write_publishes_nothing() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions::default());
    let mart = Mart::new();
    cluster.cli().unwrap().run(&["sql", "-c", &mart.create()]).unwrap().succeeded().unwrap();
    let script = cluster.dir().join("mart.sql");
    std::fs::write(&script, mart.fill()).unwrap();
    let args = ["submit", &script.to_string_lossy(), "--wait"];
    let (output, took) = run_and_kill(&mut cluster, &args, 0, 14);
    if output.code == 0 {
        mart.expect_right();
    } else {
        expect_clear_error(&output, took);
        mart.expect_nothing();
    }
}

#[test]
fn a_statement_that_kills_its_executors_fails_and_others_go_on() {
    let _turn = heavy();
    let envs = vec![("SELVEDGE_TASK_FAULT".to_owned(), "abort:deadly".to_owned())];
    let mut cluster = tpch_cluster(ClusterOptions { executors: 3, envs, ..Default::default() });
    let sql = "SELECT count(*) FROM nation WHERE n_name <> 'deadly'";
    let failed = cluster.cli().unwrap().run(&["sql", "-c", sql]).unwrap();
    assert_eq!(failed.code, 1, "{}", failed.report());
    assert!(failed.stderr.contains("POISONED_TASK") && failed.stderr.contains("2 executors"), "{}", failed.report());
    let dead = (0..3).filter(|n| cluster.executor(*n).unwrap().process.exited().unwrap().is_some());
    assert_eq!(dead.count(), 2, "{}", cluster.logs());
    let query = tpch::query(6).unwrap();
    let got = cluster.cli().unwrap().query(query.sql).unwrap();
    same(&got, &expected(&query), query.order, "q6 on the executor that is left");
}

#[test]
fn an_executor_that_freezes_past_its_lease_and_thaws_spoils_nothing() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions { shuffle: shuffle(), ..Default::default() });
    let query = tpch::query(18).unwrap();
    let sql = format!("{MANY_TASKS}{}", query.sql);
    let fleet = cluster.fleet().unwrap();
    let command = cluster.cli().unwrap().start(&["--format", "csv", "sql", "-c", &sql]).unwrap();
    let run = fleet.wait("the run", LONG, |f| Ok(f.open_runs()?.into_iter().next())).unwrap();
    assert!(fleet.wait_middle(&run, 4, LONG).unwrap());
    cluster.signal(0, Signal::Stop).unwrap();
    std::thread::sleep(Duration::from_secs(8));
    cluster.signal(0, Signal::Continue).unwrap();
    let got = command.finish(LONG).unwrap().succeeded().unwrap().rows().unwrap();
    same(&got, &expected(&query), query.order, "q18 with an executor frozen for 8 s");
    cluster.wait_executors(2).unwrap();
}
