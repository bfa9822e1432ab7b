//! What happens in one run of the suite, drawn from a seed: statements, a cluster, and what befalls it when. Nothing here does
//! anything, so that a seed is a schedule for ever; `run.rs` carries it out.

use std::collections::BTreeSet;
use std::fmt;

use selvedge_tests::microburst::Fault;

use super::workload::Work;

/// SplitMix64: a few lines, and the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `from` to `to`, both possible.
    fn number(&mut self, from: usize, to: usize) -> usize {
        from + (self.next() % (to - from + 1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.number(1, n) == 1
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.number(0, from.len() - 1)]
    }
}

/// Where a job's shuffle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On local disks, and in object storage before a task counts as done.
    Eager,
    /// On local disks, and in object storage later.
    Lazy,
    /// On local disks only.
    Local,
}

impl Durability {
    /// The statement that asks for it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Eager => "SET selvedge.shuffle.durability = 'eager';\n",
            Self::Lazy => "SET selvedge.shuffle.durability = 'lazy';\n",
            Self::Local => "",
        }
    }
}

/// Which requests to object storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    Source,
    Shuffle,
    Lake,
    All,
}

/// When something happens, counted from the event before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// So many more tasks are done, or, when nothing moves, some seconds have passed.
    Tasks(u32),
    Millis(u64),
}

/// What happens. Executors are those of the start, by position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    Kill { executor: usize, replace: bool },
    Stop { executor: usize, seconds: u64 },
    Terminate { executor: usize },
    Drain { executor: usize },
    Partition { executor: usize, seconds: u64 },
    FillDisk { executor: usize, seconds: u64 },
    Add,
    Storage { fault: Fault, bucket: Bucket, percent: u32, seconds: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    pub after: After,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub seed: u64,
    /// Statements, submitted at once, each on its own.
    pub works: Vec<Work>,
    pub executors: usize,
    pub vcores: usize,
    pub durability: Durability,
    /// Seconds that an executor's wall clock is off.
    pub skewed: Option<(usize, i64)>,
    pub events: Vec<Event>,
}

impl Schedule {
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        // Neighbouring seeds begin far apart.
        dice.next();
        let mut works = vec![dice.pick(&Work::ALL)];
        if dice.one_in(2) {
            works.push(dice.pick(&Work::ALL));
        }
        let executors = dice.number(2, 4);
        let vcores = dice.number(1, 2);
        let durability = dice.pick(&[Durability::Local, Durability::Eager, Durability::Lazy, Durability::Lazy]);
        let skewed = dice.one_in(6).then(|| (dice.number(0, executors - 1), dice.pick(&[-600, -45, 45, 600])));
        let events = (0..dice.number(1, 4)).map(|_| event(&mut dice, executors)).collect();
        Self { seed, works, executors, vcores, durability, skewed, events }
    }

    /// Executors of the start that are told to go, and that nothing takes the place of.
    fn gone(&self) -> usize {
        let leaves = |event: &Event| match event.action {
            Action::Kill { executor, replace: false } | Action::Terminate { executor } | Action::Drain { executor } => {
                Some(executor)
            }
            _ => None,
        };
        self.events.iter().filter_map(leaves).collect::<BTreeSet<_>>().len()
    }

    /// How many take tasks once everything has happened.
    fn left(&self) -> usize {
        let added = self.events.iter().filter(|e| e.action == Action::Add).count();
        self.executors - self.gone() + added
    }

    /// How often a statement may have to begin again because shuffle was lost with the only disk it was on.
    fn losses(&self) -> usize {
        let loses = |event: &&Event| {
            matches!(event.action, Action::Kill { .. } | Action::Stop { .. } | Action::Partition { .. })
        };
        match self.durability {
            Durability::Eager | Durability::Lazy => 0,
            Durability::Local => self.events.iter().filter(loses).count(),
        }
    }

    /// The codes of failures that this schedule excuses; with none, every statement has to succeed.
    pub fn may_fail(&self) -> Vec<&'static str> {
        let mut codes = Vec::new();
        if self.left() == 0 {
            codes.push("NO_EXECUTORS");
        }
        // A statement is tried three times in all.
        if self.losses() >= 3 {
            codes.push("SHUFFLE_LOST");
        }
        codes
    }

    /// Executors whose disk fills up need one that can.
    pub fn has_small_disk(&self, executor: usize) -> bool {
        self.events.iter().any(|e| matches!(e.action, Action::FillDisk { executor: e, .. } if e == executor))
    }
}

fn event(dice: &mut Dice, executors: usize) -> Event {
    let after = match dice.one_in(2) {
        true => After::Tasks(u32::try_from(dice.number(0, 6)).unwrap_or_default()),
        false => After::Millis(dice.number(0, 500) as u64),
    };
    let executor = dice.number(0, executors - 1);
    let action = match dice.number(0, 11) {
        0 | 1 => Action::Kill { executor, replace: dice.one_in(2) },
        2 => Action::Stop { executor, seconds: dice.number(1, 6) as u64 },
        3 => Action::Terminate { executor },
        4 => Action::Drain { executor },
        5 | 6 => Action::Partition { executor, seconds: dice.number(1, 6) as u64 },
        7 => Action::FillDisk { executor, seconds: dice.number(1, 4) as u64 },
        8 => Action::Add,
        _ => storage(dice),
    };
    Event { after, action }
}

fn storage(dice: &mut Dice) -> Action {
    let fault = dice.pick(&Fault::ALL);
    let seconds = dice.number(1, 4) as u64;
    // What answers, but wrongly, is noticed where there are checksums: in the shuffle.
    if fault == Fault::Corrupt {
        return Action::Storage { fault, bucket: Bucket::Shuffle, percent: dice.pick(&[1, 5, 20]), seconds };
    }
    let bucket = dice.pick(&[Bucket::Source, Bucket::Shuffle, Bucket::Lake, Bucket::All]);
    let most = if matches!(fault, Fault::SlowDown | Fault::Latency) { 100 } else { 30 };
    Action::Storage { fault, bucket, percent: dice.pick(&[1, 10, most]), seconds }
}

impl Action {
    /// Its name, for counting.
    pub fn kind(self) -> String {
        match self {
            Self::Storage { fault, .. } => format!("storage {fault:?}"),
            other => format!("{other:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} on {}x{} vcores, {:?}", self.works, self.executors, self.vcores, self.durability)?;
        if let Some((executor, seconds)) = self.skewed {
            write!(f, ", clock of {executor} {seconds:+} s")?;
        }
        for Event { after, action } in &self.events {
            write!(f, "; {after:?}: {action:?}")?;
        }
        Ok(())
    }
}

mod tests {
    use super::*;

    fn kinds(seeds: u64) -> BTreeSet<String> {
        (0..seeds).flat_map(|seed| Schedule::of(seed).events).map(|e| e.action.kind()).collect()
    }

    #[test]
    fn chaos_a_seed_is_a_schedule() {
        for seed in 0..500 {
            let schedule = Schedule::of(seed);
            assert_eq!(schedule, Schedule::of(seed));
            assert!(schedule.gone() <= schedule.executors && !schedule.events.is_empty());
        }
        assert_ne!(Schedule::of(1).to_string(), Schedule::of(2).to_string());
    }

    #[test]
    fn chaos_has_everything_in_it() {
        let plain = ["Kill", "Stop", "Terminate", "Drain", "Partition", "FillDisk", "Add"];
        let few = kinds(20);
        assert!(plain.iter().all(|kind| few.contains(*kind)), "{few:?}");
        assert!(few.iter().any(|kind| kind.starts_with("storage")), "{few:?}");
        let all = kinds(200);
        assert_eq!(all.len(), plain.len() + Fault::ALL.len(), "{all:?}");
        let schedules: Vec<Schedule> = (0..200).map(Schedule::of).collect();
        assert!(Work::ALL.iter().all(|work| schedules.iter().take(20).any(|s| s.works.contains(work))));
        assert!(schedules.iter().take(20).any(|s| s.skewed.is_some()));
        assert!(schedules.iter().any(|s| s.may_fail().contains(&"NO_EXECUTORS")));
        let excused = schedules.iter().filter(|s| !s.may_fail().is_empty()).count();
        assert!(excused < 20, "{excused} of 200 may fail: they would prove little");
    }
}
