//! Whether a task goes on: counts what its streams do, and notices when they do nothing for too long. The rule is
//! `selvedge_model::stall`'s; `guard.rs` counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use selvedge_model::Failure;
use selvedge_model::stall::{LOOKS, Look, StallWatch};
use tokio::time::{MissedTickBehavior, interval};

/// What the streams of one task have done.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A stream computes for as long as this lives.
pub(super) struct Computing<'a>(&'a Counts);

impl Drop for Computing<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Progress {
    /// A stream is asked for its next batch.
    pub(super) fn computing(&self) -> Computing<'_> {
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        Computing(&self.counts)
    }

    fn look(&self, is_excused: bool) -> Look {
        let ended = self.counts.ended.load(Ordering::Relaxed);
        let begun = self.counts.begun.load(Ordering::Relaxed);
        Look { ticks: begun, is_computing: is_excused || begun != ended }
    }

    /// Waits until the task has hung for `limit`; never, if that is zero. While `is_excused` it has a reason not to go on.
    pub(super) async fn stalled(&self, limit: Duration, is_excused: impl Fn() -> bool) {
        if limit.is_zero() {
            return std::future::pending().await;
        }
        let mut ticks = interval((limit / LOOKS).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watch = StallWatch::default();
        loop {
            ticks.tick().await;
            if watch.look(self.look(is_excused())) {
                return;
            }
        }
    }
}

/// What a task that hangs fails with. Another try may be luckier: what it waits for is outside.
pub(super) fn stalled(limit: Duration) -> Failure {
    let limit = humantime::format_duration(limit);
    Failure::external("TASK_STALLED", format!("The task made no progress for {limit}")).with_hint(
        "It waited for something that never came, most likely from storage. If it only takes that long, raise the \
         executors' task_stall_timeout",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_hangs_when_its_streams_are_not_even_asked() {
        let (limit, progress) = (Duration::from_millis(200), Progress::default());
        let hangs = |progress: Progress, at_most: Duration| async move {
            tokio::time::timeout(at_most, progress.stalled(limit, || false)).await.is_ok()
        };
        let computing = progress.computing();
        assert!(!hangs(progress.clone(), limit * 3).await, "it computes");
        drop(computing);
        assert!(hangs(progress.clone(), Duration::from_secs(30)).await);
        let excused = tokio::time::timeout(limit * 3, progress.stalled(limit, || true)).await;
        assert!(excused.is_err(), "it waits for what is being made again");
        let asked = progress.clone();
        tokio::spawn(async move {
            loop {
                drop(asked.computing());
                tokio::time::sleep(limit / 10).await;
            }
        });
        assert!(!hangs(progress.clone(), limit * 3).await, "it is asked again and again");
        let never = tokio::time::timeout(limit, Progress::default().stalled(Duration::ZERO, || false)).await;
        assert!(never.is_err());
    }
}
