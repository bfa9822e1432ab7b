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

/// The partitions in order, each once: of two from different stage attempts the newer one. One without rows may be
/// absent.
///
/// # Errors
/// When one stage attempt made a partition twice: its rows would be doubled. The statement is worth another attempt.
pub(super) fn in_order<T: Partitioned>(mut results: Vec<T>) -> Result<Vec<T>, Failure> {
    results.sort_by_key(|r| (r.partition(), std::cmp::Reverse(r.stage_attempt())));
    let same = |a: &T, b: &T| a.partition() == b.partition() && a.stage_attempt() == b.stage_attempt();
    if let Some(pair) = results.windows(2).find(|pair| same(&pair[0], &pair[1])) {
        return Err(doubtful(format!("partition {} of the result came twice", pair[0].partition())));
    }
    results.dedup_by_key(|r| r.partition());
    Ok(results)
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
        assert_eq!(in_order(vec![(4, 0), (0, 0), (1, 0), (1, 1)]), Ok(vec![(0, 0), (1, 1), (4, 0)]));
        assert_eq!(in_order(Vec::<(u32, u32)>::new()), Ok(vec![]));
    }

    #[test]
    fn a_doubled_partition_is_refused_and_worth_another_attempt() {
        let failure = in_order(vec![(0, 0), (1, 2), (0, 0)]).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.is_retryable()), ("RESULT_DOUBTFUL", true));
    }
}
