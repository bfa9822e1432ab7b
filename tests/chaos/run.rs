//! One seed from start to end: a fresh cluster, the statements, what befalls them, and then whether all is right. What is
//! looked at afterwards: `checks.rs`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use selvedge_tests::cli::{Output, Started};
use selvedge_tests::{Outcome, fail};

use super::checks;
use super::play::Play;
use super::schedule::Schedule;
use super::stage::{LAKE, SOURCE_URL};
use super::workload::{Place, Work};
use crate::stage::{S3, unique};

/// The statements have ended by then, well or not.
const DEADLINE: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(30);
/// So many tasks a stage that there is a middle to break.
const SETTINGS: &str = "SET selvedge.planner.target_partitions = 8;\nSET selvedge.write.auto_optimize_files = 0;\n";
const TABLES: [&str; 3] = ["customer", "orders", "lineitem"];

/// How a run of the suite ended well.
#[derive(Debug, Default)]
pub struct Ended {
    /// Kinds of events that happened before the statements had ended.
    pub events: Vec<String>,
    /// Codes of the failures that the schedule excuses.
    pub failures: Vec<String>,
}

/// Runs a schedule. Logs of one that ends badly stay in a directory that the error names.
pub fn run(schedule: &Schedule) -> Outcome<Ended> {
    let mut play = Play::start(schedule)?;
    play_and_check(schedule, &mut play).map_err(|error| match keep_logs(schedule.seed, &play) {
        Ok(kept) => fail(format!("{error}\nlogs: {}", kept.display())),
        Err(lost) => fail(format!("{error}\nlogs are lost: {lost}")),
    })
}

fn play_and_check(schedule: &Schedule, play: &mut Play) -> Outcome<Ended> {
    let stage: Vec<(Work, Place)> = schedule.works.iter().map(|work| (*work, place(*work))).collect();
    prepare(play, &stage)?;
    let mut commands = Vec::new();
    for (work, place) in &stage {
        let sql = format!("{SETTINGS}{}{}", schedule.durability.setting(), work.statement(place));
        commands.push(play.cluster.cli()?.start(&["--format", "csv", "sql", "-c", &sql])?);
    }
    play.begin();
    let ended = wait(play, &mut commands);
    let happened = play.finish()?;
    ended?;
    let events = schedule.events.iter().take(happened).map(|event| event.action.kind()).collect();
    let mut ends = Ended { events, ..Ended::default() };
    let mut wrong = Vec::new();
    for (command, (work, place)) in commands.into_iter().zip(&stage) {
        let output = command.finish(DEADLINE)?;
        match verdict(schedule, *work, place, &output) {
            Ok(failed) => ends.failures.extend(failed),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    wrong.extend(checks::after(play, &stage));
    if wrong.is_empty() { Ok(ends) } else { Err(fail(wrong.join("\n"))) }
}

fn place(work: Work) -> Place {
    let table = unique(&format!("{work:?}").to_lowercase());
    Place { location: format!("s3://{LAKE}/{table}/"), prefix: table.clone(), table }
}

fn prepare(play: &Play, stage: &[(Work, Place)]) -> Outcome<()> {
    let root = SOURCE_URL.as_str();
    let tables =
        TABLES.map(|t| format!("CREATE EXTERNAL TABLE {t} STORED AS PARQUET LOCATION '{root}/{t}/';\n")).concat();
    let own: String = stage.iter().map(|(work, place)| work.setup(place)).collect();
    play.cluster.cli()?.run(&["sql", "-c", &format!("{tables}{own}")])?.succeeded().map(drop)
}

fn wait(play: &mut Play, commands: &mut [Started]) -> Outcome<()> {
    let started = Instant::now();
    loop {
        let mut open = 0;
        for command in commands.iter_mut() {
            open += usize::from(command.process.exited()?.is_none());
        }
        if open == 0 {
            return Ok(());
        }
        if started.elapsed() > DEADLINE {
            return Err(fail(format!("HANG: {open} statements have not ended within {DEADLINE:?}")));
        }
        play.turn()?;
        std::thread::sleep(TICK);
    }
}

/// The code of the failure, if it failed and may.
fn verdict(schedule: &Schedule, work: Work, place: &Place, output: &Output) -> Outcome<Option<String>> {
    if output.code == 0 {
        let rows = if work.writes() { None } else { Some(output.rows()?) };
        return work.check(true, place, rows.as_ref(), &S3.access()).map(|()| None);
    }
    let code = output.stderr.split_once("error[").and_then(|(_, rest)| rest.split_once(']')).map(|(code, _)| code);
    let code = code.ok_or_else(|| fail(format!("{work:?} failed without a code\n{}", output.report())))?;
    let is_clear = !output.stderr.contains("panicked") && !["INTERNAL", "PANIC", "ENGINE"].contains(&code);
    if !is_clear || !schedule.may_fail().contains(&code) {
        return Err(fail(format!("{work:?} failed with {code}\n{}", output.report())));
    }
    work.check(false, place, None, &S3.access()).map(|()| Some(code.to_owned()))
}

fn keep_logs(seed: u64, play: &Play) -> Outcome<PathBuf> {
    let kept = std::env::temp_dir().join(format!("selvedge-chaos-{}-seed-{seed}", std::process::id()));
    std::fs::create_dir_all(&kept)?;
    for entry in std::fs::read_dir(play.cluster.dir())? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "err" || e == "out") {
            std::fs::copy(&path, kept.join(path.file_name().unwrap_or_default()))?;
        }
    }
    Ok(kept)
}

/// What is told of all runs at the end.
pub fn summary(ended: &[(u64, Ended, Duration)]) -> String {
    let all: Vec<&String> = ended.iter().flat_map(|(_, e, _)| &e.events).collect();
    let kinds: BTreeSet<&String> = all.iter().copied().collect();
    let count = |kind: &String| all.iter().filter(|k| **k == kind).count();
    let events: Vec<String> = kinds.into_iter().map(|kind| format!("{kind} {}", count(kind))).collect();
    let failed: Vec<String> =
        ended.iter().flat_map(|(s, e, _)| e.failures.iter().map(move |f| format!("{s}: {f}"))).collect();
    let took: f64 = ended.iter().map(|(_, _, took)| took.as_secs_f64()).sum();
    format!(
        "{} schedules right in {took:.0} s, {} with events; events: {}; failures that were excused: {}",
        ended.len(),
        ended.iter().filter(|(_, e, _)| !e.events.is_empty()).count(),
        events.join(", "),
        if failed.is_empty() { "none".to_owned() } else { failed.join(", ") },
    )
}
