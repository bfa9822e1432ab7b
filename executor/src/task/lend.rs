//! A task that waits for a missing output computes nothing: its vcore is lent, so that the task which makes that output
//! again finds room, also where every executor is full of tasks that wait for it.
//!
//! At most as many as there are vcores: each task that waits still holds its memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::TaskRunner;

/// Vcores lent now.
#[derive(Debug, Default)]
pub(super) struct Lent {
    vcores: AtomicUsize,
}

impl Lent {
    pub(super) fn now(&self) -> usize {
        self.vcores.load(Ordering::Relaxed)
    }
}

impl TaskRunner {
    /// Lends and takes back, until dropped. Tells the scheduler, who may have work for a lent vcore.
    pub(super) async fn lend(&self) {
        loop {
            self.missing.changed().await;
            let wanted = self.missing.waiting_tasks().min(self.vcores);
            let lent = self.lent.vcores.swap(wanted, Ordering::Relaxed);
            self.permits.add_permits(wanted.saturating_sub(lent));
            // Whoever goes on does not wait for its vcore: the next one that is free is not given out again.
            for _ in wanted..lent {
                let permits = self.permits.clone();
                tokio::spawn(async move {
                    if let Ok(permit) = permits.acquire_owned().await {
                        permit.forget();
                    }
                });
            }
            self.news.notify_one();
        }
    }
}
