//! The life of a run and of its statements.
//!
//! ```text
//! run:        QUEUED -> RUNNING -> SUCCEEDED | FAILED | CANCELLED      (QUEUED may fail or be cancelled too)
//! statement:  PENDING -> RUNNING -> PUBLISHING -> SUCCEEDED            (RUNNING -> RUNNING is the next attempt)
//!                any open state -> FAILED | CANCELLED
//! ```
//! Terminal states absorb: an event that comes late or twice changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::expectation::ExpectationResult;
use crate::failure::Failure;
use crate::id::RunId;

mod event;

pub use event::RunEvent;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunState {
    /// Accepted and waiting for its turn.
    Queued,
    /// Its statements run.
    Running,
    /// Every statement succeeded.
    Succeeded,
    /// A statement failed; later ones did not run.
    Failed,
    /// Ended by request.
    Cancelled,
}

impl RunState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// Where a statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StatementState {
    /// Waits for those before it.
    Pending,
    /// Its tasks run.
    Running,
    /// Its output is being made visible.
    Publishing,
    /// Done.
    Succeeded,
    /// Failed.
    Failed,
    /// Ended by request, or never begun because the run ended.
    Cancelled,
}

impl StatementState {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What tasks counted. Bytes are as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Rows that scans gave.
    pub rows_read: u64,
    /// Bytes that scans fetched.
    pub bytes_read: u64,
    /// Rows that left the stage, for another one, the reader or a table.
    pub rows_out: u64,
    /// Shuffle bytes written.
    pub shuffle_bytes_written: u64,
    /// Shuffle bytes read.
    pub shuffle_bytes_read: u64,
    /// Bytes spilled to local disk.
    pub spill_bytes: u64,
    /// Rows written to tables.
    pub rows_written: u64,
    /// Bytes written to tables.
    pub bytes_written: u64,
    /// Files written to tables.
    pub files_written: u64,
    /// Reads of shuffle runs from the executor's own disk.
    #[serde(default)]
    pub shuffle_requests_local: u64,
    /// Reads of shuffle runs from other executors.
    #[serde(default)]
    pub shuffle_requests_peer: u64,
    /// GETs of shuffle objects.
    #[serde(default)]
    pub shuffle_requests_remote: u64,
    /// PUTs of shuffle objects.
    #[serde(default)]
    pub shuffle_put_requests: u64,
}

impl Counters {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Counters) {
        self.rows_read += other.rows_read;
        self.bytes_read += other.bytes_read;
        self.rows_out += other.rows_out;
        self.shuffle_bytes_written += other.shuffle_bytes_written;
        self.shuffle_bytes_read += other.shuffle_bytes_read;
        self.spill_bytes += other.spill_bytes;
        self.rows_written += other.rows_written;
        self.bytes_written += other.bytes_written;
        self.files_written += other.files_written;
        self.shuffle_requests_local += other.shuffle_requests_local;
        self.shuffle_requests_peer += other.shuffle_requests_peer;
        self.shuffle_requests_remote += other.shuffle_requests_remote;
        self.shuffle_put_requests += other.shuffle_put_requests;
    }
}

/// One stage of a statement attempt. Times are milliseconds since the epoch, 0 where not reached.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StageRecord {
    /// Stage within the job.
    pub stage_id: u32,
    /// Its operators, for people.
    pub description: String,
    /// Which run of the stage, from 0.
    pub attempt: u32,
    /// Tasks in all, as far as planned.
    pub tasks_total: u32,
    /// Tasks that run.
    pub tasks_running: u32,
    /// Tasks that succeeded.
    pub tasks_done: u32,
    /// Task attempts that failed.
    pub tasks_failed: u32,
    /// Sums over its tasks.
    pub counters: Counters,
    /// Start of its first task.
    pub started_ms: i64,
    /// End of its last task.
    pub ended_ms: i64,
    /// Sum of its tasks' times.
    pub task_ms: u64,
    /// The slowest task.
    pub slowest_task: u32,
    /// Its time.
    pub slowest_task_ms: u64,
    /// Its executor.
    pub slowest_task_executor: String,
    /// Time of task attempts that failed, were lost with their executor, or ran again.
    #[serde(default)]
    pub lost_task_ms: u64,
    /// Tasks that ran again because their output was lost.
    #[serde(default)]
    pub tasks_rerun: u32,
}

/// One statement of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementRecord {
    /// Position in the script, from 1.
    pub index: u32,
    /// `SELECT`, `INSERT OVERWRITE`, ...
    pub kind: String,
    /// Its text, parameters filled in.
    pub sql: String,
    /// Where it stands.
    pub state: StatementState,
    /// Which attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Stages of the latest attempt.
    pub stages: Vec<StageRecord>,
    /// What was written and read, over all stages.
    pub counters: Counters,
    /// When it began.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The table or location it writes, if any.
    pub target: String,
    /// What it waits for, for people; empty while it goes on. Only a running statement waits.
    #[serde(default)]
    pub waiting: String,
    /// How what it wrote stands to what the table expects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expectations: Vec<ExpectationResult>,
    /// First rows of a SELECT as an Arrow IPC stream.
    #[serde(skip)]
    pub preview: Vec<u8>,
}

impl StatementRecord {
    /// A statement that has not begun.
    pub fn pending(index: u32, kind: &str, sql: &str, target: &str) -> Self {
        Self {
            index,
            kind: kind.to_owned(),
            sql: sql.to_owned(),
            state: StatementState::Pending,
            attempt: 0,
            stages: Vec::new(),
            counters: Counters::default(),
            started_ms: 0,
            ended_ms: 0,
            failure: None,
            target: target.to_owned(),
            waiting: String::new(),
            expectations: Vec::new(),
            preview: Vec::new(),
        }
    }
}

/// What was submitted, so that it can be submitted again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Submission {
    /// The script as written, empty for a DataFrame job.
    pub script: String,
    /// The script's file name.
    pub file_name: String,
    /// Settings given beside it.
    pub settings: BTreeMap<String, String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The job's name.
    pub name: String,
    /// The queue it waits in.
    pub queue: String,
    /// Where it stands.
    pub state: RunState,
    /// When it was accepted.
    pub submitted_ms: i64,
    /// When its first statement began.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
    /// Its statements, in order.
    pub statements: Vec<StatementRecord>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Its parameters, defaults filled in.
    pub params: BTreeMap<String, String>,
    /// Whether somebody asked to end it.
    pub cancel_requested: bool,
    /// Who asked for it, as the client said; empty when it did not.
    #[serde(default)]
    pub user: String,
    /// What was submitted.
    pub submission: Submission,
}

impl RunRecord {
    fn statement(&mut self, index: u32) -> Option<&mut StatementRecord> {
        self.statements.iter_mut().find(|s| s.index == index && !s.state.is_final())
    }

    /// Applies an event at `now_ms`. Returns whether anything changed. The run succeeds with its last statement.
    pub fn apply(&mut self, event: RunEvent, now_ms: i64) -> bool {
        if self.state.is_final() {
            return false;
        }
        let changed = self.take_in(event, now_ms);
        for s in self.statements.iter_mut().filter(|s| s.state != StatementState::Running) {
            s.waiting.clear();
        }
        changed
    }

    fn take_in(&mut self, event: RunEvent, now_ms: i64) -> bool {
        match event {
            RunEvent::Started => {
                let starts = self.state == RunState::Queued;
                if starts {
                    self.state = RunState::Running;
                    self.started_ms = now_ms;
                }
                starts
            }
            RunEvent::StatementStarted { index } => self.start_statement(index, now_ms),
            RunEvent::Progress { index, stages } => self.progress(index, stages),
            RunEvent::Waiting { index, reason } => {
                let running = self.statement(index).filter(|s| s.state == StatementState::Running);
                running.is_some_and(|s| std::mem::replace(&mut s.waiting, reason.clone()) != reason)
            }
            RunEvent::Judged { index, results } => {
                let running = self.statement(index).filter(|s| s.state == StatementState::Running);
                running.is_some_and(|s| std::mem::replace(&mut s.expectations, results.clone()) != results)
            }
            RunEvent::Publishing { index } => match self.statement(index) {
                Some(s) if s.state == StatementState::Running => {
                    s.state = StatementState::Publishing;
                    true
                }
                _ => false,
            },
            RunEvent::StatementSucceeded { index, written, preview } => self.succeed(index, written, preview, now_ms),
            RunEvent::Failed { index, failure } => {
                if let Some(s) = index.and_then(|i| self.statement(i)) {
                    s.state = StatementState::Failed;
                    s.ended_ms = now_ms;
                    s.failure = Some(failure.clone());
                }
                self.failure = Some(failure);
                self.end(RunState::Failed, now_ms);
                true
            }
            RunEvent::CancelRequested => !std::mem::replace(&mut self.cancel_requested, true),
            RunEvent::Cancelled => {
                self.end(RunState::Cancelled, now_ms);
                true
            }
        }
    }

    fn start_statement(&mut self, index: u32, now_ms: i64) -> bool {
        let Some(s) = self.statement(index) else { return false };
        if s.started_ms == 0 {
            s.started_ms = now_ms;
        }
        s.state = StatementState::Running;
        s.attempt += 1;
        s.stages.clear();
        s.waiting.clear();
        s.expectations.clear();
        true
    }

    fn progress(&mut self, index: u32, stages: Vec<StageRecord>) -> bool {
        let Some(s) = self.statement(index) else { return false };
        let changed = s.stages != stages;
        let mut sum = Counters::default();
        for stage in &stages {
            sum.add(&stage.counters);
        }
        s.counters = sum;
        s.stages = stages;
        changed
    }

    fn succeed(&mut self, index: u32, written: Counters, preview: Vec<u8>, now_ms: i64) -> bool {
        let Some(s) = self.statement(index) else { return false };
        s.state = StatementState::Succeeded;
        s.ended_ms = now_ms;
        s.preview = preview;
        s.counters.rows_written = written.rows_written;
        s.counters.bytes_written = written.bytes_written;
        s.counters.files_written = written.files_written;
        if self.statements.iter().all(|s| s.state == StatementState::Succeeded) {
            self.end(RunState::Succeeded, now_ms);
        }
        true
    }

    fn end(&mut self, state: RunState, now_ms: i64) {
        self.state = state;
        self.ended_ms = now_ms;
        for s in self.statements.iter_mut().filter(|s| !s.state.is_final()) {
            s.state = StatementState::Cancelled;
            if s.started_ms > 0 {
                s.ended_ms = now_ms;
            }
        }
        let stages = self.statements.iter_mut().flat_map(|s| &mut s.stages);
        for stage in stages.filter(|stage| stage.started_ms > 0 && stage.ended_ms == 0) {
            stage.ended_ms = now_ms;
        }
    }
}

/// What follows a failed statement attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Run it again as the next attempt.
    Again,
    /// The run fails.
    Fail,
}

/// Decides whether a statement is tried again: only what may pass is, and at most `max_attempts` times in all.
pub fn after_failure(failure: &Failure, attempt: u32, max_attempts: u32) -> AfterFailure {
    if failure.is_retryable() && attempt < max_attempts { AfterFailure::Again } else { AfterFailure::Fail }
}

#[cfg(test)]
mod tests;
