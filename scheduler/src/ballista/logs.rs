//! What tasks said: the latest lines of each job, bounded in lines, jobs and line length.
//!
//! Kept in memory only, after the job has ended too, until newer jobs push it out.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use selvedge_model::TaskRef;

const LINES_PER_JOB: usize = 1000;
const JOBS: usize = 500;
const MESSAGE_BYTES: usize = 4096;

/// One line of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskLog {
    /// Who said it.
    pub task: TaskRef,
    /// When, in milliseconds since the epoch.
    pub time_ms: i64,
    /// `INFO`, `WARN` or `ERROR`.
    pub level: String,
    /// What.
    pub message: String,
    /// Where it ran.
    pub executor: String,
}

/// The logs of the latest jobs.
#[derive(Default)]
pub(super) struct Logs {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: HashMap<String, VecDeque<TaskLog>>,
    oldest_first: VecDeque<String>,
}

impl Logs {
    pub(super) fn push(&self, mut line: TaskLog) {
        truncate(&mut line.message);
        let mut kept = self.kept.lock();
        let job = line.task.job_id.clone();
        if !kept.lines.contains_key(&job) {
            kept.oldest_first.push_back(job.clone());
            if kept.oldest_first.len() > JOBS
                && let Some(old) = kept.oldest_first.pop_front()
            {
                kept.lines.remove(&old);
            }
        }
        let lines = kept.lines.entry(job).or_default();
        if lines.len() == LINES_PER_JOB {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(super) fn of(&self, job_id: &str) -> Vec<TaskLog> {
        self.kept.lock().lines.get(job_id).map(|lines| lines.iter().cloned().collect()).unwrap_or_default()
    }
}

fn truncate(message: &mut String) {
    if message.len() <= MESSAGE_BYTES {
        return;
    }
    let end = (0..=MESSAGE_BYTES).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    message.truncate(end);
    message.push_str(" ...");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(job: &str, message: &str) -> TaskLog {
        TaskLog {
            task: TaskRef { job_id: job.into(), stage_id: 1, stage_attempt: 0, task_id: 0 },
            time_ms: 0,
            level: "INFO".into(),
            message: message.into(),
            executor: "e".into(),
        }
    }

    #[test]
    fn logs_keep_the_latest_lines_of_the_latest_jobs() {
        let logs = Logs::default();
        for n in 0..=LINES_PER_JOB {
            logs.push(line("first", &n.to_string()));
        }
        assert_eq!((logs.of("first").len(), logs.of("first")[0].message.as_str()), (LINES_PER_JOB, "1"));
        for n in 0..JOBS {
            logs.push(line(&format!("job{n}"), &"é".repeat(MESSAGE_BYTES)));
        }
        assert!(logs.of("first").is_empty());
        assert!(logs.of("job0")[0].message.len() < MESSAGE_BYTES + 8);
    }
}
