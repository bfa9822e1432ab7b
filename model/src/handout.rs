//! What goes into a reply to an executor, what becomes of tasks that never arrive, and which shuffle may go.
//!
//! The facade in `scheduler/src/ballista` feeds these with facts and carries out what they decide.

use std::collections::{BTreeSet, HashMap};

/// Times that the same part of a stage may be handed out in vain before its job fails.
pub const MAX_RESETS: u32 = 4;

/// What follows when a task that was handed out never reached its executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterReset {
    /// Hand it out again.
    Again,
    /// It has been in vain too often: the job fails.
    Fail {
        /// The partition that did not get through.
        partition: u32,
        /// How often it was handed out.
        times: u32,
    },
}

/// Counts how often partitions were handed out in vain.
///
/// Task ids are new with each try, so what counts is the part of the work: job, stage and input partition.
#[derive(Debug, Default)]
pub struct Resets {
    times: HashMap<String, HashMap<(u32, u32), u32>>,
}

impl Resets {
    /// Counts a task of these partitions that never arrived.
    pub fn count(&mut self, job_id: &str, stage_id: u32, partitions: &[u32]) -> AfterReset {
        let job = self.times.entry(job_id.to_owned()).or_default();
        let mut worst = (0, 0);
        for partition in partitions {
            let times = job.entry((stage_id, *partition)).or_default();
            *times += 1;
            worst = worst.max((*times, *partition));
        }
        match worst {
            (times, partition) if times >= MAX_RESETS => AfterReset::Fail { partition, times },
            _ => AfterReset::Again,
        }
    }

    /// Forgets a job that has ended.
    pub fn forget(&mut self, job_id: &str) {
        self.times.remove(job_id);
    }
}

/// What becomes of the tasks that wait to be sent to one executor: positions in the list given to [`pack`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// They fit into this reply.
    pub now: Vec<usize>,
    /// They go with the next ones.
    pub later: Vec<usize>,
    /// Too large for any reply.
    pub never: Vec<usize>,
}

/// Fills a reply of at most `limit_bytes` with tasks of these sizes, in order: none is overtaken by a later, smaller one.
pub fn pack(sizes_bytes: &[usize], limit_bytes: usize) -> Packing {
    let mut packing = Packing::default();
    let mut room = limit_bytes;
    for (position, size) in sizes_bytes.iter().enumerate() {
        if *size > limit_bytes {
            packing.never.push(position);
        } else if packing.later.is_empty() && *size <= room {
            room -= size;
            packing.now.push(position);
        } else {
            packing.later.push(position);
        }
    }
    packing
}

/// Of the jobs whose shuffle an executor keeps, those that nobody reads any more: unknown ones and ended ones alike.
pub fn forgettable(kept: &[String], needed: &BTreeSet<String>) -> Vec<String> {
    kept.iter().filter(|job| !needed.contains(*job)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_partition_handed_out_in_vain_four_times_fails_its_job() {
        let fail = |partition| AfterReset::Fail { partition, times: MAX_RESETS };
        // Each row: what was lost in turn (job, stage, partitions), and what follows the last of it.
        for (lost, expected) in [
            (vec![("j", 1, vec![0])], AfterReset::Again),
            (vec![("j", 1, vec![0]); 3], AfterReset::Again),
            (vec![("j", 1, vec![0]); 4], fail(0)),
            // Packed differently the next time, it is the same work.
            (vec![("j", 1, vec![0, 1]), ("j", 1, vec![1]), ("j", 1, vec![1, 2]), ("j", 1, vec![1])], fail(1)),
            (vec![("j", 1, vec![0]), ("j", 1, vec![1]), ("j", 1, vec![2]), ("j", 1, vec![3])], AfterReset::Again),
            (vec![("j", 1, vec![0]), ("j", 2, vec![0]), ("j", 1, vec![0]), ("j", 2, vec![0])], AfterReset::Again),
            (vec![("j", 1, vec![0]), ("k", 1, vec![0]), ("j", 1, vec![0]), ("k", 1, vec![0])], AfterReset::Again),
            (vec![("j", 1, vec![]); 9], AfterReset::Again),
        ] {
            let mut resets = Resets::default();
            let mut last = AfterReset::Again;
            for (job, stage, partitions) in &lost {
                last = resets.count(job, *stage, partitions);
            }
            assert_eq!(last, expected, "{lost:?}");
        }
    }

    #[test]
    fn a_job_that_ended_is_forgotten() {
        let mut resets = Resets::default();
        for _ in 0..9 {
            assert_eq!(resets.count("j", 1, &[0]), AfterReset::Again);
            resets.forget("j");
        }
    }

    #[test]
    fn a_reply_takes_what_fits_in_order() {
        let packing = |now: &[usize], later: &[usize], never: &[usize]| Packing {
            now: now.to_vec(),
            later: later.to_vec(),
            never: never.to_vec(),
        };
        for (sizes, expected) in [
            (vec![], packing(&[], &[], &[])),
            (vec![10], packing(&[0], &[], &[])),
            (vec![11], packing(&[], &[], &[0])),
            (vec![4, 6], packing(&[0, 1], &[], &[])),
            (vec![4, 7, 1], packing(&[0], &[1, 2], &[])),
            (vec![11, 4, 99, 6], packing(&[1, 3], &[], &[0, 2])),
        ] {
            assert_eq!(pack(&sizes, 10), expected, "{sizes:?}");
        }
    }

    proptest! {
        #[test]
        fn every_task_is_sent_in_the_end_unless_it_never_fits(sizes in prop::collection::vec(0_usize..30, 0..20)) {
            let mut waiting: Vec<usize> = (0..sizes.len()).collect();
            let (mut sent, mut never) = (Vec::new(), Vec::new());
            while !waiting.is_empty() {
                let bytes: Vec<usize> = waiting.iter().map(|task| sizes[*task]).collect();
                let packing = pack(&bytes, 20);
                prop_assert!(packing.now.iter().map(|at| bytes[*at]).sum::<usize>() <= 20);
                prop_assert!(packing.later.len() < waiting.len(), "no reply is in vain");
                sent.extend(packing.now.iter().map(|at| waiting[*at]));
                never.extend(packing.never.iter().map(|at| waiting[*at]));
                waiting = packing.later.iter().map(|at| waiting[*at]).collect();
            }
            prop_assert!(sent.is_sorted());
            prop_assert!(never.iter().all(|task| sizes[*task] > 20) && sent.len() + never.len() == sizes.len());
        }
    }

    #[test]
    fn what_nobody_needs_may_go_however_often_it_is_named() {
        let kept = ["ended", "running", "of-an-earlier-scheduler"].map(str::to_owned);
        let needed = BTreeSet::from(["running".to_owned(), "elsewhere".to_owned()]);
        for _ in 0..2 {
            assert_eq!(forgettable(&kept, &needed), ["ended", "of-an-earlier-scheduler"]);
        }
        assert!(forgettable(&[], &needed).is_empty());
    }
}
