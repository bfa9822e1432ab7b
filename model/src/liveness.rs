//! Which executors live, which tasks are lost, which statuses count, and which jobs are stuck.
//!
//! The facade in `scheduler/src/ballista` feeds these with facts and carries out what they decide.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::id::{ExecutorId, TaskRef};

/// Leases of executors, renewed by each poll. Times are milliseconds of one monotonic clock.
#[derive(Debug, Default)]
pub struct Leases {
    seen_ms: BTreeMap<ExecutorId, u64>,
}

impl Leases {
    /// Renews an executor's lease. Returns true if it is new (or came back after it had run out).
    pub fn renew(&mut self, id: &ExecutorId, now_ms: u64) -> bool {
        self.seen_ms.insert(id.clone(), now_ms).is_none()
    }

    /// Ends a lease at once. Returns whether there was one.
    pub fn end(&mut self, id: &ExecutorId) -> bool {
        self.seen_ms.remove(id).is_some()
    }

    /// Takes out every lease not renewed for `ttl_ms`; each is returned once.
    pub fn expire(&mut self, now_ms: u64, ttl_ms: u64) -> Vec<ExecutorId> {
        let dead: Vec<_> = self
            .seen_ms
            .iter()
            .filter(|(_, seen)| now_ms.saturating_sub(**seen) > ttl_ms)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &dead {
            self.seen_ms.remove(id);
        }
        dead
    }
}

/// What the scheduler believes of one task that it gave to an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The task.
    pub task: TaskRef,
    /// When it was handed out.
    pub assigned_ms: u64,
}

/// What follows from comparing an executor's word with the scheduler's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Handed out, but the executor does not hold them: the reply that carried them was lost. Reset them.
    pub lost: Vec<TaskRef>,
    /// Held, but nobody waits for them: stop them.
    pub cancel: Vec<TaskRef>,
}

/// Compares the tasks an executor says it holds with those assigned to it.
///
/// A task handed out less than `grace_ms` ago may still be on its way, so it is not yet called lost.
pub fn reconcile(held: &[TaskRef], assigned: &[Assignment], now_ms: u64, grace_ms: u64) -> Reconciliation {
    let holds: HashSet<&TaskRef> = held.iter().collect();
    let expected: HashSet<&TaskRef> = assigned.iter().map(|a| &a.task).collect();
    Reconciliation {
        lost: assigned
            .iter()
            .filter(|a| !holds.contains(&a.task) && now_ms.saturating_sub(a.assigned_ms) > grace_ms)
            .map(|a| a.task.clone())
            .collect(),
        cancel: held.iter().filter(|task| !expected.contains(task)).cloned().collect(),
    }
}

/// What an executor last said of an ended job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastWord {
    /// Its last poll.
    pub seen_ms: u64,
    /// Whether it holds a task of the job, or was just given one.
    pub holds: bool,
    /// Whether its lease has run out since.
    pub is_lost: bool,
}

/// Whether tasks of an ended job may still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// An executor holds one, or has not spoken since.
    Held,
    /// Only executors that are lost held one. They may be gone, or come back.
    Adrift,
    /// Nobody does.
    Free,
}

/// Whether tasks of a job that ended at `ended_ms` may still run.
///
/// Only what an executor says `grace_ms` after the end counts: a task handed out just before it may have been on its way.
pub fn release(words: impl IntoIterator<Item = LastWord>, ended_ms: u64, grace_ms: u64) -> Release {
    let mut release = Release::Free;
    for word in words {
        match (word.is_lost, word.holds) {
            (true, true) => release = Release::Adrift,
            (true, false) => {}
            (false, holds) if holds || word.seen_ms < ended_ms.saturating_add(grace_ms) => return Release::Held,
            (false, _) => {}
        }
    }
    release
}

/// Remembers which task attempts have reported their end, so that a status resent is counted once.
///
/// The engine appends the output of a repeated success again, which doubles rows.
#[derive(Debug, Default)]
pub struct StatusLedger {
    counted: HashMap<String, HashSet<(u32, u32, u32)>>,
}

impl StatusLedger {
    /// Claims a status for delivery; false if it was already claimed.
    pub fn claim(&mut self, task: &TaskRef) -> bool {
        self.counted.entry(task.job_id.clone()).or_default().insert((task.stage_id, task.stage_attempt, task.task_id))
    }

    /// Gives a claim back after its delivery failed.
    pub fn release(&mut self, task: &TaskRef) {
        if let Some(job) = self.counted.get_mut(&task.job_id) {
            job.remove(&(task.stage_id, task.stage_attempt, task.task_id));
        }
    }

    /// Forgets a job that has ended.
    pub fn forget(&mut self, job_id: &str) {
        self.counted.remove(job_id);
    }
}

/// How a job stands at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLook {
    /// Tasks that executors work on.
    pub running_tasks: usize,
    /// Tasks that could start.
    pub available_tasks: usize,
    /// Stages planned so far.
    pub stages: usize,
}

/// For how long something has been so, and from when on it is worth saying. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Since the job was submitted.
    pub job_age_ms: u64,
    /// Since an executor could last take tasks; 0 while one can.
    pub unable_ms: u64,
    /// What is over sooner needs no words: executors come and go.
    pub notice_ms: u64,
}

/// Whether a job waits for executors: it has tasks to start, none that runs, and for a while nobody could take one.
pub fn waits_for_executors(look: &JobLook, waits: Waits) -> bool {
    let can_only_wait = look.running_tasks == 0 && look.available_tasks > 0;
    can_only_wait && waits.job_age_ms.min(waits.unable_ms) > waits.notice_ms
}

/// Why a job is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// Nothing runs and nothing can start, yet it has not ended.
    Idle,
    /// The planner adds stages without end (it loops on an input that turned out empty).
    StageStorm,
}

/// Notices jobs that will never end by themselves.
#[derive(Debug, Default)]
pub struct Watchdog {
    idle_looks: HashMap<String, u32>,
    first_stages: HashMap<String, usize>,
}

/// Looks in a row, a second apart, that make an idle job a stuck one. Between two stages a job is idle for milliseconds.
pub const IDLE_LOOKS: u32 = 3;

/// Stages that a plan may gain while it runs; the looping planner made 573 in 12 s.
pub const MAX_NEW_STAGES: usize = 200;

impl Watchdog {
    /// Takes one look at every running job and returns those that are stuck. Jobs not in `looks` are forgotten.
    pub fn look(&mut self, looks: &BTreeMap<String, JobLook>) -> Vec<(String, Stuck)> {
        let present: BTreeSet<&String> = looks.keys().collect();
        self.idle_looks.retain(|job, _| present.contains(job));
        self.first_stages.retain(|job, _| present.contains(job));
        let mut stuck = Vec::new();
        for (job, look) in looks {
            let first = *self.first_stages.entry(job.clone()).or_insert(look.stages);
            if look.stages > first + MAX_NEW_STAGES {
                stuck.push((job.clone(), Stuck::StageStorm));
                continue;
            }
            let seen = self.idle_looks.entry(job.clone()).or_default();
            let idle = look.running_tasks == 0 && look.available_tasks == 0;
            *seen = if idle { *seen + 1 } else { 0 };
            if *seen == IDLE_LOOKS {
                stuck.push((job.clone(), Stuck::Idle));
            }
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(task_id: u32) -> TaskRef {
        TaskRef { job_id: "r-s1-a1".into(), stage_id: 1, stage_attempt: 0, task_id }
    }

    fn assigned(task_id: u32, assigned_ms: u64) -> Assignment {
        Assignment { task: task(task_id), assigned_ms }
    }

    #[test]
    fn a_lease_expires_once_and_can_come_back() {
        let (mut leases, id) = (Leases::default(), "e1".parse().unwrap());
        assert!(leases.renew(&id, 0));
        assert!(!leases.renew(&id, 900));
        assert!(leases.expire(1900, 1000).is_empty());
        assert_eq!(leases.expire(1901, 1000), vec![id.clone()]);
        assert!(leases.expire(9999, 1000).is_empty());
        assert!(leases.renew(&id, 10_000));
    }

    #[test]
    fn a_task_missing_after_the_grace_is_lost_and_an_unknown_one_is_cancelled() {
        let got = reconcile(&[task(1), task(7)], &[assigned(1, 0), assigned(2, 0), assigned(3, 950)], 1000, 500);
        assert_eq!(got, Reconciliation { lost: vec![task(2)], cancel: vec![task(7)] });
    }

    #[test]
    fn a_job_is_free_when_every_executor_has_said_so_after_its_end() {
        let word = |seen_ms, holds, is_lost| LastWord { seen_ms, holds, is_lost };
        let now = |words: &[LastWord]| release(words.iter().copied(), 1000, 500);
        assert_eq!(now(&[]), Release::Free);
        assert_eq!(now(&[word(1500, false, false), word(0, false, true)]), Release::Free);
        assert_eq!(now(&[word(1499, false, false)]), Release::Held, "a task may have been on its way");
        assert_eq!(now(&[word(9000, true, false)]), Release::Held);
        assert_eq!(now(&[word(900, true, true), word(2000, false, false)]), Release::Adrift);
        assert_eq!(now(&[word(900, true, true), word(2000, true, false)]), Release::Held);
    }

    #[test]
    fn a_status_counts_once_until_released() {
        let mut ledger = StatusLedger::default();
        assert!(ledger.claim(&task(1)));
        assert!(!ledger.claim(&task(1)));
        assert!(ledger.claim(&TaskRef { stage_attempt: 1, ..task(1) }));
        ledger.release(&task(1));
        assert!(ledger.claim(&task(1)));
        ledger.forget("r-s1-a1");
        assert!(ledger.claim(&task(1)));
    }

    #[test]
    fn a_job_waits_for_executors_when_it_could_start_tasks_and_nobody_has_been_there_for_a_while() {
        let look = |running_tasks, available_tasks| JobLook { running_tasks, available_tasks, stages: 2 };
        let waits = |job_age_ms, unable_ms| Waits { job_age_ms, unable_ms, notice_ms: 3000 };
        for (look, waits, expected) in [
            (look(0, 4), waits(3001, 3001), true),
            (look(0, 4), waits(3001, 3000), false),
            // Nobody was there before either, but this job has only just come.
            (look(0, 4), waits(3000, 900_000), false),
            (look(0, 4), waits(900_000, 0), false),
            // An executor that drains still runs a task of it.
            (look(1, 4), waits(9000, 9000), false),
            (look(0, 0), waits(9000, 9000), false),
        ] {
            assert_eq!(waits_for_executors(&look, waits), expected, "{look:?} {waits:?}");
        }
    }

    #[test]
    fn a_job_is_stuck_after_three_idle_looks_in_a_row_or_too_many_stages() {
        let mut dog = Watchdog::default();
        let idle = JobLook { running_tasks: 0, available_tasks: 0, stages: 2 };
        let busy = JobLook { running_tasks: 1, ..idle };
        let look = |job| BTreeMap::from([("j".to_owned(), job)]);
        assert!(dog.look(&look(idle)).is_empty());
        assert!(dog.look(&look(idle)).is_empty());
        assert!(dog.look(&look(busy)).is_empty());
        assert!(dog.look(&look(idle)).is_empty());
        assert!(dog.look(&look(idle)).is_empty());
        assert_eq!(dog.look(&look(idle)), vec![("j".to_owned(), Stuck::Idle)]);
        assert!(Watchdog::default().look(&look(JobLook { stages: 1000, ..busy })).is_empty(), "large from the start");
        let storm = JobLook { stages: busy.stages + MAX_NEW_STAGES + 1, ..busy };
        assert_eq!(dog.look(&look(storm)), vec![("j".to_owned(), Stuck::StageStorm)]);
    }
}
