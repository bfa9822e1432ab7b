//! Pauses between attempts to reach the scheduler: growing, bounded below its lease, and not in step with other executors.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The scheduler was reached.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Another failure: how long to wait. `random` is any number, it spreads executors by up to half a pause.
    pub(super) fn next(&mut self, random: u64) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.failures.min(8)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let spread = u32::try_from(random % 500).unwrap_or(0);
        pause / 2 + pause * spread / 1000
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_start_over() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next(499)).collect();
        assert!(pauses.is_sorted() && pauses[0] < FIRST && pauses[39] <= LONGEST && pauses[39] > LONGEST / 2);
        backoff.reset();
        assert_eq!(backoff.next(0), FIRST / 2);
    }
}
