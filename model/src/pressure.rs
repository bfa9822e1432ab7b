//! What follows when work runs out of memory: first more room for the task, then smaller tasks, then the end.
//!
//! Tasks of an executor share its memory. A task that takes twice the vcores has half as many beside it, and so about twice
//! the memory. When it had the executor to itself, only smaller tasks help: the statement's next attempt has twice the
//! partitions, and joins that spill. How many attempts there are says `run::after_failure`.

use std::collections::HashMap;

/// More partitions than this are not planned.
const MAX_PARTITIONS: usize = 100_000;

/// What follows when a task ran out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterExhaustion {
    /// Run it again, with half as many tasks beside it.
    Widen,
    /// It had its executor to itself: the statement is to be planned again.
    Replan,
}

/// Vcores for a task that asks for `asked`, whose work ran out of memory `times` before, on an executor with `all`.
pub fn vcores(asked: u32, times: u32, all: u32) -> u32 {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    asked.max(1).saturating_mul(factor).min(all.max(1)).max(asked)
}

/// Decides after a task ran out of memory that had run out of it `before` times, on an executor with `all` vcores.
pub fn after_exhaustion(before: u32, all: u32) -> AfterExhaustion {
    if vcores(1, before, all) >= all { AfterExhaustion::Replan } else { AfterExhaustion::Widen }
}

/// Partitions to plan with when `attempts` of the statement ran out of memory.
pub fn partitions(planned: usize, attempts: u32) -> usize {
    let factor = 1_usize.checked_shl(attempts).unwrap_or(usize::MAX);
    planned.saturating_mul(factor).min(MAX_PARTITIONS.max(planned))
}

/// Counts how often each part of a job ran out of memory. Task ids are new with each try, so what counts is the part of the
/// work: job, stage and input partition.
#[derive(Debug, Default)]
pub struct Exhaustions {
    times: HashMap<String, HashMap<(u32, u32), u32>>,
}

impl Exhaustions {
    /// Counts a task of these partitions. Returns how often one of them had run out before.
    pub fn count(&mut self, job_id: &str, stage_id: u32, partitions: &[u32]) -> u32 {
        let before = self.times(job_id, stage_id, partitions);
        let job = self.times.entry(job_id.to_owned()).or_default();
        for partition in partitions {
            *job.entry((stage_id, *partition)).or_default() += 1;
        }
        before
    }

    /// How often one of these partitions ran out of memory.
    pub fn times(&self, job_id: &str, stage_id: u32, partitions: &[u32]) -> u32 {
        let Some(job) = self.times.get(job_id) else { return 0 };
        partitions.iter().filter_map(|partition| job.get(&(stage_id, *partition))).copied().max().unwrap_or(0)
    }

    /// Whether anything of the job ever did.
    pub fn concerns(&self, job_id: &str) -> bool {
        self.times.contains_key(job_id)
    }

    /// Forgets a job that has ended.
    pub fn forget(&mut self, job_id: &str) {
        self.times.remove(job_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_takes_twice_the_vcores_each_time_up_to_all_there_are() {
        for (asked, times, all, expected) in [
            (1, 0, 4, 1),
            (1, 1, 4, 2),
            (1, 2, 4, 4),
            (1, 3, 4, 4),
            (1, 1, 1, 1),
            (1, 1, 3, 2),
            (1, 2, 3, 3),
            (2, 1, 8, 4),
            (0, 1, 8, 2),
            (1, 99, 16, 16),
            // What the engine asks for is its own affair: the executor clamps it.
            (6, 0, 4, 6),
            (1, 1, 0, 1),
        ] {
            assert_eq!(vcores(asked, times, all), expected, "{asked} {times} {all}");
        }
    }

    #[test]
    fn a_statement_is_planned_again_when_more_room_is_not_to_be_had() {
        use AfterExhaustion::{Replan, Widen};
        for (before, all, expected) in [
            (0, 1, Replan),
            (0, 2, Widen),
            (1, 2, Replan),
            (0, 8, Widen),
            (2, 8, Widen),
            (3, 8, Replan),
            (1, 3, Widen),
            (2, 3, Replan),
            (0, 0, Replan),
        ] {
            assert_eq!(after_exhaustion(before, all), expected, "{before} on {all}");
        }
    }

    #[test]
    fn each_attempt_has_twice_the_partitions() {
        let got = [(8, 0), (8, 1), (8, 2), (60_000, 1), (200_000, 1), (1, 99)].map(|(n, times)| partitions(n, times));
        assert_eq!(got, [8, 16, 32, 100_000, 200_000, 100_000]);
    }

    #[test]
    fn work_is_counted_whichever_task_does_it() {
        let mut counts = Exhaustions::default();
        assert_eq!(counts.count("j", 1, &[0]), 0);
        assert_eq!(counts.count("j", 1, &[0, 1]), 1);
        assert_eq!((counts.times("j", 1, &[1, 2]), counts.times("j", 2, &[0])), (1, 0));
        assert!(counts.concerns("j") && !counts.concerns("k"));
        counts.forget("j");
        assert_eq!(counts.times("j", 1, &[0]), 0);
    }
}
