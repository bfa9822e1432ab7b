//! The catalog that lasts: every change is written to the store first, then made in the catalog that statements are planned
//! from.
//!
//! Changes are made one at a time. Each is tried on a copy before it is written, so that what the catalog would refuse never
//! reaches the store. Once begun a change is carried to its end, also when its statement is cancelled. The name of a table
//! that a publish is about to make is kept for it. A rehearsal's catalog has no store. What is in the store at a start is
//! brought in by `load`.

mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex as SyncMutex;
use selvedge_engine::catalog::{Catalog, TableDef, TableName, ViewDef};
use selvedge_engine::store::Location;
use selvedge_model::Failure;
use selvedge_model::expectation::Expectation;
use selvedge_model::failure::HasFailure as _;
use selvedge_model::publish::PublishId;
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::fault::{self, Step};
use crate::runs::now_ms;
use crate::store::{CatalogChange, ExpectationRecord, SchemaRecord, Store, TableKind, TableRecord, ViewRecord};

/// A catalog and what keeps it.
#[derive(Debug)]
pub struct DurableCatalog {
    catalog: Arc<Catalog>,
    store: Option<Arc<dyn Store>>,
    turn: Mutex<()>,
    /// Tables that publishes will make at their end.
    making: SyncMutex<BTreeMap<PublishId, TableName>>,
}

impl DurableCatalog {
    /// A catalog whose changes are kept.
    pub fn new(catalog: Arc<Catalog>, store: Arc<dyn Store>) -> Arc<Self> {
        Self::with(catalog, Some(store))
    }

    /// A catalog whose changes are tried and forgotten.
    pub fn rehearsed(catalog: Arc<Catalog>) -> Arc<Self> {
        Self::with(catalog, None)
    }

    fn with(catalog: Arc<Catalog>, store: Option<Arc<dyn Store>>) -> Arc<Self> {
        Arc::new(Self { catalog, store, turn: Mutex::default(), making: SyncMutex::default() })
    }

    /// Whether there is a table of this name.
    pub fn has_table(&self, name: &TableName) -> bool {
        self.catalog.table(name).is_some()
    }

    /// Keeps a name for the table that a publish will make, until the publish is closed or the name released.
    ///
    /// # Errors
    /// As [`Catalog::create_table`].
    pub async fn reserve(&self, id: &PublishId, def: &TableDef, or_replace: bool) -> Result<(), Failure> {
        let _turn = self.turn.lock().await;
        self.catalog.fork().create_table(def.clone(), false, or_replace)?;
        if let Some((other, name)) = self.making.lock().iter().find(|(other, name)| *other != id && **name == def.name)
        {
            return Err(being_made(other, name));
        }
        self.making.lock().insert(id.clone(), def.name.clone());
        Ok(())
    }

    /// Keeps a name for a publish that an earlier scheduler recorded.
    pub(crate) fn reserve_again(&self, id: &PublishId, name: &TableName) {
        self.making.lock().insert(id.clone(), name.clone());
    }

    /// Gives back the name that was kept for a publish, if any.
    pub fn release(&self, id: &PublishId) {
        self.making.lock().remove(id);
    }

    /// Makes a schema; `false` when it was there and `if_not_exists`.
    ///
    /// # Errors
    /// As [`Catalog::create_schema`]; the store's.
    pub async fn create_schema(
        self: &Arc<Self>,
        name: &str,
        location: Option<Location>,
        if_not_exists: bool,
    ) -> Result<bool, Failure> {
        let record = SchemaRecord { name: name.to_owned(), location: location.map(|l| l.as_directory()) };
        self.change(CatalogChange::PutSchema(record.clone()), move |catalog| {
            let there = catalog.schema_location(&record.name).is_some();
            catalog.create_schema(&record.name, record.location.clone(), if_not_exists)?;
            Ok(!there)
        })
        .await
    }

    /// Forgets a schema; `false` when there was none and `if_exists`.
    ///
    /// # Errors
    /// As [`Catalog::drop_schema`]; the store's.
    pub async fn drop_schema(self: &Arc<Self>, name: &str, if_exists: bool, cascade: bool) -> Result<bool, Failure> {
        let name = name.to_owned();
        self.change(CatalogChange::DropSchema(name.clone()), move |catalog| {
            let there = catalog.schema_location(&name).is_some();
            catalog.drop_schema(&name, if_exists, cascade)?;
            Ok(there)
        })
        .await
    }

    /// Makes a table; `false` when it was there and `if_not_exists`.
    ///
    /// # Errors
    /// As [`Catalog::create_table`]; the store's.
    pub async fn create_table(
        self: &Arc<Self>,
        def: TableDef,
        kind: TableKind,
        if_not_exists: bool,
        or_replace: bool,
    ) -> Result<bool, Failure> {
        let change = CatalogChange::PutTable(Box::new(record(def.clone(), kind)));
        self.change(change, move |catalog| catalog.create_table(def.clone(), if_not_exists, or_replace)).await
    }

    /// Makes a view. `columns` are the new names for its query's columns, or none.
    ///
    /// # Errors
    /// As [`Catalog::create_view`]; the store's.
    pub async fn create_view(
        self: &Arc<Self>,
        view: ViewDef,
        columns: Vec<String>,
        or_replace: bool,
    ) -> Result<(), Failure> {
        let record = ViewRecord { name: view.name.clone(), sql: view.sql.clone(), columns };
        let act = move |catalog: &Catalog| catalog.create_view(view.clone(), or_replace).map(|()| true);
        self.change(CatalogChange::PutView(record), act).await.map(|_| ())
    }

    /// Forgets a table; `false` when there was none and `if_exists`.
    ///
    /// # Errors
    /// As [`Catalog::drop_table`]; the store's.
    pub async fn drop_table(self: &Arc<Self>, name: &TableName, if_exists: bool) -> Result<bool, Failure> {
        let name = name.clone();
        self.change(CatalogChange::DropTable(name.clone()), move |catalog| catalog.drop_table(&name, if_exists)).await
    }

    /// Forgets a view; `false` when there was none and `if_exists`.
    ///
    /// # Errors
    /// As [`Catalog::drop_view`]; the store's.
    pub async fn drop_view(self: &Arc<Self>, name: &TableName, if_exists: bool) -> Result<bool, Failure> {
        let name = name.clone();
        self.change(CatalogChange::DropView(name.clone()), move |catalog| catalog.drop_view(&name, if_exists)).await
    }

    /// Makes a table expect something, in the place of what it expects by that name; `false` when it does so already.
    ///
    /// # Errors
    /// As [`Catalog::put_expectation`]; the store's.
    pub async fn put_expectation(
        self: &Arc<Self>,
        table: &TableName,
        expectation: Expectation,
    ) -> Result<bool, Failure> {
        let record = ExpectationRecord { table: table.clone(), expectation };
        let act = {
            let ExpectationRecord { table, expectation } = record.clone();
            move |catalog: &Catalog| catalog.put_expectation(&table, expectation.clone())
        };
        self.change(CatalogChange::PutExpectation(record), act).await
    }

    /// Makes a table no longer expect something; `false` when it did not and `if_exists`.
    ///
    /// # Errors
    /// As [`Catalog::drop_expectation`]; the store's.
    pub async fn drop_expectation(
        self: &Arc<Self>,
        table: &TableName,
        name: &str,
        if_exists: bool,
    ) -> Result<bool, Failure> {
        let (table, name) = (table.clone(), name.to_owned());
        let change = CatalogChange::DropExpectation(table.clone(), name.clone());
        self.change(change, move |catalog| catalog.drop_expectation(&table, &name, if_exists)).await
    }

    /// Forgets a publish that has ended and makes the table that it was for, if any, in the place of one of that name.
    ///
    /// # Errors
    /// [`Unclosed::Store`] when neither is done; [`Unclosed::Table`] when the publish is forgotten and the table cannot be.
    pub async fn close_publish(self: &Arc<Self>, id: PublishId, create: Option<TableRecord>) -> Result<(), Unclosed> {
        let this = Arc::clone(self);
        let closing = async move {
            let _turn = this.turn.lock().await;
            let made = create.map(|table| {
                let made = this.catalog.fork().create_table(table.def.clone(), false, true);
                made.map(|_| table)
            });
            let (table, refused) = match made.transpose() {
                Ok(table) => (table, None),
                Err(refused) => (None, Some(refused)),
            };
            if let Some(store) = &this.store {
                let change: Vec<_> = table.iter().map(|t| CatalogChange::PutTable(Box::new(t.clone()))).collect();
                let closed = store.close_publish(&id, &change, now_ms()).await;
                closed.map_err(|e| Unclosed::Store(e.failure()))?;
                fault::reach(Step::JournalClosed);
            }
            this.release(&id);
            if let Some(table) = table {
                this.catalog.create_table(table.def, false, true).map_err(Unclosed::Table)?;
            }
            refused.map_or(Ok(()), |failure| Err(Unclosed::Table(failure)))
        };
        tokio::spawn(closing.in_current_span()).await.unwrap_or_else(|e| Err(Unclosed::Store(broken(&e))))
    }

    /// Makes a change by `act`, which says whether there was anything to change.
    async fn change(
        self: &Arc<Self>,
        change: CatalogChange,
        act: impl Fn(&Catalog) -> Result<bool, Failure> + Send + 'static,
    ) -> Result<bool, Failure> {
        let this = Arc::clone(self);
        let changing = async move {
            let _turn = this.turn.lock().await;
            if !act(&this.catalog.fork())? {
                return Ok(false);
            }
            this.check_unreserved(&change)?;
            if let Some(store) = &this.store {
                store.change_catalog(&[change], now_ms()).await.map_err(|e| e.failure())?;
                fault::reach(Step::CatalogWritten);
            }
            act(&this.catalog)
        };
        tokio::spawn(changing.in_current_span()).await.unwrap_or_else(|e| Err(broken(&e)))
    }

    /// Refuses a change after which a table that is being published could not be made, or would replace another.
    fn check_unreserved(&self, change: &CatalogChange) -> Result<(), Failure> {
        let concerns = |name: &TableName| match change {
            CatalogChange::PutTable(table) => table.def.name == *name,
            CatalogChange::PutView(view) => view.name == *name,
            CatalogChange::DropSchema(schema) => name.schema == *schema,
            CatalogChange::PutSchema(_)
            | CatalogChange::DropTable(_)
            | CatalogChange::DropView(_)
            | CatalogChange::PutExpectation(_)
            | CatalogChange::DropExpectation(..) => false,
        };
        match self.making.lock().iter().find(|(_, name)| concerns(name)) {
            Some((id, name)) => Err(being_made(id, name)),
            None => Ok(()),
        }
    }
}

fn being_made(id: &PublishId, name: &TableName) -> Failure {
    Failure::user("TABLE_EXISTS", format!("table {name} is being made by {id}"))
        .with_hint("Wait for that run, and try again")
}

/// Why a publish that has ended was not closed as it should be.
#[derive(Debug, Clone, PartialEq)]
pub enum Unclosed {
    /// It is still recorded.
    Store(Failure),
    /// It is forgotten, and its table could not be made.
    Table(Failure),
}

/// What is kept of a table.
pub(crate) fn record(def: TableDef, kind: TableKind) -> TableRecord {
    TableRecord { def, kind }
}

fn broken(error: &tokio::task::JoinError) -> Failure {
    Failure::internal("INTERNAL", format!("the catalog's change ended early: {error}"))
}
