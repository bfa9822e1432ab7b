//! What must be true after a run, whatever befell it: nothing is left in the store that nobody needs, nothing is held by
//! executors that has nobody to hold it for, and every process ends when it is asked to.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use object_store::ObjectStoreExt as _;
use object_store::path::Path as ObjectPath;
use selvedge_tests::cluster::eventually;
use selvedge_tests::process::Signal;
use selvedge_tests::{Outcome, block_on, fail};

use super::play::Play;
use super::stage::{LAKE, SHUFFLE};
use super::workload::{Place, Work};
use crate::stage::S3;

/// Cleaning up goes on after a statement's end; a store that refused is asked again half a minute later.
const CLEAN_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(45);
const NEXT_TO_NOTHING_BYTES: u64 = 64 * 1024;

/// All that is wrong, each as a line.
pub fn after(play: &mut Play, stage: &[(Work, Place)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |result: Outcome<()>| wrong.extend(result.err().map(|e| e.to_string()));
    note(idle(play));
    for (work, place) in stage {
        note(eventually(CLEAN_WITHIN, || nothing_staged(place)));
        if work.is_managed() {
            note(eventually(CLEAN_WITHIN, || no_orphans(place)));
        }
    }
    note(eventually(CLEAN_WITHIN, || none("open uploads", S3.open_uploads(LAKE)?)));
    note(eventually(CLEAN_WITHIN, || none("shuffle objects", S3.keys(SHUFFLE, &play.shuffle)?)));
    note(eventually(CLEAN_WITHIN, || none("open uploads of shuffle", S3.open_uploads(SHUFFLE)?)));
    note(all_end(play));
    wrong
}

fn none(what: &str, left: Vec<String>) -> Outcome<()> {
    let Some(first) = left.first() else { return Ok(()) };
    Err(fail(format!("{} {what} left, such as {first}", left.len())))
}

/// Every executor that is to be there is, with all its slots and memory free.
fn idle(play: &Play) -> Outcome<()> {
    let fleet = play.cluster.fleet()?;
    let staying = play.staying().len();
    eventually(CLEAN_WITHIN, || {
        let active = fleet.active_executors()?;
        if active.len() != staying {
            return Err(fail(format!("{} executors take tasks, {staying} are to", active.len())));
        }
        let is_busy = |e: &&selvedge_proto::v1::Executor| {
            e.running_tasks > 0 || e.free_vcores != e.vcores || e.memory_used_bytes > NEXT_TO_NOTHING_BYTES
        };
        active.iter().find(is_busy).map_or(Ok(()), |e| Err(fail(format!("not idle: {e:?}"))))
    })
}

fn nothing_staged(place: &Place) -> Outcome<()> {
    let keys = S3.keys(LAKE, &place.prefix)?;
    none("staged objects", keys.into_iter().filter(|key| key.contains("staging")).collect())
}

/// Every file of a managed table is named by one of its versions.
fn no_orphans(place: &Place) -> Outcome<()> {
    let keys = S3.keys(LAKE, &place.prefix)?;
    let client = S3.access().client(LAKE)?;
    let mut named = BTreeSet::new();
    for log in keys.iter().filter(|key| key.contains("/_delta_log/") && key.ends_with(".json")) {
        let path = ObjectPath::from(log.as_str());
        let text = block_on(async { client.get(&path).await?.bytes().await })??;
        for line in String::from_utf8_lossy(&text).lines() {
            let action: serde_json::Value = serde_json::from_str(line)?;
            let path = action.pointer("/add/path").and_then(serde_json::Value::as_str);
            // Spaces are the only escapes that the suite's tables need.
            named.extend(path.map(|path| format!("{}/{}", place.prefix, path.replace("%20", " "))));
        }
    }
    let is_orphan = |key: &String| key.ends_with(".parquet") && !named.contains(&key.replace("%20", " "));
    none("files that no version names", keys.into_iter().filter(is_orphan).collect())
}

/// Executors leave when they are asked to, and take their files with them; then so does the scheduler.
fn all_end(play: &mut Play) -> Outcome<()> {
    let staying = play.staying();
    for position in &staying {
        play.cluster.signal(*position, Signal::Terminate)?;
    }
    for position in 0..play.cluster.executor_count() {
        let status = play.cluster.executor(position)?.process.wait(ENDS_WITHIN)?;
        // Those that were killed have no code.
        if status.code() != Some(0) && staying.contains(&position) {
            return Err(fail(format!("executor {position} ended with {status}\n{}", play.cluster.logs())));
        }
    }
    for position in staying {
        let mut left = Vec::new();
        files(&play.cluster.work_dir(position)?, &mut left);
        none("files of an executor that has left", left)?;
    }
    play.cluster.signal_scheduler(Signal::Terminate)?;
    let status = play.cluster.scheduler().wait(ENDS_WITHIN)?;
    if status.code() == Some(0) { Ok(()) } else { Err(fail(format!("the scheduler ended with {status}"))) }
}

/// Shuffle and spill files below a working directory.
fn files(directory: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else if !path.to_string_lossy().contains("lock") {
            into.push(path.to_string_lossy().into_owned());
        }
    }
}
