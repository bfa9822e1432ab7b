//! The versions that one session reads: a table is opened once, and all that name it see the same version.

use std::collections::HashMap;
use std::sync::Arc;

use selvedge_model::Failure;
use tokio::sync::Mutex;

use super::provider::DeltaTable;
use super::snapshot::DeltaSnapshot;
use super::version::VersionSpec;
use crate::store::{Location, ObjectStores};

/// Versions that were opened.
#[derive(Debug)]
pub(crate) struct Pins {
    stores: ObjectStores,
    open: Mutex<HashMap<(Location, VersionSpec), Arc<DeltaSnapshot>>>,
}

impl Pins {
    pub(crate) fn new(stores: ObjectStores) -> Self {
        Self { stores, open: Mutex::default() }
    }

    /// The version of a table, opened now or before.
    pub(crate) async fn snapshot(&self, location: &Location, spec: VersionSpec) -> Result<Arc<DeltaSnapshot>, Failure> {
        let key = (location.as_directory(), spec);
        let mut open = self.open.lock().await;
        if let Some(known) = open.get(&key) {
            return Ok(Arc::clone(known));
        }
        let opened = Arc::new(Box::pin(DeltaSnapshot::open(&self.stores, location, spec)).await?);
        open.insert(key, Arc::clone(&opened));
        Ok(opened)
    }

    /// A version of a table, to be scanned.
    pub(crate) async fn table(&self, location: &Location, spec: VersionSpec) -> Result<DeltaTable, Failure> {
        Ok(DeltaTable::new(self.snapshot(location, spec).await?, spec))
    }
}
