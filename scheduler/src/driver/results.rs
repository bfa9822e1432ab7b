//! Which partitions of a job's output count, and in which order. Pure: doubt is a failure, since wrong rows are worse.

use selvedge_model::{Domain, Failure, Retry};

/// What is asked of a result partition.
pub(super) trait Partitioned {
    /// Its number in the final stage, from 0.
    fn partition(&self) -> u32;
    /// The stage attempt that made it.
    fn stage_attempt(&self) -> u32;
}

impl Partitioned for crate::ballista::ResultPartition {
    fn partition(&self) -> u32 {
        self.partition
    }
    fn stage_attempt(&self) -> u32 {
        self.stage_attempt
    }
}

/// The partitions in order, each exactly once: of two from different stage attempts the newer one.
///
/// # Errors
/// When a partition is missing, or was made twice by one stage attempt: the statement is worth another attempt.
pub(super) fn in_order<T: Partitioned>(mut results: Vec<T>, partitions: u32) -> Result<Vec<T>, Failure> {
    results.sort_by_key(|r| (r.partition(), std::cmp::Reverse(r.stage_attempt())));
    let twice = results
        .windows(2)
        .find(|pair| pair[0].partition() == pair[1].partition() && pair[0].stage_attempt() == pair[1].stage_attempt());
    if let Some(pair) = twice {
        return Err(doubtful(format!("partition {} of the result came twice", pair[0].partition())));
    }
    results.dedup_by_key(|r| r.partition());
    let missing = (0..partitions).zip(results.iter().map(Some).chain(std::iter::repeat(None)));
    for (expected, found) in missing {
        if found.map(Partitioned::partition) != Some(expected) {
            return Err(doubtful(format!("partition {expected} of {partitions} of the result is missing")));
        }
    }
    match results.get(usize::try_from(partitions).unwrap_or(usize::MAX)) {
        Some(extra) => Err(doubtful(format!("partition {} is not one of {partitions}", extra.partition()))),
        None => Ok(results),
    }
}

fn doubtful(what: String) -> Failure {
    Failure::new(Domain::Internal, Retry::Later, "RESULT_DOUBTFUL", format!("The engine's output is not whole: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Partitioned for (u32, u32) {
        fn partition(&self) -> u32 {
            self.0
        }
        fn stage_attempt(&self) -> u32 {
            self.1
        }
    }

    #[test]
    fn partitions_come_in_order_and_the_newer_attempt_wins() {
        assert_eq!(in_order(vec![(2, 0), (0, 0), (1, 0), (1, 1)], 3), Ok(vec![(0, 0), (1, 1), (2, 0)]));
        assert_eq!(in_order(Vec::<(u32, u32)>::new(), 0), Ok(vec![]));
    }

    #[test]
    fn a_doubled_missing_or_surplus_partition_is_refused() {
        for (results, partitions) in [(vec![(0, 0), (0, 0)], 1), (vec![(0, 0)], 2), (vec![(1, 0)], 1), (vec![(0, 0), (1, 0)], 1)] {
            let failure = in_order(results, partitions).unwrap_err();
            assert_eq!((failure.code.as_str(), failure.is_retryable()), ("RESULT_DOUBTFUL", true));
        }
    }
}
