//! The journal of publishes, and those in it that did not come to their end.
//!
//! A publish is recorded before its first file becomes visible and forgotten after its last step; what a record means is
//! `selvedge_model::publish`'s to say. One that stops on the way, because the store of its files does not answer or the
//! scheduler ends, is left in the journal. It is carried on when a scheduler starts, and before a statement reads or writes
//! where it was at work. Carrying on itself is in `roll_forward`.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use selvedge_engine::catalog::TableName;
use selvedge_engine::store::{Location, ObjectStores};
use selvedge_model::Failure;
use selvedge_model::failure::HasFailure as _;
use selvedge_model::publish::{PublishId, PublishKind, PublishState};
use tokio::time::timeout;

use super::Turns;
use super::turns::Turn;
use crate::catalog::DurableCatalog;
use crate::fault::{self, Step};
use crate::runs::now_ms;
use crate::store::{PublishEntry, StagingRecord, Store};

/// A start does not wait longer for one publish: its files' store may be away, and other tables are not.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

/// What publishes need, and what is left of earlier ones.
#[derive(Debug)]
pub struct Publishes {
    pub(super) stores: ObjectStores,
    pub(super) store: Arc<dyn Store>,
    pub(super) catalog: Arc<DurableCatalog>,
    turns: Arc<Turns>,
    left: Mutex<Vec<PublishEntry>>,
}

impl Publishes {
    /// Nobody publishes yet. `catalog` is kept in `store`, as the journal is.
    pub fn new(stores: ObjectStores, store: Arc<dyn Store>, catalog: Arc<DurableCatalog>) -> Arc<Self> {
        Arc::new(Self { stores, store, catalog, turns: Arc::default(), left: Mutex::default() })
    }

    /// Carries on what an earlier scheduler left. What does not get to its end now waits for a statement that needs it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn recover(&self) -> Result<(), Failure> {
        for entry in self.store.publishes().await.map_err(|e| e.failure())? {
            let (id, location) = (entry.record.id.clone(), entry.record.location.clone());
            let (run_id, statement) = (&id.run, id.statement);
            tracing::info!(%run_id, statement, %location, state = entry.state.name(), "carrying on a publish");
            if let Some(table) = &entry.create {
                self.catalog.reserve_again(&id, &table.def.name);
            }
            match timeout(RECOVERY_LIMIT, self.carry_on(entry.clone())).await {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => {
                    tracing::error!(%run_id, statement, %location, %failure, "a publish is not carried to its end");
                }
                Err(_) => {
                    tracing::error!(%run_id, statement, %location, "a publish takes long to carry on; a statement will");
                    self.left.lock().push(entry);
                }
            }
        }
        Ok(())
    }

    /// Ends what is left at locations that a statement is about to read.
    ///
    /// # Errors
    /// `PUBLISH_UNFINISHED` when that does not work yet: the files there are neither the old ones nor the new ones alone.
    pub async fn settle_for(&self, locations: &[Location]) -> Result<(), Failure> {
        for location in locations {
            if self.left.lock().iter().any(|entry| is_at(entry, location)) {
                let _turn = self.turn(location).await;
                self.settle(location).await?;
            }
        }
        Ok(())
    }

    /// Whether anything is left anywhere.
    pub fn has_left(&self) -> bool {
        !self.left.lock().is_empty()
    }

    /// Whether a publish is left: then its staging is not to be touched.
    pub fn is_left(&self, id: &PublishId) -> bool {
        self.left.lock().iter().any(|entry| entry.record.id == *id)
    }

    /// Records that a job is about to stage files at a location; [`super::sweep_later`] forgets it.
    ///
    /// # Errors
    /// What the store says.
    pub async fn stages(&self, job_id: &str, location: &Location) -> Result<(), Failure> {
        let staging = StagingRecord { job_id: job_id.to_owned(), location: location.to_string() };
        self.store.open_staging(&staging, now_ms()).await.map_err(|e| e.failure())
    }

    /// Whether a publish is left that will be carried to its end, and not taken back.
    pub fn will_come(&self, id: &PublishId) -> bool {
        let left = self.left.lock();
        left.iter().any(|entry| entry.record.id == *id && entry.state != PublishState::Withdrawn)
    }

    /// Waits until nobody publishes at a location.
    pub(super) async fn turn(&self, location: &Location) -> Turn {
        self.turns.take(location).await
    }

    /// Waits until nobody publishes a table of this name. Taken after the location's turn, always.
    pub(super) async fn turn_of_name(&self, name: &TableName) -> Turn {
        self.turns.take_name(name).await
    }

    /// Ends what is left at a location, whose turn the caller has.
    pub(super) async fn settle(&self, location: &Location) -> Result<(), Failure> {
        while let Some(entry) = self.first_left(location) {
            let id = entry.record.id.clone();
            let carried = self.carry_on(entry).await;
            let Err(failure) = carried else { continue };
            // One that ended badly has ended: this statement is not concerned.
            if self.is_left(&id) {
                let cause = format!("the publish of {id} to '{location}' has not come to its end: {}", failure.cause);
                return Err(Failure { code: "PUBLISH_UNFINISHED".to_owned(), cause, ..failure });
            }
            tracing::error!(run_id = %id.run, statement = id.statement, %location, %failure, "an earlier publish ended badly");
        }
        Ok(())
    }

    /// Records a publish that is decided.
    pub(super) async fn open(&self, entry: &PublishEntry) -> Result<(), Failure> {
        fault::reach(Step::PublishDecided);
        if let Err(error) = self.store.open_publish(entry, now_ms()).await {
            // It may be recorded all the same. Should this fail too, it is found without its staging, and withdrawn.
            let _ = self.store.close_publish(&entry.record.id, &[], now_ms()).await;
            return Err(error.failure());
        }
        fault::reach(Step::JournalWritten);
        Ok(())
    }

    /// Carries a publish on. One that does not get to its end is left; one that is left stays so until its end.
    pub(super) async fn carry_on(&self, mut entry: PublishEntry) -> Result<(), Failure> {
        let carried = self.roll_forward(&mut entry).await;
        let mut left = self.left.lock();
        left.retain(|other| other.record.id != entry.record.id);
        if entry.state != PublishState::Done {
            left.push(entry);
        }
        carried
    }

    fn first_left(&self, location: &Location) -> Option<PublishEntry> {
        // What is taken back of a publish to a log is seen by nobody: the next start is early enough.
        let is_unseen =
            |entry: &PublishEntry| entry.record.kind == PublishKind::Log && entry.state == PublishState::Withdrawn;
        self.left.lock().iter().find(|entry| is_at(entry, location) && !is_unseen(entry)).cloned()
    }
}

/// Whether a publish is at a location, below it or above it.
fn is_at(entry: &PublishEntry, location: &Location) -> bool {
    let directory = |text: &str| format!("{}/", text.trim_end_matches('/'));
    let (there, here) = (directory(&entry.record.location), directory(&location.to_string()));
    there.starts_with(&here) || here.starts_with(&there)
}
