//! Outputs that no place has: who waits for them, and what is read in their stead.
//!
//! A reader that cannot have a task's output notes so here and waits. The executor's polls carry the question to the
//! scheduler, which has the task run once more under another name (`selvedge_model::copies`), and bring back where that
//! output is. While a task waits it computes nothing, so its vcore may be used for the copy it waits for.
//! Whoever knows no scheduler has none of this, and a lost block is an error at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ballista_core::serde::scheduler::PartitionLocation;
use parking_lot::Mutex;
use selvedge_model::TaskRef;
use tokio::sync::Notify;

use super::id::VirtualExecutorId;

/// Where to read instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The output of the copy.
    pub output: VirtualExecutorId,
    /// The executor that made it; empty when it is gone.
    pub host: String,
    /// Its port for shuffle.
    pub port: u16,
}

/// What is missed in one process. See the module.
#[derive(Debug, Default)]
pub struct MissingOutputs {
    inner: Mutex<Inner>,
    changed: Notify,
    answered: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// By output, the tasks that wait for it and how many of their readers do. None waits for one that failed in the middle of
    /// being read: it is missed by whoever reads it next.
    missed: BTreeMap<TaskRef, BTreeMap<String, usize>>,
    replaced: HashMap<TaskRef, Replacement>,
}

impl MissingOutputs {
    /// The outputs missed.
    pub fn tasks(&self) -> Vec<TaskRef> {
        self.inner.lock().missed.keys().cloned().collect()
    }

    /// How many tasks wait.
    pub fn waiting_tasks(&self) -> usize {
        let inner = self.inner.lock();
        inner.missed.values().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>().len()
    }

    /// Whether this task waits.
    pub fn waits(&self, reader: &str) -> bool {
        self.inner.lock().missed.values().any(|readers| readers.contains_key(reader))
    }

    /// Waits until something is missed, or somebody begins or ends to wait. Heard by one.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The scheduler's answer.
    pub fn replace(&self, missing: &TaskRef, replacement: Replacement) {
        let mut inner = self.inner.lock();
        inner.missed.remove(missing);
        inner.replaced.insert(missing.clone(), replacement);
        drop(inner);
        self.answered.notify_waiters();
        self.changed.notify_one();
    }

    /// A job is over.
    pub fn forget(&self, job_id: &str) {
        let mut inner = self.inner.lock();
        inner.missed.retain(|task, _| task.job_id != job_id);
        inner.replaced.retain(|task, _| task.job_id != job_id);
    }

    /// Notes that an output turned out to be unreadable while rows of it were out already.
    pub(super) fn note(&self, task: &TaskRef) {
        self.inner.lock().missed.entry(task.clone()).or_default();
        self.changed.notify_one();
    }

    pub(super) fn is_missed(&self, task: &TaskRef) -> bool {
        self.inner.lock().missed.contains_key(task)
    }

    /// Waits for another output in place of `missing`, as long as it takes: the scheduler ends the job when there is none.
    pub(super) async fn wait(&self, missing: &TaskRef, reader: &str) -> Replacement {
        let _waiting = Waiting::begin(self, missing, reader);
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            if let Some(found) = self.inner.lock().replaced.get(missing) {
                return found.clone();
            }
            answered.await;
        }
    }

    /// Where an output is read now: at the last of its replacements, if it has any.
    pub(super) fn current(&self, mut location: PartitionLocation) -> PartitionLocation {
        let inner = self.inner.lock();
        while let Ok(writer) = location.executor_meta.id.parse::<VirtualExecutorId>()
            && let Some(Replacement { output, host, port }) = inner.replaced.get(&writer.task)
        {
            location.executor_meta.id = output.to_string();
            location.executor_meta.host.clone_from(host);
            location.executor_meta.port = *port;
            location.file_id = location.file_id.map(|_| output.task.task_id.into());
        }
        location
    }
}

/// One reader that waits; ends when dropped, so that a cancelled one is not counted.
struct Waiting<'a> {
    outputs: &'a MissingOutputs,
    missing: &'a TaskRef,
    reader: &'a str,
}

impl<'a> Waiting<'a> {
    fn begin(outputs: &'a MissingOutputs, missing: &'a TaskRef, reader: &'a str) -> Self {
        let mut inner = outputs.inner.lock();
        if !inner.replaced.contains_key(missing) {
            *inner.missed.entry(missing.clone()).or_default().entry(reader.to_owned()).or_default() += 1;
        }
        drop(inner);
        outputs.changed.notify_one();
        Self { outputs, missing, reader }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.outputs.inner.lock();
        if let Some(readers) = inner.missed.get_mut(self.missing)
            && let Some(count) = readers.get_mut(self.reader)
        {
            *count -= 1;
            if *count == 0 {
                readers.remove(self.reader);
            }
            if readers.is_empty() {
                inner.missed.remove(self.missing);
            }
        }
        drop(inner);
        self.outputs.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn task(task_id: u32) -> TaskRef {
        TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 0, task_id }
    }

    fn replacement(task_id: u32) -> Replacement {
        let output = VirtualExecutorId { real: "e2".into(), task: task(task_id) };
        Replacement { output, host: "h".into(), port: 7 }
    }

    #[tokio::test]
    async fn who_waits_is_asked_for_and_lends_one_vcore_a_task_until_it_is_told_or_dropped() {
        let outputs = Arc::new(MissingOutputs::default());
        let wait = |missing: u32, reader: &'static str| {
            let outputs = outputs.clone();
            tokio::spawn(async move { outputs.wait(&task(missing), reader).await })
        };
        let (first, second, third) = (wait(1, "a"), wait(1, "b"), wait(2, "b"));
        while outputs.waiting_tasks() < 2 || outputs.tasks().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        third.abort();
        assert!(third.await.is_err());
        assert_eq!((outputs.tasks(), outputs.waiting_tasks()), (vec![task(1)], 2));
        assert!(outputs.waits("a") && outputs.waits("b") && !outputs.waits("c"));
        outputs.replace(&task(1), replacement(9));
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (replacement(9), replacement(9)));
        assert_eq!((outputs.tasks(), outputs.waiting_tasks()), (vec![], 0));
        assert!(!outputs.waits("a"));
        assert_eq!(outputs.wait(&task(1), "late").await, replacement(9));
        outputs.forget("j");
        assert!(!outputs.is_missed(&task(1)));
    }
}
