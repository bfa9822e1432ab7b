//! What the scheduler must still hear: how tasks ended, and lines for users. Nothing leaves before it was acknowledged.
//!
//! A reply acknowledges exactly what its request carried, also when two requests are on their way at once.

use std::collections::{HashSet, VecDeque};

use ballista_core::serde::protobuf::TaskStatus;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use selvedge_engine::shuffle::Copied;
use selvedge_model::TaskRef;
use selvedge_proto::internal::v1::{CopiedOutput, TaskLogLine};

use crate::clock::now_ms;

/// Statuses in one request; the rest follows in the next one.
const MAX_STATUS_BYTES: usize = 64 * 1024 * 1024;
/// Lines kept; the oldest go first.
const MAX_LOGS: usize = 1000;
/// Length of a line.
const MAX_MESSAGE_CHARS: usize = 4000;

/// What the scheduler must still hear.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    statuses: VecDeque<(u64, TaskRef, Bytes)>,
    logs: VecDeque<(u64, TaskLogLine)>,
    copied: VecDeque<(u64, CopiedOutput)>,
}

/// What one request carries.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) statuses: Vec<Bytes>,
    pub(crate) logs: Vec<TaskLogLine>,
    pub(crate) copied: Vec<CopiedOutput>,
    numbers: HashSet<u64>,
}

impl Outbox {
    /// A task ended.
    pub(crate) fn push_status(&self, task: TaskRef, status: TaskStatus) {
        let mut inner = self.inner.lock();
        let number = inner.number();
        inner.statuses.push_back((number, task, status.encode_to_vec().into()));
    }

    /// A task's output is in the shuffle location.
    pub(crate) fn push_copied(&self, task: &TaskRef, copied: Copied) {
        let Copied { bytes, requests } = copied;
        let copied = CopiedOutput { task: Some(task.clone().into()), put_requests: requests, bytes };
        let mut inner = self.inner.lock();
        let number = inner.number();
        inner.copied.push_back((number, copied));
    }

    /// Something to tell the user about a task.
    pub(crate) fn push_log(&self, task: &TaskRef, level: &str, message: String) {
        let message = message.chars().take(MAX_MESSAGE_CHARS).collect();
        let time_ms = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let line = TaskLogLine { task: Some(task.clone().into()), time_ms, level: level.to_owned(), message };
        let mut inner = self.inner.lock();
        let number = inner.number();
        inner.logs.push_back((number, line));
        if inner.logs.len() > MAX_LOGS {
            inner.logs.pop_front();
        }
    }

    /// Whether a task's end still waits to be heard.
    pub(crate) fn holds(&self, task: &TaskRef) -> bool {
        self.inner.lock().statuses.iter().any(|(_, held, _)| held == task)
    }

    /// The tasks whose end still waits to be heard.
    pub(super) fn tasks(&self) -> Vec<TaskRef> {
        self.inner.lock().statuses.iter().map(|(_, task, _)| task.clone()).collect()
    }

    /// Whether every status, and where outputs are, was heard.
    pub(super) fn is_empty(&self) -> bool {
        let inner = self.inner.lock();
        inner.statuses.is_empty() && inner.copied.is_empty()
    }

    /// Copies what fits into one request, oldest first.
    pub(crate) fn parcel(&self) -> Parcel {
        let inner = self.inner.lock();
        let mut room = MAX_STATUS_BYTES;
        // The first one always goes, however large: holding it back would hold back all.
        let fitting = inner.statuses.iter().enumerate().take_while(|(i, (_, _, status))| {
            let fits = *i == 0 || status.len() <= room;
            room = room.saturating_sub(status.len());
            fits
        });
        let statuses: Vec<_> = fitting.map(|(_, (number, _, status))| (*number, status.clone())).collect();
        // A status goes before what was copied of its task: which of it does not fit holds back what was pushed after it.
        let cut = inner.statuses.get(statuses.len()).map_or(u64::MAX, |(number, ..)| *number);
        let copied = inner.copied.iter().take_while(|(number, _)| *number < cut);
        let (copied_numbers, copied): (Vec<u64>, Vec<CopiedOutput>) = copied.cloned().unzip();
        let numbers = statuses.iter().map(|(n, _)| *n).chain(inner.logs.iter().map(|(n, _)| *n));
        let numbers = numbers.chain(copied_numbers).collect();
        Parcel {
            statuses: statuses.into_iter().map(|(_, status)| status).collect(),
            logs: inner.logs.iter().map(|(_, line)| line.clone()).collect(),
            copied,
            numbers,
        }
    }

    /// The parcel was heard.
    pub(super) fn acknowledge(&self, parcel: &Parcel) {
        let mut inner = self.inner.lock();
        inner.statuses.retain(|(number, ..)| !parcel.numbers.contains(number));
        inner.logs.retain(|(number, _)| !parcel.numbers.contains(number));
        inner.copied.retain(|(number, _)| !parcel.numbers.contains(number));
    }
}

impl Inner {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(task_id: u32) -> TaskRef {
        TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 0, task_id }
    }

    #[test]
    fn only_what_was_carried_is_acknowledged() {
        let outbox = Outbox::default();
        outbox.push_status(task(1), TaskStatus::default());
        let first = outbox.parcel();
        outbox.push_status(task(2), TaskStatus::default());
        outbox.push_log(&task(2), "info", "late".into());
        let second = outbox.parcel();
        assert_eq!((first.statuses.len(), second.statuses.len()), (1, 2));
        outbox.acknowledge(&first);
        assert_eq!(outbox.tasks(), [task(2)]);
        assert_eq!(outbox.parcel().logs.len(), 1);
        outbox.acknowledge(&second);
        assert!(outbox.is_empty() && outbox.parcel().logs.is_empty());
    }

    #[test]
    fn lines_are_bounded_and_statuses_are_not() {
        let outbox = Outbox::default();
        for id in 0..1500 {
            outbox.push_status(task(id), TaskStatus::default());
            outbox.push_log(&task(id), "info", "x".repeat(9000));
        }
        let parcel = outbox.parcel();
        assert_eq!((parcel.statuses.len(), parcel.logs.len()), (1500, MAX_LOGS));
        assert_eq!(parcel.logs[0].message.len(), MAX_MESSAGE_CHARS);
    }
}
