//! What the fleet says about a plan when the script does not: how many tasks a stage gets, how much of a join one task may
//! keep in memory. These defaults stay out of the run's own settings. Pure.

use selvedge_engine::session::Settings;
use selvedge_model::Failure;

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
    spill: bool,
}

impl Defaults {
    /// `configured` partitions, or twice the live vcores, at least 4. `spill` is for a statement that ran out of memory.
    pub(super) fn new(configured: usize, fleet: FleetSize, spill: bool) -> Self {
        let partitions = match configured {
            0 => (usize::try_from(fleet.vcores).unwrap_or(0) * TASKS_PER_VCORE).max(MIN_TASKS),
            configured => configured,
        };
        let hash_join_build_bytes = fleet.memory_per_vcore.map(|bytes| bytes / SHARE_OF_TASK_MEMORY);
        Self { partitions, hash_join_build_bytes, spill }
    }

    fn entries(self, run: &Settings) -> Vec<(&'static str, String)> {
        let mut entries = Vec::new();
        if run.target_partitions().is_none() {
            entries.push((TARGET_PARTITIONS, self.partitions.to_string()));
        }
        let build_bytes = match run.hash_join_build_bytes() {
            // What was set has run out of memory, too.
            _ if self.spill => Some(0),
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
        let filled = |configured, fleet, spill| {
            let settings = Defaults::new(configured, fleet, spill).fill(&Settings::new()).unwrap();
            (settings.target_partitions().unwrap(), settings.hash_join_build_bytes())
        };
        assert_eq!(filled(0, FleetSize::default(), false), (4, None));
        assert_eq!(filled(0, FLEET, false), (16, Some(1 << 30)));
        assert_eq!(filled(6, FLEET, true), (6, Some(0)));
    }

    #[test]
    fn defaults_are_found_anew_but_what_was_set_stays() {
        let mut run = Settings::new();
        let defaults = Defaults::new(8, FLEET, false);
        let mut planned = defaults.fill(&run).unwrap();
        planned.set("selvedge.write.target_file_bytes", "1MiB").unwrap();
        defaults.carry_back(&mut run, &planned).unwrap();
        assert_eq!((run.target_partitions(), run.hash_join_build_bytes()), (None, None));
        assert_eq!(run.target_file_bytes(), 1 << 20);
        planned.set(TARGET_PARTITIONS, "3").unwrap();
        planned.set(HASH_JOIN_BUILD_BYTES, "5").unwrap();
        defaults.carry_back(&mut run, &planned).unwrap();
        let again = Defaults::new(16, FLEET, false).fill(&run).unwrap();
        assert_eq!((again.target_partitions(), again.hash_join_build_bytes()), (Some(3), Some(5)));
    }

    #[test]
    fn out_of_memory_overrules_what_was_set_for_that_attempt_alone() {
        let mut run = Settings::new();
        run.set(HASH_JOIN_BUILD_BYTES, "5").unwrap();
        let defaults = Defaults::new(0, FLEET, true);
        let planned = defaults.fill(&run).unwrap();
        assert_eq!(planned.hash_join_build_bytes(), Some(0));
        defaults.carry_back(&mut run, &planned).unwrap();
        assert_eq!(run.hash_join_build_bytes(), Some(5));
    }
}
