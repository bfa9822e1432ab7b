//! What the fleet says about a plan when the script does not: how many tasks a stage gets, how much of a join one task may
//! keep in memory. These defaults stay out of the run's own settings. Pure.

use selvedge_engine::session::Settings;
use selvedge_model::{Failure, pressure};

use crate::ballista::FleetSize;

const TARGET_PARTITIONS: &str = "selvedge.planner.target_partitions";
const HASH_JOIN_BUILD_BYTES: &str = "selvedge.planner.hash_join_build_bytes";
const TASKS_PER_VCORE: usize = 2;
const MIN_TASKS: usize = 4;
/// A task may hold the build sides of several joins, and needs room for the rest of its work.
const SHARE_OF_TASK_MEMORY: u64 = 4;

/// Settings that follow the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Defaults {
    partitions: usize,
    hash_join_build_bytes: Option<u64>,
    /// Attempts of the statement that ran out of memory.
    exhausted: u32,
}

impl Defaults {
    /// `configured` partitions, or twice the live vcores, at least 4; twice as many, and no join that cannot spill, for each of
    /// the attempts of a statement that ran out of memory.
    pub(super) fn new(configured: usize, fleet: FleetSize, exhausted: u32) -> Self {
        let partitions = match configured {
            0 => (usize::try_from(fleet.vcores).unwrap_or(0) * TASKS_PER_VCORE).max(MIN_TASKS),
            configured => configured,
        };
        let hash_join_build_bytes = fleet.memory_per_vcore.map(|bytes| bytes / SHARE_OF_TASK_MEMORY);
        Self { partitions, hash_join_build_bytes, exhausted }
    }

    fn entries(self, run: &Settings) -> Vec<(&'static str, String)> {
        let mut entries = Vec::new();
        let partitions = match run.target_partitions() {
            // As with joins: what was set was too few.
            set if self.exhausted > 0 => Some(pressure::partitions(set.unwrap_or(self.partitions), self.exhausted)),
            None => Some(self.partitions),
            Some(_) => None,
        };
        entries.extend(partitions.map(|partitions| (TARGET_PARTITIONS, partitions.to_string())));
        let build_bytes = match run.hash_join_build_bytes() {
            // What was set has run out of memory, too.
            _ if self.exhausted > 0 => Some(0),
            None => self.hash_join_build_bytes,
            Some(_) => None,
        };
        entries.extend(build_bytes.map(|bytes| (HASH_JOIN_BUILD_BYTES, bytes.to_string())));
        entries
    }

    /// The run's settings with the defaults filled in.
    pub(super) fn fill(self, run: &Settings) -> Result<Settings, Failure> {
        let mut settings = run.clone();
        for (key, value) in self.entries(run) {
            settings.set(key, &value)?;
        }
        Ok(settings)
    }

    /// Takes over what planning changed, except the defaults: they are found anew for each attempt.
    pub(super) fn carry_back(self, run: &mut Settings, planned: &Settings) -> Result<(), Failure> {
        let defaults = self.entries(run);
        for (key, value) in planned.entries() {
            let is_default = defaults.iter().any(|(k, v)| k == key && v == value);
            if !is_default && run.entries().get(key) != Some(value) {
                run.set(key, value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: FleetSize = FleetSize { vcores: 8, memory_per_vcore: Some(4 << 30) };

    #[test]
    fn tasks_and_their_memory_follow_the_fleet_unless_configured() {
        let filled = |configured, fleet, exhausted| {
            let settings = Defaults::new(configured, fleet, exhausted).fill(&Settings::new()).unwrap();
            (settings.target_partitions().unwrap(), settings.hash_join_build_bytes())
        };
        assert_eq!(filled(0, FleetSize::default(), 0), (4, None));
        assert_eq!(filled(0, FLEET, 0), (16, Some(1 << 30)));
        assert_eq!(filled(6, FLEET, 1), (12, Some(0)));
    }

    #[test]
    fn defaults_are_found_anew_but_what_was_set_stays() {
        let mut run = Settings::new();
        let defaults = Defaults::new(8, FLEET, 0);
        let mut planned = defaults.fill(&run).unwrap();
        planned.set("selvedge.write.target_file_bytes", "1MiB").unwrap();
        defaults.carry_back(&mut run, &planned).unwrap();
        assert_eq!((run.target_partitions(), run.hash_join_build_bytes()), (None, None));
        assert_eq!(run.target_file_bytes(), 1 << 20);
        planned.set(TARGET_PARTITIONS, "3").unwrap();
        planned.set(HASH_JOIN_BUILD_BYTES, "5").unwrap();
        defaults.carry_back(&mut run, &planned).unwrap();
        let again = Defaults::new(16, FLEET, 0).fill(&run).unwrap();
        assert_eq!((again.target_partitions(), again.hash_join_build_bytes()), (Some(3), Some(5)));
    }

    #[test]
    fn out_of_memory_overrules_what_was_set_for_that_attempt_alone() {
        let mut run = Settings::new();
        run.set(HASH_JOIN_BUILD_BYTES, "5").unwrap();
        for (set, attempts, expected) in [(None, 1, 32), (None, 2, 64), (Some("3"), 1, 6), (Some("3"), 2, 12)] {
            if let Some(set) = set {
                run.set(TARGET_PARTITIONS, set).unwrap();
            }
            let before = run.target_partitions();
            let defaults = Defaults::new(0, FLEET, attempts);
            let planned = defaults.fill(&run).unwrap();
            assert_eq!((planned.hash_join_build_bytes(), planned.target_partitions()), (Some(0), Some(expected)));
            defaults.carry_back(&mut run, &planned).unwrap();
            assert_eq!((run.hash_join_build_bytes(), run.target_partitions()), (Some(5), before));
        }
    }
}
