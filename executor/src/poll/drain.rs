//! How an executor goes: takes nothing more, copies what only it has, lets its tasks end, gives back what does not end in
//! time, waits until all of it was heard.
//!
//! Without a shuffle location, leaving loses the shuffle of jobs that still run, and their stages run again. So for as long
//! as the grace lasts it stays and serves, until the scheduler says of each job that its files may go. Polls: `pull.rs`.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::pull::PullLoop;

/// How long the scheduler is waited for once there is nothing else to do.
const FLUSH_GRACE: Duration = Duration::from_secs(5);

impl PullLoop {
    pub(super) async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.runner.copy_all();
        tracing::info!(tasks = self.runner.running().len(), grace = ?self.drain_grace, "draining");
        self.poll_while(self.drain_grace, || {
            !self.runner.running().is_empty() || !self.outbox.is_empty() || self.runner.is_needed_by_readers()
        })
        .await;
        self.runner.hand_back_all();
        self.poll_while(FLUSH_GRACE, || !self.outbox.is_empty()).await;
        if self.runner.is_needed_by_readers() {
            tracing::warn!(
                "leaving with outputs that running jobs may still need, and that nobody else has: they are made again"
            );
        }
    }

    async fn poll_while(&self, at_most: Duration, needed: impl Fn() -> bool) {
        let until = Instant::now() + at_most;
        while needed() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || tokio::time::timeout(left, self.turn()).await.is_err() {
                return;
            }
        }
    }
}
