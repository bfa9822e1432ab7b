//! Carries a recorded publish from the state it is in to its end, step by step as `selvedge_model::publish` says.
//!
//! Each step may have been done before, in part or as a whole. It is tried again a few times when what failed it may pass.

use std::time::Duration;

use futures::{StreamExt, stream};
use selvedge_engine::delta::{CommitError, apply_change, names_any};
use selvedge_engine::store::Location;
use selvedge_engine::write;
use selvedge_model::Failure;
use selvedge_model::failure::HasFailure as _;
use selvedge_model::publish::{Action, PublishState, Reply};

use super::journal::Publishes;
use super::{CONCURRENCY, log};
use crate::catalog::Unclosed;
use crate::fault::{self, Step};
use crate::planning;
use crate::runs::now_ms;
use crate::store::PublishEntry;

/// How long to wait before a step is tried again.
const PAUSES: [Duration; 3] = [FIRST_PAUSE, FIRST_PAUSE.saturating_mul(2), FIRST_PAUSE.saturating_mul(4)];
/// How often rows that were left out are appended anew, when their table has changed meanwhile.
const REJECTED_TRIES: usize = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 500 });

impl Publishes {
    /// Leaves in `entry` how far it has come. Its state is `Done` after a failure only when nothing more is to be done.
    pub(super) async fn roll_forward(&self, entry: &mut PublishEntry) -> Result<(), Failure> {
        let location = Location::parse(&entry.record.location).map_err(|e| e.failure())?;
        let mut ended_badly = (entry.state == PublishState::Withdrawn).then(withdrawn);
        let mut pauses = PAUSES.into_iter();
        while entry.state != PublishState::Done {
            match self.step(&location, entry, &mut ended_badly).await {
                Ok(next) => {
                    entry.state = next;
                    pauses = PAUSES.into_iter();
                }
                Err(failure) => match pauses.next().filter(|_| failure.is_retryable()) {
                    Some(pause) => {
                        tracing::warn!(%location, %failure, state = entry.state.name(), "a step of a publish failed; trying again");
                        tokio::time::sleep(pause).await;
                    }
                    // Why it is taken back says more than why that does not go well, and what comes of it: nothing.
                    None => return Err(ended_badly.unwrap_or(failure)),
                },
            }
        }
        ended_badly.map_or(Ok(()), Err)
    }

    /// Does what the state asks for and records the next one.
    async fn step(
        &self,
        location: &Location,
        entry: &PublishEntry,
        ended_badly: &mut Option<Failure>,
    ) -> Result<PublishState, Failure> {
        let outcomes = self.act(location, entry).await;
        let replies: Vec<Reply> = outcomes.iter().map(reply).collect();
        let Some(next) = entry.state.after(entry.record.kind, &replies) else {
            return Err(failure_of(outcomes, Reply::Refused));
        };
        if next == PublishState::Withdrawn {
            let failure = failure_of(outcomes, Reply::Lost);
            tracing::warn!(%location, %failure, "a publish cannot be carried out; taking it back");
            *ended_badly = Some(failure);
        } else if next == PublishState::Done && entry.state == PublishState::Removed && replies.contains(&Reply::Lost) {
            *ended_badly = Some(not_kept(location, &failure_of(outcomes, Reply::Lost)));
        }
        match self.record(entry, next).await {
            Err(Unclosed::Store(failure)) => return Err(failure),
            Err(Unclosed::Table(failure)) => *ended_badly = Some(failure),
            Ok(()) => {}
        }
        Ok(next)
    }

    async fn record(&self, entry: &PublishEntry, next: PublishState) -> Result<(), Unclosed> {
        let id = entry.record.id.clone();
        if next == PublishState::Done {
            let create = entry.create.clone().filter(|_| entry.state != PublishState::Withdrawn);
            return self.catalog.close_publish(id, create).await;
        }
        let advanced = self.store.advance_publish(&id, next, now_ms()).await;
        advanced.map_err(|e| Unclosed::Store(e.failure()))?;
        match next {
            PublishState::Published => fault::reach(Step::CompletionRecorded),
            PublishState::Removed => fault::reach(Step::RemovalRecorded),
            _ => {}
        }
        Ok(())
    }

    async fn act(&self, location: &Location, entry: &PublishEntry) -> Vec<Result<(), Refusal>> {
        let outcomes = match entry.state.action(entry.record.kind) {
            Action::Complete => self.complete(location, entry).await,
            Action::Remove => vec![self.remove(location, &entry.record.remove).await],
            Action::Commit => return vec![self.commit(location, entry).await],
            Action::Close => {
                let done = vec![self.keep_rejected(location, entry).await, self.mark(location, entry).await];
                if done.iter().all(|outcome| reply(outcome) != Reply::Refused) {
                    self.clear_staging(location, entry).await;
                }
                return done;
            }
            Action::TakeBack => self.take_back(location, entry).await,
            Action::Record | Action::Rest => vec![],
        };
        outcomes.into_iter().map(|outcome| outcome.map_err(Refusal::from)).collect()
    }

    async fn complete(&self, location: &Location, entry: &PublishEntry) -> Vec<Result<(), Failure>> {
        let stores = &self.stores;
        // Gathered first: a stream over a borrowing closure is not `Send` to the compiler.
        let files: Vec<_> = entry
            .record
            .publish
            .iter()
            .map(|file| async move {
                write::publish_file(stores, location, file).await?;
                fault::reach(Step::FileCompleted);
                Ok::<(), Failure>(())
            })
            .collect();
        let outcomes: Vec<Result<(), Failure>> = stream::iter(files).buffer_unordered(CONCURRENCY).collect().await;
        if outcomes.iter().all(Result::is_ok) {
            fault::reach(Step::FilesCompleted);
        }
        outcomes
    }

    async fn remove(&self, location: &Location, paths: &[String]) -> Result<(), Failure> {
        let alone = usize::from(fault::is_armed(Step::FirstRemoved)).min(paths.len());
        let (first, rest) = paths.split_at(alone);
        if !first.is_empty() {
            write::remove_files(&self.stores, location, first).await?;
            fault::reach(Step::FirstRemoved);
        }
        write::remove_files(&self.stores, location, rest).await?;
        fault::reach(Step::FilesRemoved);
        Ok(())
    }

    async fn commit(&self, location: &Location, entry: &PublishEntry) -> Result<(), Refusal> {
        let Some(change) = &entry.log else {
            return Err(Failure::internal("INTERNAL", "a publish to a log has nothing to say to it").into());
        };
        let outcome = Box::pin(apply_change(&self.stores, location, change)).await.map_err(Refusal::from)?;
        fault::reach(Step::LogCommitted);
        tracing::debug!(%location, version = outcome.version, removed = outcome.removed, "committed");
        Ok(())
    }

    /// Appends the rows that were left out to the table that keeps them. Where that will never do, the publish ends all the
    /// same: the other rows are there, and nobody is to wait for these.
    async fn keep_rejected(&self, location: &Location, entry: &PublishEntry) -> Result<(), Refusal> {
        let Some(change) = &entry.rejected else { return Ok(()) };
        let (beside, mut change) = (planning::rejected_location(location), change.clone());
        let ends = |failure: Failure| Refusal { is_final: !failure.is_retryable(), failure };
        for _ in 0..REJECTED_TRIES {
            match Box::pin(apply_change(&self.stores, &beside, &change)).await {
                Ok(_) => {
                    fault::reach(Step::RejectedAppended);
                    return Ok(());
                }
                // Somebody changed its columns or properties: these rows do not care.
                Err(CommitError::Rerun(..)) => {
                    let newest = planning::open_rejected(&self.stores, location).await.map_err(ends)?;
                    change.version = log::appended(&newest);
                }
                Err(error) => return Err(ends(error.failure())),
            }
        }
        Err(Failure::external("WRITE_CONFLICT", format!("the table at {beside} changes all the time")).into())
    }

    /// Says that all files are there, if that is to be said. Where that will never do, the files are there nonetheless.
    async fn mark(&self, location: &Location, entry: &PublishEntry) -> Result<(), Refusal> {
        if !entry.record.marks_success {
            return Ok(());
        }
        match write::mark_success(&self.stores, location).await {
            Err(failure) if !failure.is_retryable() => {
                tracing::error!(%location, %failure, "no _SUCCESS is put where a write was to end with one");
                Ok(())
            }
            marked => marked.map_err(Refusal::from),
        }
    }

    /// What cannot be cleared is hidden from readers, and is no reason to keep the statement from its end.
    async fn clear_staging(&self, location: &Location, entry: &PublishEntry) {
        for job_id in &entry.record.jobs {
            let cleared = write::close_staging(&self.stores, location, job_id, &entry.record.publish).await;
            if let Err(failure) = cleared {
                tracing::warn!(%location, job_id, %failure, "staging of a published write is not cleared");
            }
        }
        fault::reach(Step::StagingCleared);
    }

    async fn take_back(&self, location: &Location, entry: &PublishEntry) -> Vec<Result<(), Failure>> {
        // Whatever was believed when it was withdrawn: files that the log names are nobody's to remove.
        if let Some(change) = &entry.log {
            match names_any(&self.stores, location, &change.adds).await {
                Ok(false) => {}
                Ok(true) => {
                    let cause = format!("the log of {location} names files of a publish that was to be taken back");
                    return vec![Err(Failure::internal("INTERNAL", cause))];
                }
                Err(failure) => return vec![Err(failure)],
            }
        }
        let mut outcomes = Vec::new();
        for file in &entry.record.publish {
            outcomes.push(write::discard_file(&self.stores, location, file).await);
        }
        for job_id in &entry.record.jobs {
            outcomes.push(write::sweep_staging(&self.stores, location, job_id).await.map(|_| ()));
        }
        outcomes.push(write::remove_files(&self.stores, location, &entry.record.withdrawable()).await);
        outcomes
    }
}

/// Why a request of an action was not done.
struct Refusal {
    failure: Failure,
    /// Whether it is certain that it is not done and never will be.
    is_final: bool,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { is_final: failure.code == write::STAGING_LOST, failure }
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        Self { is_final: !matches!(error, CommitError::Failed(_)), failure: error.failure() }
    }
}

fn reply(outcome: &Result<(), Refusal>) -> Reply {
    match outcome {
        Ok(()) => Reply::Done,
        Err(refusal) if refusal.is_final => Reply::Lost,
        Err(_) => Reply::Refused,
    }
}

/// Whether a commit was refused for what others did meanwhile.
pub(crate) fn is_clash(failure: &Failure) -> bool {
    failure.code == "WRITE_CONFLICT"
}

/// The first failure that comes to this reply.
fn failure_of(outcomes: Vec<Result<(), Refusal>>, wanted: Reply) -> Failure {
    let found = outcomes.into_iter().filter(|outcome| reply(outcome) == wanted).find_map(Result::err);
    let unknown = || Failure::internal("INTERNAL", "a publish stopped without a reason");
    found.map_or_else(unknown, |refusal| refusal.failure)
}

fn not_kept(location: &Location, failure: &Failure) -> Failure {
    let cause = format!("the rows that were left out of the write to '{location}' are not kept: {}", failure.cause);
    let hint =
        "The other rows are there: do not run the statement again. Their number and the first of them are with the run";
    Failure { code: "REJECTED_NOT_KEPT".to_owned(), cause, ..failure.clone() }.with_hint(hint)
}

fn withdrawn() -> Failure {
    Failure::external(write::STAGING_LOST, "what the write had staged was lost, and the write has been taken back")
}
