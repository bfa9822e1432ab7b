//! An executor that is asked to leave, or told that its machine goes, ends or hands back what it runs, and no row is lost.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use selvedge_tests::cluster::{ClusterOptions, ExecutorOptions};
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

/// An instance metadata service that announces the end in a minute as soon as it is told to.
fn metadata_service() -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ends = Arc::new(AtomicBool::new(false));
    let told = ends.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let Some(request) = head.first() else { continue };
            let minute = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(60));
            let (status, body) = match request {
                r if r.starts_with("PUT /latest/api/token ") => ("200 OK", "token".to_owned()),
                r if r.starts_with("GET /latest/meta-data/spot/instance-action ") && told.load(Ordering::Relaxed) => {
                    ("200 OK", format!(r#"{{"action":"terminate","time":"{minute}"}}"#))
                }
                _ => ("404 Not Found", String::new()),
            };
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
    });
    (url, ends)
}

#[test]
fn an_executor_whose_spot_instance_is_taken_back_drains_in_the_middle_of_a_query() {
    let _turn = heavy();
    let mut cluster = tpch_cluster(ClusterOptions { executors: 1, shuffle: shuffle(), ..Default::default() });
    let (service, ends) = metadata_service();
    let envs = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.as_str()), ("AWS_EC2_METADATA_DISABLED", "false")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let spot = cluster.add_executor_with(ExecutorOptions { envs: envs.to_vec(), ..Default::default() }).unwrap();
    cluster.wait_executors(2).unwrap();
    let query = tpch::query(9).unwrap();
    let sql = format!("{MANY_TASKS}{}", query.sql);
    let fleet = cluster.fleet().unwrap();
    let command = cluster.cli().unwrap().start(&["--format", "csv", "sql", "-c", &sql]).unwrap();
    let run = fleet.wait("the run", LONG, |f| Ok(f.open_runs()?.into_iter().next())).unwrap();
    ends.store(true, Ordering::Relaxed);
    assert!(fleet.wait_middle(&run, 0, LONG).unwrap());
    let status = cluster.executor(spot).unwrap().process.wait(LONG).unwrap();
    assert_eq!(status.code(), Some(0), "{}", cluster.logs());
    let log = cluster.executor(spot).unwrap().process.stderr();
    assert!(log.contains("this machine is taken away"), "{log}");
    let got = command.finish(LONG).unwrap().succeeded().unwrap().rows().unwrap();
    same(&got, &expected(&query), query.order, "q9 with a spot instance taken back");
    cluster.wait_executors(1).unwrap();
}
