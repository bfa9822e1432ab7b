//! Ctrl-C on `submit --wait`: the first asks whether to cancel, the second leaves the run going.

use std::io::Write as _;

use selvedge_tests::cluster::ClusterOptions;
use selvedge_tests::process::Signal;

use crate::cancel::ENDLESS;
use crate::stage::{LONG, heavy, tpch_cluster};

#[test]
fn the_first_asks_and_the_second_leaves_the_run_going() {
    let _turn = heavy();
    let cluster = tpch_cluster(ClusterOptions::default());
    let fleet = cluster.fleet().unwrap();
    let script = cluster.dir().join("endless.sql");
    std::fs::write(&script, ENDLESS).unwrap();
    let args = ["submit", &script.to_string_lossy(), "--wait"];

    let mut left = cluster.cli().unwrap().start(&args).unwrap();
    let run = fleet.wait("the run", LONG, |f| Ok(f.open_runs()?.into_iter().next())).unwrap();
    assert!(fleet.wait_middle(&run, 0, LONG).unwrap());
    left.process.signal(Signal::Interrupt).unwrap();
    left.process.wait_stderr(LONG, "ancel").unwrap();
    left.process.signal(Signal::Interrupt).unwrap();
    let status = left.process.wait(LONG).unwrap();
    assert_ne!(status.code(), Some(0), "a run that goes on has not succeeded");
    assert!(left.process.stderr().contains(&run), "the run must be named: {}", left.process.tail());
    assert!(fleet.open_runs().unwrap().contains(&run), "the run goes on");
    cluster.cli().unwrap().run(&["runs", "cancel", &run]).unwrap().succeeded().unwrap();
    fleet.wait_final(&run, LONG).unwrap();

    let mut cancelled = cluster.cli().unwrap().start(&args).unwrap();
    let run = fleet.wait("the run", LONG, |f| Ok(f.open_runs()?.into_iter().next())).unwrap();
    assert!(fleet.wait_middle(&run, 0, LONG).unwrap());
    cancelled.process.signal(Signal::Interrupt).unwrap();
    cancelled.process.wait_stderr(LONG, "ancel").unwrap();
    cancelled.process.take_stdin().unwrap().write_all(b"y\n").unwrap();
    let output = cancelled.finish(LONG).unwrap();
    assert_eq!(output.code, 1, "{}", output.report());
    assert_eq!(fleet.run(&run).unwrap().state().as_str_name(), "RUN_STATE_CANCELLED");
}
