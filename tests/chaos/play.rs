//! Lets a schedule's events happen to a cluster, one after another, and ends those that last a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use selvedge_tests::cluster::{Cluster, ClusterOptions, ExecutorOptions};
use selvedge_tests::fleet::Fleet;
use selvedge_tests::microburst::Fault;
use selvedge_tests::process::Signal;
use selvedge_tests::{Outcome, skewed_clock};
use serde_json::Value;

use super::disk::SmallDisk;
use super::schedule::{Action, After, Bucket, Durability, Event, Schedule};
use super::stage::{LAKE, PROXY, SHUFFLE, SOURCE};
use crate::stage::{S3, unique};

/// When tasks are waited for and none is done.
const PATIENCE: Duration = Duration::from_secs(3);

/// What ends later.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    Thaw(usize),
    Join(usize),
    FreeDisk(usize),
    Healthy(usize),
}

/// A cluster, and what has befallen it.
pub struct Play {
    // Before the disks, which its executors work on.
    pub cluster: Cluster,
    disks: BTreeMap<usize, SmallDisk>,
    fleet: Fleet,
    events: Vec<Event>,
    endings: Vec<(Instant, Ending)>,
    rules: BTreeMap<usize, Value>,
    /// Executors that were told to go.
    gone: BTreeSet<usize>,
    runs: BTreeSet<String>,
    next: usize,
    since: (Instant, u32),
    pub shuffle: String,
}

impl Play {
    /// Starts a schedule's cluster. Its storage is behind the proxy.
    pub fn start(schedule: &Schedule) -> Outcome<Self> {
        PROXY.set_rules(&[])?;
        let shuffle = unique("run");
        let options = ClusterOptions {
            executors: 0,
            vcores: schedule.vcores,
            s3: Some(PROXY.access(&S3.access())),
            shuffle: (schedule.durability != Durability::Local).then(|| format!("s3://{SHUFFLE}/{shuffle}")),
            warehouse: Some(format!("s3://{LAKE}/{}", unique("warehouse"))),
            faulty_network: true,
            envs: [("LEASE", "3s"), ("NO_EXECUTORS_TIMEOUT", "20s"), ("DRAIN_GRACE", "30s")]
                .map(|(key, value)| (format!("SELVEDGE_{key}"), value.to_owned()))
                .to_vec(),
            ..ClusterOptions::default()
        };
        let mut cluster = Cluster::start(options)?;
        let mut disks = BTreeMap::new();
        for executor in 0..schedule.executors {
            let mut own = ExecutorOptions::default();
            if let Some((_, seconds)) = schedule.skewed.filter(|(skewed, _)| *skewed == executor) {
                own.envs = skewed_clock::envs(seconds, cluster.dir())?;
            }
            if schedule.has_small_disk(executor) {
                let disk = SmallDisk::new()?;
                own.work_dir = Some(disk.path().to_owned());
                own.envs.extend(disk.envs());
                disks.insert(executor, disk);
            }
            cluster.add_executor_with(own)?;
        }
        cluster.wait_executors(schedule.executors)?;
        Ok(Self {
            fleet: cluster.fleet()?,
            cluster,
            disks,
            events: schedule.events.clone(),
            endings: Vec::new(),
            rules: BTreeMap::new(),
            gone: BTreeSet::new(),
            runs: BTreeSet::new(),
            next: 0,
            since: (Instant::now(), 0),
            shuffle,
        })
    }

    /// From now on time counts.
    pub fn begin(&mut self) {
        self.since = (Instant::now(), 0);
    }

    /// Lets happen what is due.
    pub fn turn(&mut self) -> Outcome<()> {
        let now = Instant::now();
        let (due, later): (Vec<_>, Vec<_>) = self.endings.drain(..).partition(|(at, _)| *at <= now);
        self.endings = later;
        for (_, ending) in due {
            self.end(ending)?;
        }
        let Some(event) = self.events.get(self.next).copied() else { return Ok(()) };
        let (since, before) = self.since;
        let tasks = self.tasks_done();
        let is_due = match event.after {
            After::Millis(ms) => since.elapsed() >= Duration::from_millis(ms),
            After::Tasks(n) => tasks >= before + n || since.elapsed() >= PATIENCE,
        };
        if is_due {
            self.act(event.action)?;
            self.next += 1;
            self.since = (Instant::now(), tasks);
        }
        Ok(())
    }

    /// Ends all that lasts, and says how many events there were.
    pub fn finish(&mut self) -> Outcome<usize> {
        for (_, ending) in std::mem::take(&mut self.endings) {
            self.end(ending)?;
        }
        Ok(self.next)
    }

    /// Positions of the executors that are to be there still.
    pub fn staying(&self) -> Vec<usize> {
        (0..self.cluster.executor_count()).filter(|position| !self.gone.contains(position)).collect()
    }

    /// Tasks done of all runs so far; one that is asked for at a bad moment counts later.
    fn tasks_done(&mut self) -> u32 {
        self.runs.extend(self.fleet.open_runs().unwrap_or_default());
        let runs = self.runs.iter().filter_map(|run| self.fleet.run(run).ok());
        runs.flat_map(|run| run.statements).flat_map(|s| s.stages).map(|stage| stage.tasks_done).sum()
    }

    fn act(&mut self, action: Action) -> Outcome<()> {
        match action {
            Action::Kill { executor, replace } => {
                self.cluster.kill_executor(executor)?;
                self.gone.insert(executor);
                if replace {
                    self.cluster.add_executor()?;
                }
            }
            Action::Stop { executor, seconds } => {
                self.cluster.signal(executor, Signal::Stop)?;
                self.later(seconds, Ending::Thaw(executor));
            }
            Action::Terminate { executor } => {
                self.cluster.signal(executor, Signal::Terminate)?;
                self.gone.insert(executor);
            }
            Action::Drain { executor } => {
                let id = self.cluster.executor(executor)?.id.clone();
                // Refused while the scheduler does not know it: it is gone already, or cut off, and will stay then.
                if self.cluster.cli()?.run(&["executors", "drain", &id])?.code == 0 {
                    self.gone.insert(executor);
                }
            }
            Action::Partition { executor, seconds } => {
                let id = self.cluster.executor(executor)?.id.clone();
                self.cluster.proxy()?.cut_off(&id);
                self.later(seconds, Ending::Join(executor));
            }
            Action::FillDisk { executor, seconds } => {
                self.disks.get(&executor).map_or(Ok(()), SmallDisk::fill)?;
                self.later(seconds, Ending::FreeDisk(executor));
            }
            Action::Add => drop(self.cluster.add_executor()?),
            Action::Storage { fault, bucket, percent, seconds } => {
                self.rules.insert(self.next, rule(fault, bucket, percent));
                self.apply_rules()?;
                self.later(seconds, Ending::Healthy(self.next));
            }
        }
        Ok(())
    }

    fn later(&mut self, seconds: u64, ending: Ending) {
        // What is done to one executor twice lasts until the second end.
        self.endings.retain(|(_, other)| *other != ending);
        self.endings.push((Instant::now() + Duration::from_secs(seconds), ending));
    }

    fn end(&mut self, ending: Ending) -> Outcome<()> {
        match ending {
            Ending::Thaw(executor) => self.cluster.signal(executor, Signal::Continue),
            Ending::Join(executor) => {
                let id = self.cluster.executor(executor)?.id.clone();
                self.cluster.proxy()?.join_again(&id);
                Ok(())
            }
            Ending::FreeDisk(executor) => self.disks.get(&executor).map_or(Ok(()), SmallDisk::free),
            Ending::Healthy(event) => {
                self.rules.remove(&event);
                self.apply_rules()
            }
        }
    }

    fn apply_rules(&self) -> Outcome<()> {
        PROXY.set_rules(&self.rules.values().cloned().collect::<Vec<_>>())
    }
}

fn rule(fault: Fault, bucket: Bucket, percent: u32) -> Value {
    let bucket = match bucket {
        Bucket::Source => SOURCE,
        Bucket::Shuffle => SHUFFLE,
        Bucket::Lake => LAKE,
        Bucket::All => "chaos-",
    };
    fault.rule(f64::from(percent) / 100.0, bucket)
}
