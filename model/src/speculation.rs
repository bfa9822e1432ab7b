//! Which running tasks are so much slower than their peers that running them once more is likely to be done sooner.
//!
//! Spark's rule and its first numbers (`spark.speculation.quantile` 0.75, `multiplier` 1.5), made more careful for short
//! tasks: what would be gained is seconds, what is paid is a second run.

use crate::id::TaskRef;

/// The part of a stage's tasks that must be done, in hundredths: before that there is nothing to compare with.
const DONE_PERCENT: usize = 75;
/// How many times the median a task must have run, in tenths.
const SLOW_TENTHS: u64 = 15;
/// And how much longer than the median, in milliseconds.
const LEAST_GAIN_MS: u64 = 10_000;

/// A task that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningTask {
    /// Which.
    pub task: TaskRef,
    /// Who runs it.
    pub executor: String,
    /// For how long.
    pub ran_ms: u64,
}

/// Of a stage's running tasks, those to overtake. `done_ms` are the times of those that are done; tasks that have not
/// begun mean that there is better work to do.
pub fn slow<'a>(done_ms: &[u64], running: &'a [RunningTask], waiting: usize) -> Vec<&'a RunningTask> {
    let all = done_ms.len() + running.len();
    if waiting > 0 || done_ms.is_empty() || done_ms.len() * 100 < all * DONE_PERCENT {
        return Vec::new();
    }
    let mut sorted = done_ms.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let limit = (median * SLOW_TENTHS / 10).max(median + LEAST_GAIN_MS);
    running.iter().filter(|running| running.ran_ms > limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_far_behind_when_most_are_done_is_overtaken() {
        let task = |task_id| TaskRef { job_id: "j".into(), stage_id: 1, stage_attempt: 0, task_id };
        let running = |times: &[u64]| -> Vec<RunningTask> {
            times
                .iter()
                .enumerate()
                .map(|(i, ms)| RunningTask { task: task(i as u32), executor: "e".into(), ran_ms: *ms })
                .collect()
        };
        for (done, ran, waiting, expected) in [
            (vec![1000; 9], vec![12_000], 0, vec![0]),
            (vec![1000; 9], vec![11_000], 0, vec![]),
            (vec![1000; 9], vec![90_000], 1, vec![]),
            (vec![60_000; 9], vec![80_000, 90_001], 0, vec![1]),
            (vec![1000; 2], vec![90_000, 90_000], 0, vec![]),
            (vec![1000; 3], vec![90_000], 0, vec![0]),
            (vec![], vec![90_000], 0, vec![]),
            (vec![1, 1, 1, 1, 900_000], vec![20_000], 0, vec![0]),
        ] {
            let running = running(&ran);
            let got: Vec<u32> = slow(&done, &running, waiting).iter().map(|slow| slow.task.task_id).collect();
            assert_eq!(got, expected, "{done:?} {ran:?} {waiting}");
        }
    }
}
