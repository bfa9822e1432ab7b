//! Which tasks run, how to stop each, and which jobs have shuffle files here. Only bookkeeping: no I/O, nothing waits.

use std::collections::HashMap;

use ballista_core::serde::protobuf::TaskStatus;
use parking_lot::Mutex;
use selvedge_model::TaskRef;
use tokio_util::sync::CancellationToken;

use super::status;

/// The tasks an executor runs and the shuffle it keeps.
#[derive(Debug, Default)]
pub(super) struct Held {
    running: Mutex<HashMap<TaskRef, CancellationToken>>,
    /// Bytes of shuffle files, by job.
    shuffle: Mutex<HashMap<String, u64>>,
}

impl Held {
    /// Takes a task; `None` if it is already here.
    pub(super) fn take(&self, task: &TaskRef) -> Option<CancellationToken> {
        let mut running = self.running.lock();
        if running.contains_key(task) {
            return None;
        }
        let stop = CancellationToken::new();
        running.insert(task.clone(), stop.clone());
        Some(stop)
    }

    /// The task is over.
    pub(super) fn release(&self, task: &TaskRef) {
        self.running.lock().remove(task);
    }

    /// Asks a task to stop; false if it does not run or was asked before.
    pub(super) fn stop(&self, task: &TaskRef) -> bool {
        let running = self.running.lock();
        let Some(stop) = running.get(task).filter(|stop| !stop.is_cancelled()) else { return false };
        stop.cancel();
        true
    }

    /// Asks every task to stop that was not asked before, and says how to give each back.
    pub(super) fn stop_all(&self) -> Vec<(TaskRef, TaskStatus)> {
        let running = self.running.lock();
        let asked = running.iter().filter(|(_, stop)| !stop.is_cancelled()).map(|(task, stop)| {
            stop.cancel();
            (task.clone(), status::given_back(task))
        });
        asked.collect()
    }

    /// The tasks that run.
    pub(super) fn tasks(&self) -> Vec<TaskRef> {
        self.running.lock().keys().cloned().collect()
    }

    /// A task of the job left shuffle files.
    pub(super) fn add_shuffle(&self, job_id: &str, bytes: u64) {
        *self.shuffle.lock().entry(job_id.to_owned()).or_default() += bytes;
    }

    /// The job's files are deleted.
    pub(super) fn forget_shuffle(&self, job_id: &str) {
        self.shuffle.lock().remove(job_id);
    }

    /// Bytes of shuffle files over all jobs.
    pub(super) fn shuffle_bytes(&self) -> u64 {
        self.shuffle.lock().values().sum()
    }

    /// Whether any job has shuffle files here.
    pub(super) fn has_shuffle(&self) -> bool {
        !self.shuffle.lock().is_empty()
    }
}
