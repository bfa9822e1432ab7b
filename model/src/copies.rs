//! Copies of tasks: the same work run once more beside the engine's graph, under a task id of its own.
//!
//! Two things ask for one: a reader that cannot have a finished task's output, and a running task that is far slower than
//! its peers. The graph never hears of a copy. A lost output's copy is told to the readers, who read it in the original's
//! place; a slow task's copy, when it is first, ends the original in its name. The facade in `scheduler/src/ballista` feeds
//! this with facts and carries out what it says; whether work may be repeated at all is the plan's word
//! (`engine/src/shuffle/repeatable.rs`).

use std::collections::{BTreeMap, HashMap};

use crate::id::{ExecutorId, TaskRef};

/// Task ids from here on are copies'. The engine counts a stage's tasks from 0 and never comes near.
pub const FIRST_COPY: u32 = 1 << 30;

/// Times one task's output is made again before its statement is begun anew: whatever loses it so often, loses more.
pub const MAX_COPIES: u32 = 4;

/// Whether a task attempt is a copy.
pub fn is_copy(task: &TaskRef) -> bool {
    task.task_id >= FIRST_COPY
}

/// Where a copy's output is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The copy.
    pub task: TaskRef,
    /// Who ran it.
    pub executor: ExecutorId,
}

/// What a reader that misses an output is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is being made again.
    Wait,
    /// Read this instead.
    Read(Output),
    /// It was made again too often: the statement has to begin anew.
    GiveUp,
}

/// Why a copy runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The original's output is lost.
    Restore,
    /// The original is slow, and not to be run where it runs.
    Overtake,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Waiting,
    Running(Output),
    Done(Output),
    /// It was to overtake, and is of no use any more. Kept, so that it is not begun once more.
    Dropped,
}

#[derive(Debug, Clone)]
struct Work {
    purpose: Purpose,
    state: State,
    times: u32,
    /// Not to be run there.
    avoid: Option<ExecutorId>,
}

/// Stage, stage attempt, task.
type Key = (u32, u32, u32);

fn key(task: &TaskRef) -> Key {
    (task.stage_id, task.stage_attempt, task.task_id)
}

fn task_of(job_id: &str, (stage_id, stage_attempt, task_id): Key) -> TaskRef {
    TaskRef { job_id: job_id.to_owned(), stage_id, stage_attempt, task_id }
}

#[derive(Debug, Default)]
struct JobCopies {
    /// By original, earlier stages first: a later stage's copy may need theirs.
    works: BTreeMap<Key, Work>,
    originals: HashMap<Key, Key>,
    handed_out: u32,
}

impl JobCopies {
    fn original(&self, task: &TaskRef) -> Key {
        self.originals.get(&key(task)).copied().unwrap_or_else(|| key(task))
    }
}

/// The copies of all jobs.
#[derive(Debug, Default)]
pub struct Copies {
    jobs: BTreeMap<String, JobCopies>,
}

impl Copies {
    /// A reader misses the output of `missing`, an original or a copy that was told before.
    pub fn ask(&mut self, missing: &TaskRef) -> Answer {
        let job = self.jobs.entry(missing.job_id.clone()).or_default();
        let work = job.works.entry(job.original(missing)).or_insert_with(|| Work::new(Purpose::Restore, None));
        match &work.state {
            State::Done(output) if output.task != *missing => return Answer::Read(output.clone()),
            // The copy itself is missing.
            State::Done(_) | State::Dropped => work.state = State::Waiting,
            State::Waiting | State::Running(_) => {}
        }
        work.purpose = Purpose::Restore;
        // Where the original was slow does not matter any more: there may be nobody else.
        work.avoid = None;
        let is_over = work.state == State::Waiting && work.times >= MAX_COPIES;
        if is_over { Answer::GiveUp } else { Answer::Wait }
    }

    /// Whether the output of this task, an original or a copy, is being made again or was: then it may be.
    pub fn restores(&self, missing: &TaskRef) -> bool {
        let Some(job) = self.jobs.get(&missing.job_id) else { return false };
        job.works.get(&job.original(missing)).is_some_and(|work| work.purpose == Purpose::Restore)
    }

    /// The task whose work this one does: itself, unless it is a copy.
    pub fn original(&self, task: &TaskRef) -> TaskRef {
        let original = self.jobs.get(&task.job_id).map_or_else(|| key(task), |job| job.original(task));
        task_of(&task.job_id, original)
    }

    /// A running task is slow: it is to run again, elsewhere than at `avoid`. Idempotent, and once for each task.
    pub fn overtake(&mut self, slow: &TaskRef, avoid: &ExecutorId) -> bool {
        let job = self.jobs.entry(slow.job_id.clone()).or_default();
        if job.works.contains_key(&key(slow)) {
            return false;
        }
        job.works.insert(key(slow), Work::new(Purpose::Overtake, Some(avoid.clone())));
        true
    }

    /// Hands out the next copy to an executor: what is lost before what is slow, earlier stages first. Returns the original
    /// and the copy.
    pub fn take(&mut self, executor: &ExecutorId) -> Option<(TaskRef, TaskRef)> {
        let fits = |work: &Work, purpose| {
            work.state == State::Waiting
                && work.purpose == purpose
                && work.times < MAX_COPIES
                && work.avoid.as_ref() != Some(executor)
        };
        for purpose in [Purpose::Restore, Purpose::Overtake] {
            for (job_id, job) in &mut self.jobs {
                let Some((original, work)) = job.works.iter_mut().find(|(_, work)| fits(work, purpose)) else {
                    continue;
                };
                let (stage_id, stage_attempt, _) = *original;
                let copy = task_of(job_id, (stage_id, stage_attempt, FIRST_COPY + job.handed_out));
                job.handed_out += 1;
                work.times += 1;
                work.state = State::Running(Output { task: copy.clone(), executor: executor.clone() });
                job.originals.insert(key(&copy), *original);
                return Some((task_of(job_id, *original), copy));
            }
        }
        None
    }

    /// Whether any copy waits to be handed out.
    pub fn waits(&self) -> bool {
        self.jobs.values().flat_map(|job| job.works.values()).any(|work| work.state == State::Waiting)
    }

    /// The copies that run on an executor.
    pub fn running_on(&self, executor: &ExecutorId) -> Vec<TaskRef> {
        let works = self.jobs.values().flat_map(|job| job.works.values());
        works.filter_map(|work| work.running()).filter(|o| o.executor == *executor).map(|o| o.task.clone()).collect()
    }

    /// Whether this copy runs on this executor.
    pub fn runs_on(&self, copy: &TaskRef, executor: &ExecutorId) -> bool {
        let work = self.jobs.get(&copy.job_id).and_then(|job| job.works.get(&job.original(copy)));
        work.and_then(Work::running).is_some_and(|output| output.task == *copy && output.executor == *executor)
    }

    /// A copy has ended well. Returns its original and what it was for; none when nobody waits for it.
    pub fn succeeded(&mut self, copy: &TaskRef, executor: &ExecutorId) -> Option<(TaskRef, Purpose)> {
        let (original, work) = self.find_running(copy, executor)?;
        work.state = State::Done(Output { task: copy.clone(), executor: executor.clone() });
        Some((original, work.purpose))
    }

    /// A copy has ended badly, or was given back. One that overtakes is dropped: its original still runs. Returns whether
    /// that was one too many.
    pub fn failed(&mut self, copy: &TaskRef, executor: &ExecutorId, counts: bool) -> bool {
        let Some((original, work)) = self.find_running(copy, executor) else { return false };
        if work.purpose == Purpose::Overtake {
            self.ended(&original);
            return false;
        }
        if !counts {
            work.times -= 1;
        }
        work.state = State::Waiting;
        work.times >= MAX_COPIES
    }

    /// An executor is gone: what ran on it waits again. It counts: the copy may be what killed it.
    pub fn lost(&mut self, executor: &ExecutorId) {
        for copy in self.running_on(executor) {
            self.failed(&copy, executor, true);
        }
    }

    /// An original has ended by itself: nothing has to overtake it any more. What restores stays.
    pub fn ended(&mut self, original: &TaskRef) {
        if let Some(work) = self.overtaking(original)
            && !matches!(work.state, State::Done(_))
        {
            work.state = State::Dropped;
        }
    }

    /// A copy that had succeeded came too late to overtake.
    pub fn was_late(&mut self, original: &TaskRef) {
        if let Some(work) = self.overtaking(original) {
            work.state = State::Dropped;
        }
    }

    /// A job is over.
    pub fn forget(&mut self, job_id: &str) {
        self.jobs.remove(job_id);
    }

    fn overtaking(&mut self, original: &TaskRef) -> Option<&mut Work> {
        let work = self.jobs.get_mut(&original.job_id)?.works.get_mut(&key(original))?;
        (work.purpose == Purpose::Overtake).then_some(work)
    }

    fn find_running(&mut self, copy: &TaskRef, executor: &ExecutorId) -> Option<(TaskRef, &mut Work)> {
        let job = self.jobs.get_mut(&copy.job_id)?;
        let original = *job.originals.get(&key(copy))?;
        let work = job.works.get_mut(&original)?;
        let running = work.running()?;
        if running.task != *copy || running.executor != *executor {
            return None;
        }
        Some((task_of(&copy.job_id, original), work))
    }
}

impl Work {
    fn new(purpose: Purpose, avoid: Option<ExecutorId>) -> Self {
        Self { purpose, state: State::Waiting, times: 0, avoid }
    }

    fn running(&self) -> Option<&Output> {
        match &self.state {
            State::Running(output) => Some(output),
            State::Waiting | State::Done(_) | State::Dropped => None,
        }
    }
}

#[cfg(test)]
#[path = "copies_tests.rs"]
mod tests;
