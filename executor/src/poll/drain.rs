//! How an executor goes: takes nothing more, copies what only it has, lets its tasks end, gives back what does not end in
//! time, waits until all of it was heard.
//!
//! Without a shuffle location, leaving loses the shuffle of jobs that still run, and their stages run again. So for as long
//! as the grace lasts it stays and serves, until the scheduler says of each job that its files may go. Polls: `pull.rs`.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::pull::PullLoop;

/// How long the scheduler is waited for once there is nothing else to do.
const FLUSH_GRACE: Duration = Duration::from_secs(5);

/// How long running tasks may go on once the executor drains: as configured, or less when its machine is taken away.
#[derive(Debug)]
pub(crate) struct Grace {
    usual: Duration,
    cut: OnceLock<Instant>,
}

impl Grace {
    /// As configured.
    pub(crate) fn new(usual: Duration) -> Self {
        Self { usual, cut: OnceLock::new() }
    }

    /// What a drain that nothing hurries may take.
    pub(crate) fn usual(&self) -> Duration {
        self.usual
    }

    /// From now on there is no more than this, also for a drain under way.
    pub(crate) fn cut_to(&self, time: Duration) {
        let _ = self.cut.set(Instant::now() + time);
    }

    /// When a drain that began then must be over.
    pub(crate) fn until(&self, began: Instant) -> Instant {
        let usual = began + self.usual;
        self.cut.get().map_or(usual, |cut| usual.min(*cut))
    }
}

impl PullLoop {
    pub(super) async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.runner.copy_all();
        let began = Instant::now();
        let grace = self.drain_grace.until(began).saturating_duration_since(began);
        tracing::info!(tasks = self.runner.running().len(), ?grace, "draining");
        self.poll_while(
            || self.drain_grace.until(began),
            || !self.runner.running().is_empty() || !self.outbox.is_empty() || self.runner.is_needed_by_readers(),
        )
        .await;
        self.runner.hand_back_all();
        let flushed = Instant::now() + FLUSH_GRACE;
        self.poll_while(|| flushed, || !self.outbox.is_empty()).await;
        if self.runner.is_needed_by_readers() {
            tracing::warn!(
                "leaving with outputs that running jobs may still need, and that nobody else has: they are made again"
            );
        }
    }

    async fn poll_while(&self, until: impl Fn() -> Instant, needed: impl Fn() -> bool) {
        while needed() {
            let left = until().saturating_duration_since(Instant::now());
            if left.is_zero() || tokio::time::timeout(left, self.turn()).await.is_err() {
                return;
            }
        }
    }
}
