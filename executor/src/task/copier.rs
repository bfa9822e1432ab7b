//! Copies finished tasks' outputs to the shuffle location in the background: the dearest for their size first, once they are
//! due (`selvedge_model::durability`), and all of them at once when the executor leaves.
//!
//! A copy of a job that is forgotten is given up before the job's name is: the scheduler deletes what lies in the shuffle
//! location when nobody names the job any more, so nothing may arrive after that.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use parking_lot::Mutex;
use selvedge_engine::shuffle::{Copied, ShuffleError, ShuffleStore};
use selvedge_model::TaskRef;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Outputs copied at the same time.
const AT_ONCE: usize = 2;
/// Tries of one output, and the pause after the first in vain; it doubles.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// An output that only this executor has.
#[derive(Debug, Clone)]
pub(super) struct Uncopied {
    pub(super) task: TaskRef,
    pub(super) files: Vec<String>,
    pub(super) bytes: u64,
    /// What it took to make.
    pub(super) cost_ms: u64,
    /// When it is to be copied; never, unless the executor leaves.
    pub(super) due: Option<Instant>,
    pub(super) tries: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Copier {
    shuffle: Arc<ShuffleStore>,
    folder: PathBuf,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Uncopied>,
    copying: Vec<(TaskRef, CancellationToken)>,
    /// The executor leaves: everything is due.
    all: bool,
}

/// The next one to copy: of those due, the one that would cost most to make again for each byte.
fn next(waiting: &[Uncopied], all: bool, now: Instant) -> Option<usize> {
    let is_due = |output: &Uncopied| output.due.is_some_and(|due| due <= now);
    // One that could not be copied waits out its pause all the same.
    let due = |output: &Uncopied| is_due(output) || all && output.tries == 0;
    let worth = |output: &Uncopied| output.cost_ms.saturating_mul(1 << 20) / output.bytes.max(1);
    let candidates = waiting.iter().enumerate().filter(|(_, output)| due(output));
    candidates.max_by_key(|(_, output)| worth(output)).map(|(position, _)| position)
}

impl Copier {
    pub(super) fn new(shuffle: Arc<ShuffleStore>, folder: PathBuf) -> Self {
        Self { shuffle, folder, queue: Mutex::default(), changed: Notify::new() }
    }

    /// Takes an output in hand.
    pub(super) fn add(&self, output: Uncopied) {
        self.queue.lock().waiting.push(output);
        self.changed.notify_one();
    }

    /// Copies whatever there is, and whatever will be, at once.
    pub(super) fn copy_all(&self) {
        self.queue.lock().all = true;
        self.changed.notify_one();
    }

    /// Whether anything is still to be copied.
    pub(super) fn is_busy(&self) -> bool {
        let queue = self.queue.lock();
        !queue.copying.is_empty() || !queue.waiting.is_empty()
    }

    /// A job's outputs are needed no more. Returns when none of them is on its way.
    pub(super) async fn forget(&self, job_id: &str) {
        loop {
            {
                let mut queue = self.queue.lock();
                queue.waiting.retain(|output| output.task.job_id != job_id);
                let mine: Vec<_> = queue.copying.iter().filter(|(task, _)| task.job_id == job_id).collect();
                if mine.is_empty() {
                    return;
                }
                mine.iter().for_each(|(_, stop)| stop.cancel());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Copies until dropped; `copied` hears of each output that is safe.
    pub(super) async fn run(&self, copied: impl Fn(&TaskRef, Copied)) {
        let mut copies = JoinSet::new();
        loop {
            while copies.len() < AT_ONCE
                && let Some((output, stop)) = self.take()
            {
                let (shuffle, folder) = (self.shuffle.clone(), self.folder.clone());
                copies.spawn(async move {
                    let upload = AssertUnwindSafe(shuffle.upload(&folder, &output.files)).catch_unwind();
                    let copy = stop.run_until_cancelled(upload).await;
                    let told = |ended: Result<Result<_, ShuffleError>, _>| match ended {
                        Ok(uploaded) => uploaded.map_err(|cause| cause.to_string()),
                        Err(_panic) => Err("it panicked".to_owned()),
                    };
                    (output, copy.map(told))
                });
            }
            tokio::select! {
                Some(Ok((output, copy))) = copies.join_next() => self.settle(output, copy, &copied),
                () = self.changed.notified() => {}
                () = self.until_due() => {}
            }
        }
    }

    fn take(&self) -> Option<(Uncopied, CancellationToken)> {
        let mut queue = self.queue.lock();
        let position = next(&queue.waiting, queue.all, Instant::now())?;
        let output = queue.waiting.swap_remove(position);
        let stop = CancellationToken::new();
        queue.copying.push((output.task.clone(), stop.clone()));
        Some((output, stop))
    }

    fn settle(&self, mut output: Uncopied, copy: Option<Result<Copied, String>>, copied: &impl Fn(&TaskRef, Copied)) {
        match copy {
            None => {}
            Some(Ok(amount)) => copied(&output.task, amount),
            Some(Err(cause)) => {
                output.tries += 1;
                let again = output.tries < TRIES;
                tracing::warn!(task = %output.task, %cause, again, "cannot copy an output to the shuffle location");
                if again {
                    output.due = Some(Instant::now() + PAUSE * (1 << output.tries));
                    self.queue.lock().waiting.push(output.clone());
                }
            }
        }
        self.queue.lock().copying.retain(|(task, _)| *task != output.task);
    }

    async fn until_due(&self) {
        let earliest = self.queue.lock().waiting.iter().filter_map(|output| output.due).min();
        let now = Instant::now();
        match earliest.filter(|due| *due > now) {
            Some(due) => tokio::time::sleep(due - now).await,
            // What is due now waits for one that is being copied, and its end wakes.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_engine::store::{Location, ObjectStores, StoreOptions};

    use super::*;

    fn output(task_id: u32, bytes: u64, cost_ms: u64, due: Option<Instant>) -> Uncopied {
        let task = TaskRef { job_id: format!("j{task_id}"), stage_id: 1, stage_attempt: 0, task_id };
        Uncopied { task, files: vec![format!("f{task_id}")], bytes, cost_ms, due, tries: 0 }
    }

    #[test]
    fn the_dearest_for_its_size_goes_first_once_due() {
        let now = Instant::now();
        let (past, future) = (Some(now - Duration::from_secs(1)), Some(now + Duration::from_secs(9)));
        let waiting = [
            output(0, 1 << 20, 100, past),
            output(1, 1 << 30, 900, past),
            output(2, 1, 99, future),
            output(3, 1, 9, None),
        ];
        assert_eq!(next(&waiting, false, now), Some(0));
        assert_eq!(next(&waiting, true, now), Some(2), "all are due when the executor leaves");
        assert_eq!(next(&waiting[2..], false, now), None);
        assert_eq!(next(&[], true, now), None);
    }

    #[tokio::test]
    async fn outputs_are_copied_when_due_or_when_the_executor_leaves_unless_their_job_is_over() {
        let (local, remote) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for number in 0..3 {
            std::fs::write(local.path().join(format!("f{number}")), b"rows").unwrap();
        }
        let stores = ObjectStores::new(StoreOptions::default());
        let location = Location::parse(&format!("{}/", remote.path().display())).unwrap();
        let shuffle = ShuffleStore::new(None, Some((location, stores)));
        let copier = Arc::new(Copier::new(shuffle, local.path().to_owned()));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (running, ears) = (copier.clone(), heard.clone());
        let run = tokio::spawn(async move { running.run(|task, _| ears.lock().push(task.task_id)).await });
        copier.add(output(0, 4, 1, Some(Instant::now())));
        copier.add(output(1, 4, 1, None));
        copier.add(output(2, 4, 1, None));
        let copied = |count| {
            let heard = heard.clone();
            async move {
                while heard.lock().len() < count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        copied(1).await;
        assert_eq!(*heard.lock(), [0]);
        copier.forget("j2").await;
        copier.copy_all();
        copied(2).await;
        assert_eq!(*heard.lock(), [0, 1]);
        assert!(remote.path().join("f1").exists() && !remote.path().join("f2").exists());
        run.abort();
    }
}
