//! Ctrl-C on `submit --wait`. On a terminal the first asks whether to cancel and the second leaves the run going; without
//! one nobody can be asked, and the run goes on.

use selvedge_tests::cli::Started;
use selvedge_tests::cluster::{Cluster, ClusterOptions};
use selvedge_tests::process::Signal;

use crate::cancel::ENDLESS;
use crate::stage::{LONG, heavy, tpch_cluster};

const CTRL_C: &[u8] = b"\x03";

/// Submits an endless job; returns the waiting command and the run once its tasks run.
fn submit(cluster: &Cluster, on_terminal: bool) -> (Started, String) {
    let script = cluster.dir().join("endless.sql");
    std::fs::write(&script, ENDLESS).unwrap();
    let args = ["submit", &script.to_string_lossy(), "--wait"];
    let cli = cluster.cli().unwrap();
    let command = if on_terminal { cli.start_on_terminal(&args) } else { cli.start(&args) }.unwrap();
    let fleet = cluster.fleet().unwrap();
    let run = fleet.wait("the run", LONG, |f| Ok(f.open_runs()?.into_iter().next())).unwrap();
    assert!(fleet.wait_middle(&run, 0, LONG).unwrap());
    (command, run)
}

fn expect_left_running(cluster: &Cluster, mut command: Started, run: &str) {
    let status = command.process.wait(LONG).unwrap();
    assert_eq!(status.code(), Some(1), "a run that goes on has not succeeded\n{}", command.process.tail());
    assert!(command.process.tail().contains(&format!("run {run} goes on")), "{}", command.process.tail());
    let fleet = cluster.fleet().unwrap();
    assert!(fleet.open_runs().unwrap().contains(&run.to_owned()), "the run goes on");
    cluster.cli().unwrap().run(&["runs", "cancel", run]).unwrap().succeeded().unwrap();
    fleet.wait_final(run, LONG).unwrap();
}

#[test]
fn ctrl_c_asks_first_and_never_ends_a_run_unasked() {
    let _turn = heavy();
    let cluster = tpch_cluster(ClusterOptions::default());

    let (mut command, run) = submit(&cluster, true);
    command.process.type_in(CTRL_C).unwrap();
    command.process.wait_text(LONG, "Cancel run").unwrap();
    command.process.type_in(CTRL_C).unwrap();
    expect_left_running(&cluster, command, &run);

    let (mut command, run) = submit(&cluster, true);
    command.process.type_in(CTRL_C).unwrap();
    command.process.wait_text(LONG, "Cancel run").unwrap();
    command.process.type_in(b"y\n").unwrap();
    let status = command.process.wait(LONG).unwrap();
    assert_eq!(status.code(), Some(1), "{}", command.process.tail());
    assert_eq!(cluster.fleet().unwrap().run(&run).unwrap().state().as_str_name(), "RUN_STATE_CANCELLED");

    let (mut command, run) = submit(&cluster, false);
    command.process.signal(Signal::Interrupt).unwrap();
    expect_left_running(&cluster, command, &run);
}
