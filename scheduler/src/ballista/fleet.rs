//! Who the executors are: leases, what each last said of itself, and what is to be told to it at its next poll.
//!
//! Knows no graph and calls nobody. Times are milliseconds of one monotonic clock, except where a field says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ballista_core::serde::protobuf::TaskDefinition;
use parking_lot::Mutex;
use selvedge_model::liveness::{LastWord, Leases, Release, release};
use selvedge_model::{ExecutorId, Failure, TaskRef};
use selvedge_proto::internal::v1::{ExecutorInfo, ExecutorLoad};

/// Lost executors shown to operators; older ones are forgotten.
const LOST_KEPT: usize = 50;

/// What the scheduler thinks of an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutorState {
    /// Polls, and takes tasks.
    Active,
    /// Polls, ends what it runs, takes nothing new.
    Draining,
    /// Its lease has run out, or it left.
    Lost,
}

/// An executor as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutorView {
    /// Its id, unique for each process.
    pub id: ExecutorId,
    /// Where its shuffle service listens.
    pub host: String,
    /// The port of that service.
    pub port: u32,
    /// Its pool.
    pub pool: String,
    /// How it stands.
    pub state: ExecutorState,
    /// How many tasks it takes at a time.
    pub vcores: u32,
    /// How many more it would take now.
    pub free_vcores: u32,
    /// Tasks it holds.
    pub running_tasks: u32,
    /// Size of its memory pool.
    pub memory_limit_bytes: u64,
    /// Of which in use.
    pub memory_used_bytes: u64,
    /// Local disk it may use.
    pub disk_limit_bytes: u64,
    /// Of which in use.
    pub disk_used_bytes: u64,
    /// When it started, in milliseconds since the epoch.
    pub started_ms: i64,
    /// Its last poll, in milliseconds since the epoch.
    pub last_seen_ms: i64,
    /// Its version.
    pub version: String,
}

/// What plans need to know of the fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetSize {
    /// Tasks that all living executors together could run.
    pub vcores: u32,
    /// Memory, in bytes, that the executor with the least has for each of its tasks; `None` without executors.
    pub memory_per_vcore: Option<u64>,
}

#[derive(Debug)]
struct Member {
    info: ExecutorInfo,
    load: ExecutorLoad,
    running_tasks: u32,
    drain_asked: bool,
    lost: bool,
    last_seen_epoch_ms: i64,
    /// As `last_seen_epoch_ms`, by our clock.
    seen_ms: u64,
    /// Jobs it has tasks of: as it last said, and those given to it since. A lost one keeps what it had.
    held_jobs: BTreeSet<String>,
    /// Jobs of which it keeps files, and may be copying some.
    kept_jobs: BTreeSet<String>,
    undelivered: Vec<TaskDefinition>,
    told_to_stop: Vec<TaskRef>,
    /// Steps of its polls in progress.
    steps: u32,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Member {
    fn state(&self) -> ExecutorState {
        match (self.lost, self.drain_asked || self.load.draining) {
            (true, _) => ExecutorState::Lost,
            (false, true) => ExecutorState::Draining,
            (false, false) => ExecutorState::Active,
        }
    }
}

#[derive(Debug, Default)]
struct Roll {
    leases: Leases,
    members: BTreeMap<ExecutorId, Member>,
    /// When some executor could last take tasks.
    able_ms: u64,
}

/// All executors, those recently lost included.
#[derive(Debug)]
pub(super) struct Roster {
    born: Instant,
    roll: Mutex<Roll>,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self { born: Instant::now(), roll: Mutex::default() }
    }

    /// The monotonic clock of everything in this folder.
    pub(super) fn now_ms(&self) -> u64 {
        self.born.elapsed().as_millis() as u64
    }

    /// Takes in a poll's word on its sender and renews the lease. Returns whether the executor is new here, or came back.
    pub(super) fn seen(
        &self,
        id: &ExecutorId,
        info: ExecutorInfo,
        load: ExecutorLoad,
        (held, kept_jobs): (&[TaskRef], &[String]),
    ) -> bool {
        let now_ms = self.now_ms();
        let running_tasks = held.len() as u32;
        let mut roll = self.roll.lock();
        let is_new = roll.leases.renew(id, now_ms);
        let member = roll.members.entry(id.clone()).or_insert_with(|| Member {
            info: info.clone(),
            load,
            running_tasks,
            drain_asked: false,
            lost: false,
            last_seen_epoch_ms: 0,
            seen_ms: now_ms,
            held_jobs: BTreeSet::new(),
            kept_jobs: BTreeSet::new(),
            undelivered: Vec::new(),
            told_to_stop: Vec::new(),
            steps: 0,
            turn: Arc::default(),
        });
        if is_new {
            member.undelivered.clear();
        }
        member.info = info;
        member.load = load;
        member.running_tasks = running_tasks;
        member.lost = false;
        member.last_seen_epoch_ms = epoch_ms();
        member.seen_ms = now_ms;
        member.held_jobs = held.iter().map(|task| task.job_id.clone()).collect();
        // Kept for its next poll: they are as good as on it.
        member.held_jobs.extend(member.undelivered.iter().map(|task| task.job_id.clone()));
        member.kept_jobs = kept_jobs.iter().cloned().collect();
        is_new
    }

    /// Polls of one executor take turns, so that none acts on what an overlapping one changes.
    pub(super) fn turn(&self, id: &ExecutorId) -> Arc<tokio::sync::Mutex<()>> {
        self.roll.lock().members.get(id).map(|m| m.turn.clone()).unwrap_or_default()
    }

    /// A lease does not run out while we are the ones who are slow to answer.
    pub(super) fn stepping(self: &Arc<Self>, id: &ExecutorId) -> Stepping {
        if let Some(member) = self.roll.lock().members.get_mut(id) {
            member.steps += 1;
        }
        Stepping { roster: self.clone(), id: id.clone() }
    }

    /// Leases that have run out since the last call.
    pub(super) fn expire(&self, ttl_ms: u64) -> Vec<ExecutorId> {
        let now_ms = self.now_ms();
        let mut roll = self.roll.lock();
        let Roll { leases, members, .. } = &mut *roll;
        for id in members.iter().filter(|(_, m)| m.steps > 0 && !m.lost).map(|(id, _)| id) {
            leases.renew(id, now_ms);
        }
        let dead = roll.leases.expire(now_ms, ttl_ms);
        for id in &dead {
            roll.mark_lost(id);
        }
        roll.forget_old();
        dead
    }

    /// The executor leaves by itself. Returns whether it was here.
    pub(super) fn leave(&self, id: &ExecutorId) -> bool {
        let mut roll = self.roll.lock();
        let was_here = roll.leases.end(id);
        // Gone as it should be: nothing is lost, and nobody has to look for it.
        roll.members.remove(id);
        was_here
    }

    /// Asks an executor to take nothing new and leave when it has ended what it runs.
    pub(super) fn drain(&self, id: &ExecutorId) -> Result<ExecutorView, Failure> {
        let mut roll = self.roll.lock();
        match roll.members.get_mut(id) {
            Some(member) if !member.lost => {
                member.drain_asked = true;
                Ok(view(id, member))
            }
            Some(_) => Err(Failure::user("EXECUTOR_LOST", format!("Executor '{id}' is gone already"))),
            None => Err(Failure::user("EXECUTOR_NOT_FOUND", format!("There is no executor '{id}'"))
                .with_hint("See `selvedge executors list`")),
        }
    }

    pub(super) fn takes_tasks(&self, id: &ExecutorId) -> bool {
        self.roll.lock().members.get(id).is_some_and(|m| m.state() == ExecutorState::Active)
    }

    pub(super) fn drain_asked(&self, id: &ExecutorId) -> bool {
        self.roll.lock().members.get(id).is_some_and(|m| m.drain_asked)
    }

    /// Tasks that an executor runs at a time; 0 for one that is not known.
    pub(super) fn vcores_of(&self, id: &ExecutorId) -> u32 {
        self.roll.lock().members.get(id).map_or(0, |m| m.info.vcores)
    }

    /// Whether an executor, lost or not, was on its way out when it last spoke.
    pub(super) fn was_leaving(&self, id: &ExecutorId) -> bool {
        self.roll.lock().members.get(id).is_none_or(|m| m.drain_asked || m.load.draining)
    }

    /// Where a living executor's shuffle service listens.
    pub(super) fn address(&self, id: &str) -> Option<(String, u16)> {
        let id: ExecutorId = id.parse().ok()?;
        let roll = self.roll.lock();
        let member = roll.members.get(&id).filter(|m| !m.lost)?;
        Some((member.info.host.clone(), u16::try_from(member.info.port).ok()?))
    }

    pub(super) fn views(&self) -> Vec<ExecutorView> {
        self.roll.lock().members.iter().map(|(id, member)| view(id, member)).collect()
    }

    pub(super) fn size(&self) -> FleetSize {
        let roll = self.roll.lock();
        let active = || roll.members.values().filter(|m| m.state() == ExecutorState::Active).map(|m| &m.info);
        FleetSize {
            vcores: active().map(|info| info.vcores).sum(),
            memory_per_vcore: active().map(|info| info.memory_limit_bytes / u64::from(info.vcores.max(1))).min(),
        }
    }

    /// How many executors take tasks.
    pub(super) fn active(&self) -> usize {
        self.roll.lock().members.values().filter(|m| m.state() == ExecutorState::Active).count()
    }

    /// For how long nobody could take tasks; zero while somebody can.
    pub(super) fn unable_ms(&self) -> u64 {
        let now_ms = self.now_ms();
        let mut roll = self.roll.lock();
        if roll.members.values().any(|m| m.state() == ExecutorState::Active) {
            roll.able_ms = now_ms;
        }
        now_ms - roll.able_ms
    }

    /// Why nobody takes tasks, while nobody does.
    pub(super) fn absence(&self) -> &'static str {
        let roll = self.roll.lock();
        if roll.members.values().any(|m| !m.lost) { "all are draining" } else { "none registered" }
    }

    /// Notes what an executor is told to stop now. Returns whether any of it is new: ending a task takes time, and an
    /// executor told the same at every poll at once would do nothing but poll.
    pub(super) fn tells_to_stop(&self, id: &ExecutorId, tasks: &[TaskRef]) -> bool {
        let mut roll = self.roll.lock();
        let Some(member) = roll.members.get_mut(id) else { return false };
        let is_news = tasks.iter().any(|task| !member.told_to_stop.contains(task));
        tasks.clone_into(&mut member.told_to_stop);
        is_news
    }

    /// Notes what an executor is about to be given.
    pub(super) fn gives(&self, id: &ExecutorId, tasks: &[TaskDefinition]) {
        if let Some(member) = self.roll.lock().members.get_mut(id) {
            member.held_jobs.extend(tasks.iter().map(|task| task.job_id.clone()));
        }
    }

    /// Whether tasks of a job that ended at `ended` may still run.
    pub(super) fn release(&self, job_id: &str, ended: Instant, grace_ms: u64) -> Release {
        self.release_of(ended, grace_ms, |member| member.held_jobs.contains(job_id))
    }

    /// Whether something of a job that ended at `ended` may still be written to the shuffle location.
    pub(super) fn release_shuffle(&self, job_id: &str, ended: Instant, grace_ms: u64) -> Release {
        self.release_of(ended, grace_ms, |member| {
            member.held_jobs.contains(job_id) || member.kept_jobs.contains(job_id)
        })
    }

    fn release_of(&self, ended: Instant, grace_ms: u64, holds: impl Fn(&Member) -> bool) -> Release {
        let ended_ms = ended.saturating_duration_since(self.born).as_millis() as u64;
        let roll = self.roll.lock();
        let word = |member: &Member| LastWord { seen_ms: member.seen_ms, holds: holds(member), is_lost: member.lost };
        release(roll.members.values().map(word), ended_ms, grace_ms)
    }

    /// Keeps tasks for the executor's next poll: this one was dropped before it was answered, or its reply is full.
    pub(super) fn keep_undelivered(&self, id: &ExecutorId, tasks: Vec<TaskDefinition>) {
        if let Some(member) = self.roll.lock().members.get_mut(id).filter(|m| !m.lost) {
            member.undelivered.extend(tasks);
        }
    }

    pub(super) fn take_undelivered(&self, id: &ExecutorId) -> Vec<TaskDefinition> {
        self.roll.lock().members.get_mut(id).map(|m| std::mem::take(&mut m.undelivered)).unwrap_or_default()
    }
}

/// See [`Roster::stepping`].
pub(super) struct Stepping {
    roster: Arc<Roster>,
    id: ExecutorId,
}

impl Drop for Stepping {
    fn drop(&mut self) {
        let now_ms = self.roster.now_ms();
        let mut roll = self.roster.roll.lock();
        let Roll { leases, members, .. } = &mut *roll;
        if let Some(member) = members.get_mut(&self.id) {
            member.steps = member.steps.saturating_sub(1);
            if !member.lost {
                leases.renew(&self.id, now_ms);
            }
        }
    }
}

impl Roll {
    fn mark_lost(&mut self, id: &ExecutorId) {
        if let Some(member) = self.members.get_mut(id) {
            member.lost = true;
            member.running_tasks = 0;
            member.load.free_vcores = 0;
            member.undelivered.clear();
        }
    }

    fn forget_old(&mut self) {
        let mut lost: Vec<_> =
            self.members.iter().filter(|(_, m)| m.lost).map(|(id, m)| (m.last_seen_epoch_ms, id.clone())).collect();
        lost.sort_by(|a, b| b.cmp(a));
        for (_, id) in lost.into_iter().skip(LOST_KEPT) {
            self.members.remove(&id);
        }
    }
}

fn view(id: &ExecutorId, member: &Member) -> ExecutorView {
    ExecutorView {
        id: id.clone(),
        host: member.info.host.clone(),
        port: member.info.port,
        pool: member.info.pool.clone(),
        state: member.state(),
        vcores: member.info.vcores,
        free_vcores: member.load.free_vcores,
        running_tasks: member.running_tasks,
        memory_limit_bytes: member.info.memory_limit_bytes,
        memory_used_bytes: member.load.memory_used_bytes,
        disk_limit_bytes: member.info.disk_limit_bytes,
        disk_used_bytes: member.load.disk_used_bytes,
        started_ms: member.info.started_ms,
        last_seen_ms: member.last_seen_epoch_ms,
        version: member.info.version.clone(),
    }
}

/// Milliseconds since the epoch.
pub(super) fn epoch_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
