//! What is kept, as the rest of the scheduler sees it, and its forms that last.

use std::collections::BTreeMap;
use std::str::FromStr;

use selvedge_engine::catalog::{Format, TableDef, TableName};
use selvedge_engine::delta::LogChange;
use selvedge_engine::store::Location;
use selvedge_model::expectation::Expectation;
use selvedge_model::publish::{PublishRecord, PublishState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{StoreError, columns};

/// A schema.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaRecord {
    /// Its name.
    pub name: String,
    /// Where its tables go, if it says so.
    pub location: Option<Location>,
}

/// Whose a table's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Selvedge's: it made the table.
    Managed,
    /// Somebody else's, who said where they are.
    External,
}

impl TableKind {
    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::External => "external",
        }
    }
}

impl FromStr for TableKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Managed, Self::External];
        all.into_iter().find(|kind| kind.name() == text).ok_or_else(|| format!("'{text}' is no kind of table"))
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRecord {
    /// What it is.
    pub def: TableDef,
    /// Whose its files are.
    pub kind: TableKind,
}

/// A view.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewRecord {
    /// Its name.
    pub name: TableName,
    /// The query as written.
    pub sql: String,
    /// New names for the query's columns, or none.
    pub columns: Vec<String>,
}

/// What a table expects.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectationRecord {
    /// The table.
    pub table: TableName,
    /// What it expects.
    pub expectation: Expectation,
}

/// The whole catalog.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CatalogRecord {
    /// Schemas, by name.
    pub schemas: Vec<SchemaRecord>,
    /// Tables, by name.
    pub tables: Vec<TableRecord>,
    /// Views, by name.
    pub views: Vec<ViewRecord>,
    /// What tables expect, by table and name.
    pub expectations: Vec<ExpectationRecord>,
}

/// A change of the catalog. What is put replaces one of the same name and kind.
#[derive(Debug, Clone, PartialEq)]
pub enum CatalogChange {
    /// A schema is there.
    PutSchema(SchemaRecord),
    /// A schema is gone, with all in it.
    DropSchema(String),
    /// A table is there.
    PutTable(Box<TableRecord>),
    /// A view is there.
    PutView(ViewRecord),
    /// A table is gone.
    DropTable(TableName),
    /// A view is gone.
    DropView(TableName),
    /// A table expects something.
    PutExpectation(ExpectationRecord),
    /// A table no longer expects something.
    DropExpectation(TableName, String),
}

/// A job that may have staged files, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagingRecord {
    /// The engine's job.
    pub job_id: String,
    /// The table's root or the directory, as a URL.
    pub location: String,
}

/// A publish in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishEntry {
    /// What carrying on needs.
    pub record: PublishRecord,
    /// How far it has come.
    pub state: PublishState,
    /// The table that its end puts into the catalog (`CREATE TABLE AS`).
    pub create: Option<TableRecord>,
    /// What it does to the table's log, if there is one.
    pub log: Option<LogChange>,
    /// What it does to the log of the table that keeps rows which are left out, if there are some.
    pub rejected: Option<LogChange>,
}

/// A table as it lasts: nothing in it changes its form with a library.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredTable {
    pub schema: String,
    pub name: String,
    pub kind: String,
    pub format: String,
    pub location: String,
    pub columns: Value,
    pub partition_by: Vec<String>,
    pub options: BTreeMap<String, String>,
    pub owner: String,
}

impl TryFrom<&TableRecord> for StoredTable {
    type Error = StoreError;

    fn try_from(table: &TableRecord) -> Result<Self, StoreError> {
        let TableRecord { def, kind } = table;
        let columns = columns::to_json(&def.schema)
            .map_err(|why| StoreError::Unstorable { what: format!("table {}", def.name), why })?;
        Ok(Self {
            schema: def.name.schema.clone(),
            name: def.name.table.clone(),
            kind: kind.name().to_owned(),
            format: def.format.name().to_owned(),
            location: def.location.to_string(),
            columns,
            partition_by: def.partition_by.clone(),
            options: def.options.clone(),
            owner: def.owner.clone(),
        })
    }
}

impl TryFrom<StoredTable> for TableRecord {
    type Error = StoreError;

    fn try_from(stored: StoredTable) -> Result<Self, StoreError> {
        let name = TableName::new(stored.schema, stored.name);
        let corrupt = |why: String| StoreError::corrupt(format!("table {name}"), why);
        let format: Format = stored.format.parse().map_err(|e: selvedge_model::Failure| corrupt(e.cause))?;
        let location = Location::parse(&stored.location).map_err(|e| corrupt(e.to_string()))?;
        let schema = columns::from_json(&stored.columns).map_err(corrupt)?;
        let kind = stored.kind.parse().map_err(corrupt)?;
        let StoredTable { partition_by, options, owner, .. } = stored;
        Ok(Self { def: TableDef { name, format, location, schema, partition_by, options, owner }, kind })
    }
}

/// A publish's plan as it lasts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredPlan {
    pub record: PublishRecord,
    pub create: Option<StoredTable>,
    #[serde(default)]
    pub log: Option<LogChange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<LogChange>,
}

impl StoredPlan {
    /// The plan of an entry as JSON.
    pub fn encode(entry: &PublishEntry) -> Result<String, StoreError> {
        let create = entry.create.as_ref().map(StoredTable::try_from).transpose()?;
        let (log, rejected) = (entry.log.clone(), entry.rejected.clone());
        let plan = Self { record: entry.record.clone(), create, log, rejected };
        let what = || format!("the publish of {}", entry.record.id);
        serde_json::to_string(&plan).map_err(|e| StoreError::Unstorable { what: what(), why: e.to_string() })
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(plan: &str, state: &str) -> Result<PublishEntry, StoreError> {
        let corrupt = |why: String| StoreError::corrupt("a publish", why);
        let Self { record, create, log, rejected } = serde_json::from_str(plan).map_err(|e| corrupt(e.to_string()))?;
        let state = state.parse::<PublishState>().map_err(|e| corrupt(e.to_string()))?;
        let create = create.map(TableRecord::try_from).transpose()?;
        Ok(PublishEntry { record, state, create, log, rejected })
    }
}
