//! Somebody is not there: no executor takes the tasks, or the scheduler goes away under a run that is followed. Each is said
//! soon and clearly, and the command ends.

use std::time::{Duration, Instant};

use selvedge_tests::cli::{Output, Started};
use selvedge_tests::cluster::{Cluster, ClusterOptions};
use selvedge_tests::process::Signal;

use crate::stage::{LONG, heavy};

const WAITING: &str = "waiting for executors: none registered";
/// A client looks for a lost scheduler for some 16 s.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(60);

/// A scheduler alone.
fn without_executors(envs: &[(&str, &str)]) -> Cluster {
    let envs = envs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Cluster::start(ClusterOptions { executors: 0, envs, ..Default::default() }).unwrap()
}

/// Submits a run that can only wait, and follows it until the command says so.
fn submit_and_wait_for_notice(cluster: &Cluster) -> Started {
    let script = cluster.dir().join("job.sql");
    std::fs::write(&script, "SELECT 1 AS a").unwrap();
    let mut command = cluster.cli().unwrap().start(&["submit", &script.to_string_lossy(), "--wait"]).unwrap();
    command.process.wait_text(LONG, WAITING).unwrap();
    command
}

fn run_of(output: &Output) -> &str {
    let line = output.stderr.lines().find_map(|line| line.strip_prefix("submitted run "));
    line.unwrap_or_else(|| panic!("no run is named\n{}", output.report()))
}

#[test]
fn without_executors_a_run_says_that_it_waits_and_fails_when_the_time_is_up() {
    let _turn = heavy();
    let cluster = without_executors(&[("SELVEDGE_NO_EXECUTORS_TIMEOUT", "10s")]);
    let output = submit_and_wait_for_notice(&cluster).finish(LONG).unwrap();
    assert_eq!(output.code, 1, "{}", output.report());
    assert!(output.stderr.contains("error[NO_EXECUTORS]"), "{}", output.report());
    assert_eq!(output.stderr.matches(WAITING).count(), 1, "{}", output.report());
    let log = cluster.scheduler_log();
    let warnings = log.lines().filter(|l| l.contains("WARN") && l.contains("waiting for executors: none registered"));
    assert_eq!(warnings.count(), 1, "{log}");
    let logs = cluster.cli().unwrap().run(&["runs", "logs", run_of(&output)]).unwrap().succeeded().unwrap();
    assert!(logs.stdout.contains(WAITING), "{}", logs.report());
}

#[test]
fn an_executor_that_comes_ends_the_waiting() {
    let _turn = heavy();
    let mut cluster = without_executors(&[]);
    let command = submit_and_wait_for_notice(&cluster);
    cluster.add_executor().unwrap();
    command.finish(LONG).unwrap().succeeded().unwrap();
}

#[test]
fn a_scheduler_killed_under_a_waiting_command_is_unreachable() {
    let _turn = heavy();
    let mut cluster = without_executors(&[]);
    let command = submit_and_wait_for_notice(&cluster);
    cluster.signal_scheduler(Signal::Kill).unwrap();
    let killed = Instant::now();
    let output = command.finish(GIVES_UP_WITHIN).unwrap();
    assert_eq!(output.code, 3, "{}", output.report());
    assert!(output.stderr.contains("error[SCHEDULER_UNREACHABLE]"), "{}", output.report());
    assert!(output.stderr.contains(&cluster.url()), "{}", output.report());
    assert!(output.stderr.contains(&format!("runs show {}", run_of(&output))), "{}", output.report());
    assert!(!output.stderr.contains("panicked"), "{}", output.report());
    assert!(killed.elapsed() < GIVES_UP_WITHIN);
}

#[test]
fn a_scheduler_that_is_stopped_says_so_to_those_who_wait() {
    let _turn = heavy();
    let mut cluster = without_executors(&[]);
    let command = submit_and_wait_for_notice(&cluster);
    cluster.signal_scheduler(Signal::Terminate).unwrap();
    let output = command.finish(LONG).unwrap();
    assert_eq!(output.code, 1, "{}", output.report());
    assert!(output.stderr.contains("error[SCHEDULER_STOPPED]"), "{}", output.report());
    assert!(output.stderr.contains("hint:"), "{}", output.report());
}

#[test]
fn a_vcore_is_the_least_an_executor_has() {
    let cli = selvedge_tests::cli::Selvedge::new().unwrap();
    let output = cli.run(&["executor", "--scheduler", "http://127.0.0.1:1", "--vcores", "0"]).unwrap();
    assert_eq!(output.code, 2, "{}", output.report());
    assert!(output.stderr.contains("--vcores") && output.stderr.contains("from 1 to 1024"), "{}", output.report());
    let by_variable = cli.env("SELVEDGE_VCORES", "0").run(&["executor", "--scheduler", "http://127.0.0.1:1"]).unwrap();
    assert_eq!(by_variable.code, 2, "{}", by_variable.report());
    assert!(by_variable.stderr.contains("0 is not between 1 and 1024"), "{}", by_variable.report());
}
