//! What a run cost, as the scheduler counts it: task time, what of it was lost, tasks, requests for shuffle data.
//!
//! A statement's record holds the stages of its latest attempt only. Earlier attempts are seen by looking at the run while it
//! goes on: see [`Watch`].

use std::collections::BTreeMap;

use selvedge_proto::v1::{Run, Stage};
use serde::Serialize;

/// Sums over stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Stages.
    pub stages: u64,
    /// Tasks that succeeded.
    pub tasks: u64,
    /// Sum of tasks' times.
    pub task_ms: u64,
    /// Time of task attempts whose work did not count.
    pub lost_task_ms: u64,
    /// Task attempts that failed.
    pub tasks_failed: u64,
    /// Tasks that ran again because their output was lost.
    pub tasks_rerun: u64,
    /// Statement attempts after the first.
    pub statements_again: u64,
    /// Reads of shuffle data from the executor's own disk.
    pub local: u64,
    /// From other executors.
    pub peer: u64,
    /// From the bucket.
    pub remote: u64,
    /// Writes to the bucket.
    pub put: u64,
}

impl Work {
    fn of_stage(stage: &Stage) -> Self {
        let counters = stage.counters.unwrap_or_default();
        Self {
            stages: 1,
            tasks: stage.tasks_done.into(),
            task_ms: stage.task_ms,
            lost_task_ms: stage.lost_task_ms,
            tasks_failed: stage.tasks_failed.into(),
            tasks_rerun: stage.tasks_rerun.into(),
            statements_again: 0,
            local: counters.shuffle_requests_local,
            peer: counters.shuffle_requests_peer,
            remote: counters.shuffle_requests_remote,
            put: counters.shuffle_put_requests,
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.stages += other.stages;
        self.tasks += other.tasks;
        self.task_ms += other.task_ms;
        self.lost_task_ms += other.lost_task_ms;
        self.tasks_failed += other.tasks_failed;
        self.tasks_rerun += other.tasks_rerun;
        self.statements_again += other.statements_again;
        self.local += other.local;
        self.peer += other.peer;
        self.remote += other.remote;
        self.put += other.put;
    }

    /// Time of all task attempts, whether their work counted or not.
    pub fn spent_ms(&self) -> u64 {
        self.task_ms + self.lost_task_ms
    }

    /// Requests for shuffle data a task.
    pub fn requests_per_task(&self) -> f64 {
        (self.local + self.peer + self.remote + self.put) as f64 / self.tasks.max(1) as f64
    }
}

/// What each statement attempt of a run had cost when it was last seen.
#[derive(Debug, Default)]
pub struct Watch {
    /// By statement and attempt.
    seen: BTreeMap<(u32, u32), Work>,
}

impl Watch {
    /// Takes in the run as it is now.
    pub fn look(&mut self, run: &Run) {
        for statement in &run.statements {
            let mut work = Work::default();
            for stage in &statement.stages {
                work.add(&Work::of_stage(stage));
            }
            // An attempt that was stopped says nothing more: what it had done by then stands.
            if !statement.stages.is_empty() {
                self.seen.insert((statement.index, statement.attempt), work);
            }
        }
    }

    /// Sums over all attempts. What attempts before the last did was for nothing.
    pub fn total(&self) -> Work {
        let mut total = Work::default();
        for ((statement, attempt), work) in &self.seen {
            let mut later = self.seen.range((*statement, attempt + 1)..=(*statement, u32::MAX));
            if later.next().is_none() {
                total.add(work);
                total.statements_again += u64::from(attempt.saturating_sub(1));
            } else {
                let lost_task_ms = work.spent_ms();
                total.add(&Work { task_ms: 0, lost_task_ms, ..*work });
            }
        }
        total
    }
}
