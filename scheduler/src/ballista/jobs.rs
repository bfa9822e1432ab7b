//! The book of jobs that run: what their tasks reported, which statuses were counted, and the signal that ends each.
//!
//! One short lock over plain maps; nothing here awaits or calls the engine. A job has an entry from before Ballista hears of
//! it until its outcome is known; what comes later is dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use selvedge_model::handout::{AfterReset, Resets, forgettable};
use selvedge_model::liveness::StatusLedger;
use selvedge_model::run::Counters;
use selvedge_model::{ExecutorId, Failure, TaskRef};
use tokio_util::sync::CancellationToken;

use super::failures::worse;
use super::meter::{StageMeter, TaskTimes};

/// Ends a job once, with the first reason given.
#[derive(Debug, Default)]
pub(super) struct EndSignal {
    reason: OnceLock<Failure>,
    token: CancellationToken,
}

impl EndSignal {
    pub(super) fn end(&self, reason: Failure) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    pub(super) async fn ended(&self) -> Failure {
        self.token.cancelled().await;
        self.reason.get().cloned().unwrap_or_else(super::failures::cancelled)
    }
}

#[derive(Debug, Default)]
struct Entry {
    meters: BTreeMap<u32, StageMeter>,
    failure: Option<Failure>,
    /// Statuses given to Ballista's event loop that the graph does not show yet, and since when.
    delivering: HashMap<TaskRef, u64>,
    /// Finished tasks, and where their output is.
    outputs: BTreeMap<TaskRef, OutputPlace>,
    end: Arc<EndSignal>,
    opened_ms: u64,
    /// What keeps it waiting; empty while nothing does.
    waiting: String,
}

/// Where a task's output is.
#[derive(Debug)]
struct OutputPlace {
    executor: ExecutorId,
    /// In the shuffle location too.
    is_copied: bool,
}

/// What is left of a job when it ends.
#[derive(Debug, Default)]
pub(super) struct Closed {
    pub(super) meters: BTreeMap<u32, StageMeter>,
    pub(super) failure: Option<Failure>,
}

#[derive(Debug, Default)]
struct Pages {
    entries: BTreeMap<String, Entry>,
    ledger: StatusLedger,
    resets: Resets,
    /// Jobs whose shuffle may still be read: those that run, and ended ones whose results are not all read.
    needed: BTreeSet<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

impl Book {
    /// Opens a job's entry; `None` if one of that id runs.
    pub(super) fn open(&self, job_id: &str, now_ms: u64) -> Option<Arc<EndSignal>> {
        let mut pages = self.pages.lock();
        if pages.entries.contains_key(job_id) {
            return None;
        }
        let entry = Entry { opened_ms: now_ms, ..Entry::default() };
        let end = entry.end.clone();
        pages.entries.insert(job_id.to_owned(), entry);
        pages.needed.insert(job_id.to_owned());
        Some(end)
    }

    pub(super) fn close(&self, job_id: &str) -> Closed {
        let mut pages = self.pages.lock();
        pages.ledger.forget(job_id);
        pages.resets.forget(job_id);
        let entry = pages.entries.remove(job_id).unwrap_or_default();
        Closed { meters: entry.meters, failure: entry.failure }
    }

    pub(super) fn contains(&self, job_id: &str) -> bool {
        self.pages.lock().entries.contains_key(job_id)
    }

    /// Jobs open for longer than `age_ms`.
    pub(super) fn older_than(&self, now_ms: u64, age_ms: u64) -> Vec<String> {
        let pages = self.pages.lock();
        let old = |entry: &Entry| now_ms.saturating_sub(entry.opened_ms) > age_ms;
        pages.entries.iter().filter(|(_, entry)| old(entry)).map(|(id, _)| id.clone()).collect()
    }

    /// How long a job has been open.
    pub(super) fn age_ms(&self, job_id: &str, now_ms: u64) -> Option<u64> {
        self.pages.lock().entries.get(job_id).map(|entry| now_ms.saturating_sub(entry.opened_ms))
    }

    /// Notes what a job waits for; nothing when it goes on.
    pub(super) fn set_waiting(&self, job_id: &str, reason: String) {
        if let Some(entry) = self.pages.lock().entries.get_mut(job_id) {
            entry.waiting = reason;
        }
    }

    pub(super) fn waiting(&self, job_id: &str) -> String {
        self.pages.lock().entries.get(job_id).map(|entry| entry.waiting.clone()).unwrap_or_default()
    }

    /// Nobody reads a job's shuffle any more.
    pub(super) fn forget(&self, job_id: &str) {
        self.pages.lock().needed.remove(job_id);
    }

    /// Those of an executor's jobs whose local files may go.
    pub(super) fn forgettable(&self, kept: &[String]) -> Vec<String> {
        forgettable(kept, &self.pages.lock().needed)
    }

    /// Counts a task that was handed out in vain.
    pub(super) fn count_reset(&self, task: &TaskRef, partitions: &[u32]) -> AfterReset {
        let pages = &mut *self.pages.lock();
        if !pages.entries.contains_key(&task.job_id) {
            return AfterReset::Again;
        }
        pages.resets.count(&task.job_id, task.stage_id, partitions)
    }

    /// Ends a job with a reason of ours. Returns whether it was there.
    pub(super) fn end(&self, job_id: &str, reason: Failure) -> bool {
        let end = self.pages.lock().entries.get(job_id).map(|entry| entry.end.clone());
        match end {
            Some(end) => {
                end.end(reason);
                true
            }
            None => false,
        }
    }

    /// Claims the one delivery of a task's end. False if it was delivered before, or its job is over.
    pub(super) fn claim(&self, task: &TaskRef, now_ms: u64) -> bool {
        let pages = &mut *self.pages.lock();
        let Some(entry) = pages.entries.get_mut(&task.job_id) else { return false };
        let claimed = pages.ledger.claim(task);
        if claimed {
            entry.delivering.insert(task.clone(), now_ms);
        }
        claimed
    }

    /// Gives a claim back: Ballista did not take the status.
    pub(super) fn release(&self, task: &TaskRef) {
        let pages = &mut *self.pages.lock();
        pages.ledger.release(task);
        if let Some(entry) = pages.entries.get_mut(&task.job_id) {
            entry.delivering.remove(task);
        }
    }

    /// The graph shows the status now.
    pub(super) fn settled(&self, task: &TaskRef) {
        if let Some(entry) = self.pages.lock().entries.get_mut(&task.job_id) {
            entry.delivering.remove(task);
        }
    }

    /// Those of `tasks` whose end is not on its way to the graph.
    pub(super) fn without_delivering(&self, mut tasks: Vec<TaskRef>) -> Vec<TaskRef> {
        let pages = self.pages.lock();
        let on_its_way =
            |t: &TaskRef| pages.entries.get(&t.job_id).is_some_and(|entry| entry.delivering.contains_key(t));
        tasks.retain(|task| !on_its_way(task));
        tasks
    }

    /// Statuses given to the engine more than `age_ms` ago that it has not shown yet.
    pub(super) fn delivering_for(&self, now_ms: u64, age_ms: u64) -> Vec<TaskRef> {
        let pages = self.pages.lock();
        let all = pages.entries.values().flat_map(|entry| &entry.delivering);
        all.filter(|(_, since)| now_ms.saturating_sub(**since) > age_ms).map(|(task, _)| task.clone()).collect()
    }

    pub(super) fn count_success(&self, task: &TaskRef, times: &TaskTimes<'_>, counters: &Counters) {
        if let Some(entry) = self.pages.lock().entries.get_mut(&task.job_id) {
            let meter = entry.meters.entry(task.stage_id).or_default();
            meter.enter(task.stage_attempt);
            meter.succeeded(times, counters);
        }
    }

    pub(super) fn count_failure(&self, task: &TaskRef, times: &TaskTimes<'_>, failure: Failure) {
        if let Some(entry) = self.pages.lock().entries.get_mut(&task.job_id) {
            let meter = entry.meters.entry(task.stage_id).or_default();
            meter.enter(task.stage_attempt);
            meter.failed(times);
            entry.failure = Some(worse(entry.failure.take(), failure));
        }
    }

    pub(super) fn meters(&self, job_id: &str) -> BTreeMap<u32, StageMeter> {
        self.pages.lock().entries.get(job_id).map(|entry| entry.meters.clone()).unwrap_or_default()
    }

    /// Notes where a task's output is.
    pub(super) fn note_output(&self, task: &TaskRef, executor: &ExecutorId) {
        if let Some(entry) = self.pages.lock().entries.get_mut(&task.job_id) {
            entry.outputs.insert(task.clone(), OutputPlace { executor: executor.clone(), is_copied: false });
        }
    }

    /// A task's output is in the shuffle location.
    pub(super) fn note_copied(&self, task: &TaskRef, put_requests: u64) {
        let mut pages = self.pages.lock();
        let Some(entry) = pages.entries.get_mut(&task.job_id) else { return };
        if let Some(output) = entry.outputs.get_mut(task).filter(|output| !output.is_copied) {
            output.is_copied = true;
            entry.meters.entry(task.stage_id).or_default().counters.shuffle_put_requests += put_requests;
        }
    }

    /// Who made an output.
    pub(super) fn executor_of(&self, task: &TaskRef) -> Option<ExecutorId> {
        Some(self.pages.lock().entries.get(&task.job_id)?.outputs.get(task)?.executor.clone())
    }

    /// The outputs of a job that only one executor has.
    pub(super) fn only_on(&self, executor: &ExecutorId, job_id: &str) -> Vec<TaskRef> {
        let pages = self.pages.lock();
        let Some(entry) = pages.entries.get(job_id) else { return Vec::new() };
        let only = entry.outputs.iter().filter(|(_, output)| output.executor == *executor && !output.is_copied);
        only.map(|(task, _)| task.clone()).collect()
    }

    /// Jobs that have outputs which only this executor has.
    pub(super) fn fed_by(&self, executor: &ExecutorId) -> Vec<String> {
        let only = |entry: &Entry| entry.outputs.values().any(|o| o.executor == *executor && !o.is_copied);
        self.pages.lock().entries.iter().filter(|(_, entry)| only(entry)).map(|(id, _)| id.clone()).collect()
    }

    /// Counts time of a task that came to nothing, or that was spent a second time.
    pub(super) fn count_lost(&self, task: &TaskRef, took_ms: u64, is_rerun: bool) {
        if let Some(entry) = self.pages.lock().entries.get_mut(&task.job_id) {
            let meter = entry.meters.entry(task.stage_id).or_default();
            meter.lost_task_ms += took_ms;
            meter.tasks_rerun += u32::from(is_rerun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(task_id: u32) -> TaskRef {
        TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 0, task_id }
    }

    #[test]
    fn a_task_end_is_claimed_once_and_only_while_its_job_runs() {
        let book = Book::default();
        assert!(!book.claim(&task(0), 0), "no such job");
        book.open("j", 0).unwrap();
        assert!(book.open("j", 0).is_none(), "two jobs of one id");
        assert!(book.claim(&task(0), 5));
        assert!(!book.claim(&task(0), 6));
        assert_eq!(book.without_delivering(vec![task(0), task(1)]), [task(1)]);
        assert_eq!(book.delivering_for(20, 10), [task(0)]);
        book.settled(&task(0));
        assert!(!book.claim(&task(0), 7), "settled is still counted");
        book.release(&task(0));
        assert!(book.claim(&task(0), 8));
        book.close("j");
        assert!(!book.claim(&task(0), 9));
    }

    #[test]
    fn shuffle_is_kept_past_the_end_of_its_job_until_it_was_read() {
        let book = Book::default();
        let kept = ["j".to_owned(), "unknown".to_owned()];
        book.open("j", 0).unwrap();
        assert_eq!(book.forgettable(&kept), ["unknown"]);
        book.close("j");
        assert_eq!(book.forgettable(&kept), ["unknown"], "its result may still be read");
        book.forget("j");
        assert_eq!(book.forgettable(&kept), ["j", "unknown"]);
    }

    #[tokio::test]
    async fn the_first_reason_to_end_a_job_stands() {
        let book = Book::default();
        let end = book.open("j", 0).unwrap();
        assert!(book.end("j", Failure::external("STUCK", "")));
        end.end(Failure::user("CANCELLED", ""));
        assert_eq!(end.ended().await.code, "STUCK");
        assert!(!book.end("other", Failure::user("X", "")));
    }
}
