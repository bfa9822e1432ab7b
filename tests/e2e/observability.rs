//! What an operator sees: metrics, health, and the story of a run.

use crate::stage::{CLUSTER, LONG, heavy};

/// Prometheus' text format: every sample line is `name{labels} number`.
fn expect_metrics(text: &str, prefix: &str) {
    let samples: Vec<&str> = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).collect();
    for sample in &samples {
        let value = sample.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "not a sample: {sample}");
    }
    assert!(samples.iter().any(|s| s.starts_with(prefix)), "no {prefix}* in:\n{text}");
    assert!(text.contains("# TYPE"), "no types in:\n{text}");
}

#[test]
fn both_services_answer_metrics_and_health() {
    let _turn = heavy();
    CLUSTER.cli().unwrap().query("SELECT count(*) FROM lineitem").unwrap();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(CLUSTER.scheduler_http(path).unwrap().0, 200, "scheduler {path}");
        assert_eq!(CLUSTER.executor_http(0, path).unwrap().0, 200, "executor {path}");
    }
    let (status, scheduler) = CLUSTER.scheduler_http("/metrics").unwrap();
    assert_eq!(status, 200);
    expect_metrics(&scheduler, "selvedge_");
    let (status, executor) = CLUSTER.executor_http(0, "/metrics").unwrap();
    assert_eq!(status, 200);
    expect_metrics(&executor, "selvedge_");
    assert_eq!(CLUSTER.scheduler_http("/no-such-page").unwrap().0, 404);
}

#[test]
fn runs_show_tells_statements_stages_and_the_slowest() {
    let _turn = heavy();
    let script = CLUSTER.dir().join("story.sql");
    let text = "-- @job story\n\
                SELECT l_returnflag, count(*) FROM lineitem GROUP BY l_returnflag;\n\
                SELECT count(*) FROM lineitem JOIN orders ON l_orderkey = o_orderkey;\n";
    std::fs::write(&script, text).unwrap();
    let cli = CLUSTER.cli().unwrap();
    let submitted = cli.run(&["--format", "json", "submit", &script.to_string_lossy(), "--wait"]).unwrap();
    let submitted = submitted.succeeded().unwrap();
    let run = submitted.run_id().unwrap();

    let shown = cli.run(&["runs", "show", &run]).unwrap().succeeded().unwrap().stdout;
    for needed in [run.as_str(), "story", "SUCCEEDED", "SELECT"] {
        assert!(shown.contains(needed), "no '{needed}' in:\n{shown}");
    }
    assert!(shown.to_lowercase().contains("slowest"), "the slowest is not named:\n{shown}");

    let record = CLUSTER.fleet().unwrap().wait_final(&run, LONG).unwrap();
    assert_eq!(record.statements.len(), 2);
    for statement in &record.statements {
        assert!(!statement.stages.is_empty(), "statement {} has no stages", statement.index);
        let rows: u64 = statement.stages.iter().map(|s| s.counters.unwrap_or_default().rows_read).sum();
        let bytes: u64 = statement.stages.iter().map(|s| s.counters.unwrap_or_default().bytes_read).sum();
        assert!(rows > 0 && bytes > 0, "statement {} read {rows} rows, {bytes} bytes", statement.index);
        assert!(statement.stages.iter().all(|s| s.tasks_done == s.tasks_total && s.tasks_done > 0));
    }
    let shuffled: u64 =
        record.statements[1].stages.iter().map(|s| s.counters.unwrap_or_default().shuffle_bytes_written).sum();
    assert!(shuffled > 0, "a join of two big tables shuffles");

    let listed = cli.run(&["--format", "csv", "runs", "list"]).unwrap().succeeded().unwrap();
    assert!(listed.stdout.contains(&run), "{}", listed.report());
    let json = cli.run(&["--format", "json", "runs", "show", &run]).unwrap().succeeded().unwrap().json().unwrap();
    assert!(json.to_string().contains(&run));
    cli.run(&["runs", "logs", &run]).unwrap().succeeded().unwrap();
    let unknown = cli.run(&["runs", "show", "no-such-run"]).unwrap();
    assert_eq!(unknown.code, 1, "{}", unknown.report());
    assert!(unknown.stderr.contains("no-such-run"), "{}", unknown.report());
}
