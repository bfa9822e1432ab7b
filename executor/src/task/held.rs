//! Which tasks are held, what each takes, how to stop it, and which jobs have files here. Only bookkeeping: no I/O, nothing
//! waits.

use std::collections::{HashMap, HashSet};

use ballista_core::serde::protobuf::TaskStatus;
use parking_lot::Mutex;
use selvedge_model::TaskRef;
use tokio_util::sync::CancellationToken;

use super::status;

/// The tasks an executor holds, begun or not, and the shuffle it keeps.
#[derive(Debug, Default)]
pub(super) struct Held {
    running: Mutex<HashMap<TaskRef, Running>>,
    /// By job.
    kept: Mutex<HashMap<String, Kept>>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    /// Promised to it from the moment it is taken, until it has computed.
    vcores: usize,
}

/// What a job has on the local disk.
#[derive(Debug, Default)]
struct Kept {
    /// Of finished tasks, which others may read.
    shuffle_bytes: u64,
    has_shuffle: bool,
}

impl Held {
    /// Takes a task; `None` if it is already here. Its vcores are its own from now on.
    pub(super) fn take(&self, task: &TaskRef, vcores: usize) -> Option<CancellationToken> {
        let mut running = self.running.lock();
        if running.contains_key(task) {
            return None;
        }
        let stop = CancellationToken::new();
        running.insert(task.clone(), Running { stop: stop.clone(), vcores });
        self.kept.lock().entry(task.job_id.clone()).or_default();
        Some(stop)
    }

    /// The task computes no more, but is still held: its end is yet to be put into words.
    pub(super) fn free_vcores_of(&self, task: &TaskRef) {
        if let Some(running) = self.running.lock().get_mut(task) {
            running.vcores = 0;
        }
    }

    /// Vcores of all tasks held, those not begun included.
    pub(super) fn vcores(&self) -> usize {
        self.running.lock().values().map(|running| running.vcores).sum()
    }

    /// The task is over.
    pub(super) fn release(&self, task: &TaskRef) {
        self.running.lock().remove(task);
    }

    /// Asks a task to stop; false if it does not run or was asked before.
    pub(super) fn stop(&self, task: &TaskRef) -> bool {
        let running = self.running.lock();
        let Some(held) = running.get(task).filter(|held| !held.stop.is_cancelled()) else { return false };
        held.stop.cancel();
        true
    }

    /// Asks every task to stop that was not asked before, and says how to give each back.
    pub(super) fn stop_all(&self) -> Vec<(TaskRef, TaskStatus)> {
        let running = self.running.lock();
        let asked = running.iter().filter(|(_, held)| !held.stop.is_cancelled()).map(|(task, held)| {
            held.stop.cancel();
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
        let mut kept = self.kept.lock();
        let job = kept.entry(job_id.to_owned()).or_default();
        job.shuffle_bytes += bytes;
        job.has_shuffle = true;
    }

    /// The job's files are deleted.
    pub(super) fn forget_shuffle(&self, job_id: &str) {
        self.kept.lock().remove(job_id);
    }

    /// Jobs that had a task here and were not forgotten: there may be files of theirs. One with a task that still runs is not
    /// named: it would write more.
    pub(super) fn kept_jobs(&self) -> Vec<String> {
        let busy: HashSet<String> = self.running.lock().keys().map(|task| task.job_id.clone()).collect();
        self.kept.lock().keys().filter(|job| !busy.contains(*job)).cloned().collect()
    }

    /// Bytes of shuffle files over all jobs.
    pub(super) fn shuffle_bytes(&self) -> u64 {
        self.kept.lock().values().map(|job| job.shuffle_bytes).sum()
    }

    /// Whether any job has shuffle files here.
    pub(super) fn has_shuffle(&self) -> bool {
        self.kept.lock().values().any(|job| job.has_shuffle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(task_id: u32) -> TaskRef {
        TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 0, task_id }
    }

    #[test]
    fn vcores_are_promised_when_a_task_is_taken_and_free_when_it_has_computed() {
        let held = Held::default();
        assert!(held.take(&task(1), 2).is_some() && held.take(&task(2), 1).is_some());
        assert!(held.take(&task(1), 2).is_none(), "it is here already");
        assert_eq!(held.vcores(), 3);
        held.free_vcores_of(&task(1));
        assert_eq!((held.vcores(), held.tasks().len()), (1, 2), "it is held until its status is in the outbox");
        held.release(&task(1));
        held.release(&task(2));
        assert_eq!((held.vcores(), held.tasks().len()), (0, 0));
    }

    #[test]
    fn a_job_is_named_from_the_end_of_its_tasks_until_it_is_forgotten_also_when_they_left_nothing_to_read() {
        let held = Held::default();
        held.take(&task(1), 1);
        held.take(&task(2), 1);
        held.release(&task(1));
        assert!(held.kept_jobs().is_empty(), "the other one may still write");
        held.release(&task(2));
        assert_eq!((held.kept_jobs(), held.has_shuffle()), (vec!["j".to_owned()], false));
        held.add_shuffle("j", 7);
        assert_eq!((held.shuffle_bytes(), held.has_shuffle()), (7, true));
        held.forget_shuffle("j");
        assert!(held.kept_jobs().is_empty() && !held.has_shuffle());
    }
}
