//! Sweeps a job's staging once more when nobody can add to it any longer.
//!
//! The first sweep comes right after a failure or a cancel, the closing of the staging right after a publish. A task of an
//! attempt that nobody waits for may still run then, open an upload, and be killed before it clears up. So the staging is
//! swept again once no executor holds a task of the job. Nobody waits for that, and it ends in bounded time. Staging that a
//! publish still needs is never touched: the end of that publish clears it. Which jobs may have staged what where is in the
//! store from before their first task, so that a scheduler that was killed leaves nothing for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_engine::store::Location;
use selvedge_engine::write;
use selvedge_model::failure::HasFailure as _;
use selvedge_model::liveness::Release;
use selvedge_model::publish::PublishId;
use selvedge_model::{Failure, StatementAttempt};

use super::Publishes;
use crate::ballista::Host;
use crate::store::StagingRecord;

/// How often executors' words are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// After a store's refusal.
const PAUSE: Duration = Duration::from_secs(30);
/// An executor that was lost with a task may wake up and go on; one that holds a task for longer than this will not be
/// waited for.
const LIMIT: Duration = Duration::from_secs(600);
/// How long executors may take to find a scheduler that was started again.
const RETURN: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Wait,
    /// Sweep, and look again: somebody may come back.
    Sweep,
    /// Sweep, and be done.
    SweepAndEnd,
}

/// What to do at a look. `is_late` when the limit has passed.
fn step(release: Release, is_swept: bool, is_late: bool) -> Step {
    match release {
        Release::Free => Step::SweepAndEnd,
        Release::Held | Release::Adrift if is_late => Step::SweepAndEnd,
        Release::Adrift if !is_swept => Step::Sweep,
        Release::Held | Release::Adrift => Step::Wait,
    }
}

/// Sweeps the staging of a job that has just ended, in the background, when its last task has. `id` is the publish that its
/// statement may have begun.
pub fn sweep_later(host: Arc<Host>, publishes: Arc<Publishes>, id: PublishId, location: Location, job_id: String) {
    let ended = Instant::now();
    tokio::spawn(async move {
        let mut is_swept = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let is_late = ended.elapsed() >= LIMIT;
            let step = step(host.release(&job_id, ended), is_swept, is_late);
            if publishes.is_left(&id) {
                match is_late {
                    true => return,
                    false => continue,
                }
            }
            if step == Step::Wait {
                continue;
            }
            match write::sweep_staging(&publishes.stores, &location, &job_id).await {
                Ok(swept) => {
                    if swept > 0 {
                        tracing::info!(%location, job_id, swept, "discarded what late tasks had staged");
                    }
                    is_swept = true;
                    if step == Step::SweepAndEnd {
                        return forget(&publishes, &job_id).await;
                    }
                }
                Err(failure) => {
                    tracing::warn!(%location, job_id, %failure, "staging of an ended job cannot be swept");
                    if is_late {
                        return;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
}

async fn forget(publishes: &Publishes, job_id: &str) {
    if let Err(error) = publishes.store.close_staging(job_id).await {
        tracing::warn!(job_id, %error, "a swept staging is not forgotten; the next start sweeps it again");
    }
}

/// Sweeps what jobs of an earlier scheduler staged: those that the store still names. Nobody else's: another scheduler that
/// writes to the same place has a store of its own.
///
/// # Errors
/// What the store says.
pub async fn sweep_dead(host: &Arc<Host>, publishes: &Arc<Publishes>) -> Result<(), Failure> {
    for StagingRecord { job_id, location } in publishes.store.stagings().await.map_err(|e| e.failure())? {
        let (Some(ids), Ok(location)) = (StatementAttempt::parse_job_id(&job_id), Location::parse(&location)) else {
            tracing::warn!(job_id, location, "a staging that makes no sense is left alone");
            continue;
        };
        let id = PublishId { run: ids.run, statement: ids.statement };
        let (host, publishes) = (Arc::clone(host), Arc::clone(publishes));
        tokio::spawn(async move {
            // Executors that still run tasks of it have come by then, and were told to stop.
            tokio::time::sleep(RETURN).await;
            sweep_later(host, publishes, id, location, job_id);
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_is_swept_when_no_task_is_left_and_at_the_latest_at_the_limit() {
        for (release, is_swept, is_late, expected) in [
            (Release::Held, false, false, Step::Wait),
            (Release::Held, false, true, Step::SweepAndEnd),
            (Release::Adrift, false, false, Step::Sweep),
            (Release::Adrift, true, false, Step::Wait),
            (Release::Adrift, true, true, Step::SweepAndEnd),
            (Release::Free, false, false, Step::SweepAndEnd),
            (Release::Free, true, false, Step::SweepAndEnd),
        ] {
            assert_eq!(step(release, is_swept, is_late), expected, "{release:?} {is_swept} {is_late}");
        }
    }
}
