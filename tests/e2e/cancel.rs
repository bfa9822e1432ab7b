//! A cancelled run stops working soon, says so, and leaves nothing behind.

use std::time::Duration;

use selvedge_tests::cluster::{Cluster, ClusterOptions, eventually};
use selvedge_tests::fail;

use crate::stage::{LONG, Mart, heavy, tpch_cluster};

const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// Joins without a key: would run for hours.
pub const ENDLESS: &str = "SELECT count(*) FROM lineitem a, lineitem b WHERE a.l_comment || b.l_comment NOT LIKE '%no such words anywhere%';\n";

pub fn expect_idle(cluster: &Cluster) {
    let fleet = cluster.fleet().unwrap();
    eventually(STOPS_WITHIN, || {
        let busy: u32 = fleet.executors()?.iter().map(|e| e.running_tasks).sum();
        if busy == 0 { Ok(()) } else { Err(fail(format!("{busy} tasks still run"))) }
    })
    .unwrap();
}

/// Submits without waiting, and gives the run's id once its tasks run.
pub fn submit_and_wait_running(cluster: &Cluster, script: &str) -> String {
    let file = cluster.dir().join("job.sql");
    std::fs::write(&file, script).unwrap();
    let cli = cluster.cli().unwrap();
    let output = cli.run(&["--format", "json", "submit", &file.to_string_lossy()]).unwrap().succeeded().unwrap();
    let run = output.run_id().unwrap();
    assert!(cluster.fleet().unwrap().wait_middle(&run, 0, LONG).unwrap(), "{}", cluster.logs());
    run
}

#[test]
fn a_cancelled_query_stops_its_tasks() {
    let _turn = heavy();
    let cluster = tpch_cluster(ClusterOptions::default());
    let run = submit_and_wait_running(&cluster, ENDLESS);
    let cli = cluster.cli().unwrap();
    cli.run(&["runs", "cancel", &run]).unwrap().succeeded().unwrap();
    let record = cluster.fleet().unwrap().wait_final(&run, STOPS_WITHIN).unwrap();
    assert_eq!(record.state().as_str_name(), "RUN_STATE_CANCELLED");
    expect_idle(&cluster);
    // Idempotent; and the cores are free again.
    cli.run(&["runs", "cancel", &run]).unwrap().succeeded().unwrap();
    assert_eq!(cli.query("SELECT count(*) FROM nation").unwrap().single().unwrap(), "25");
}

#[test]
fn a_cancelled_write_leaves_nothing() {
    let _turn = heavy();
    let cluster = tpch_cluster(ClusterOptions::default());
    let mart = Mart::new();
    // The mart's own rows first, so that files are staged, and then rows that never come.
    let endless = mart.fill().replace(
        "JOIN customer ON o_custkey = c_custkey",
        "JOIN customer ON o_custkey = c_custkey WHERE l_orderkey IN \
         (SELECT a.l_orderkey FROM lineitem a, lineitem b WHERE a.l_comment || b.l_comment NOT LIKE '%no such words%')",
    );
    let run = submit_and_wait_running(&cluster, &format!("{}{endless}", mart.create()));
    cluster.cli().unwrap().run(&["runs", "cancel", &run]).unwrap().succeeded().unwrap();
    let record = cluster.fleet().unwrap().wait_final(&run, STOPS_WITHIN).unwrap();
    assert_eq!(record.state().as_str_name(), "RUN_STATE_CANCELLED");
    expect_idle(&cluster);
    mart.expect_nothing();
}

#[test]
fn what_takes_too_long_is_ended_and_says_what_it_was_doing() {
    let _turn = heavy();
    let cluster = tpch_cluster(ClusterOptions::default());
    let cli = cluster.cli().unwrap();
    let limited = format!("SELECT 1; SET selvedge.statement.timeout = '3s'; {ENDLESS}");
    let output = cli.run(&["sql", "-c", &limited]).unwrap();
    assert_eq!(output.code, 1, "{}", output.report());
    let says = |text: &str| assert!(output.stderr.contains(text), "{text}: {}", output.report());
    says("STATEMENT_TIMEOUT");
    says("after 3s");
    says("stage");
    expect_idle(&cluster);

    let file = cluster.dir().join("endless.sql");
    std::fs::write(&file, ENDLESS).unwrap();
    let args = ["--format", "json", "submit", &file.to_string_lossy(), "--timeout", "3s"];
    let run = cli.run(&args).unwrap().succeeded().unwrap().run_id().unwrap();
    let record = cluster.fleet().unwrap().wait_final(&run, LONG).unwrap();
    assert_eq!(record.failure.unwrap().code, "RUN_TIMEOUT");
    assert_eq!(record.statements[0].attempt, 1, "it is not tried again");
    let shown = cli.run(&["runs", "show", &run]).unwrap().succeeded().unwrap();
    assert!(shown.stdout.contains("selvedge.run.timeout=3s"), "{}", shown.report());
    expect_idle(&cluster);
    assert_eq!(cli.query("SELECT count(*) FROM nation").unwrap().single().unwrap(), "25");
}
