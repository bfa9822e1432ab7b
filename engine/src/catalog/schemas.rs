//! The catalog: schemas, and the tables and views in them.
//!
//! Kept in memory; one lock, held only for map operations. The scheduler's `catalog` changes it and keeps what lasts;
//! DataFusion reads it through `provider.rs`. No files are touched: dropping a table leaves them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::CatalogProviderList;
use parking_lot::RwLock;
use selvedge_model::Failure;
use selvedge_model::expectation::Expectation;

use super::provider::CatalogList;
use super::{TableDef, TableName, ViewDef};
use crate::error::or_list;
use crate::session::DEFAULT_SCHEMA;
use crate::store::{Location, ObjectStores};

/// Tables and views that a refusal to drop a schema names.
const NAMED: usize = 5;

pub(super) const INFORMATION_SCHEMA: &str = "information_schema";

/// A table or a view.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Table(Arc<TableDef>),
    View(Arc<ViewDef>),
}

#[derive(Debug, Default, Clone)]
pub(super) struct SchemaEntry {
    location: Option<Location>,
    pub(super) entries: BTreeMap<String, Entry>,
    /// What tables expect, by table: it outlives a table's being replaced, and goes with it.
    pub(super) expectations: BTreeMap<String, Vec<Expectation>>,
}

/// All schemas, tables and views.
#[derive(Debug)]
pub struct Catalog {
    pub(super) schemas: RwLock<BTreeMap<String, SchemaEntry>>,
    /// Whether its tables may not be there yet.
    is_copy: bool,
    /// In a copy: managed tables whose columns would be others by now than their logs tell.
    changed: RwLock<BTreeSet<TableName>>,
}

impl Catalog {
    /// A catalog with the schema `public` and nothing in it.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Arc<Self> {
        let schemas = BTreeMap::from([(DEFAULT_SCHEMA.to_owned(), SchemaEntry::default())]);
        Arc::new(Self { schemas: RwLock::new(schemas), is_copy: false, changed: RwLock::default() })
    }

    /// A catalog of its own with the same contents: what is done to one is not seen by the other. Made to try out what
    /// statements would do: a managed table in it may have no log yet, and then is as it was registered, and empty.
    pub fn fork(&self) -> Arc<Self> {
        let (schemas, changed) = (self.schemas.read().clone(), self.changed.read().clone());
        Arc::new(Self { schemas: RwLock::new(schemas), is_copy: true, changed: RwLock::new(changed) })
    }

    pub(super) fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// In a copy: a managed table is as it is defined here from now on, whatever its log tells, and empty.
    pub fn pretend(&self, def: TableDef) {
        self.changed.write().insert(def.name.clone());
        if let Some(schema) = self.schemas.write().get_mut(&def.name.schema) {
            schema.entries.insert(def.name.table.clone(), Entry::Table(Arc::new(def)));
        }
    }

    pub(super) fn is_pretended(&self, name: &TableName) -> bool {
        self.is_copy && self.changed.read().contains(name)
    }

    /// Makes a schema; tables made in it without a location go below its own, if it has one.
    ///
    /// # Errors
    /// `SCHEMA_EXISTS` unless `if_not_exists`.
    pub fn create_schema(&self, name: &str, location: Option<Location>, if_not_exists: bool) -> Result<(), Failure> {
        if name == INFORMATION_SCHEMA || name.is_empty() {
            return Err(Failure::user("INVALID_NAME", format!("a schema cannot be called {name:?}")));
        }
        let mut schemas = self.schemas.write();
        if schemas.contains_key(name) {
            return if if_not_exists {
                Ok(())
            } else {
                Err(Failure::user("SCHEMA_EXISTS", format!("schema {name} exists already"))
                    .with_hint("CREATE SCHEMA IF NOT EXISTS leaves it as it is"))
            };
        }
        let location = location.map(|l| l.as_directory());
        schemas.insert(name.to_owned(), SchemaEntry { location, ..SchemaEntry::default() });
        Ok(())
    }

    /// Forgets a schema, and with `cascade` all in it.
    ///
    /// # Errors
    /// `SCHEMA_NOT_FOUND` unless `if_exists`; `SCHEMA_NOT_EMPTY` unless `cascade`.
    pub fn drop_schema(&self, name: &str, if_exists: bool, cascade: bool) -> Result<(), Failure> {
        if name == DEFAULT_SCHEMA {
            return Err(Failure::user("INVALID_STATEMENT", format!("schema {DEFAULT_SCHEMA} cannot be dropped")));
        }
        let mut schemas = self.schemas.write();
        match schemas.get(name) {
            None if if_exists => Ok(()),
            None => Err(schema_not_found(name, &schemas)),
            Some(schema) if !schema.entries.is_empty() && !cascade => {
                let named: Vec<&str> = schema.entries.keys().take(NAMED).map(String::as_str).collect();
                let more = if schema.entries.len() > NAMED { ", ..." } else { "" };
                let cause = format!("schema {name} is not empty: it holds {}{more}", named.join(", "));
                Err(Failure::user("SCHEMA_NOT_EMPTY", cause).with_hint("DROP SCHEMA ... CASCADE drops them too"))
            }
            Some(_) => {
                schemas.remove(name);
                Ok(())
            }
        }
    }

    /// Makes a table; `false` when it was there and `if_not_exists`.
    ///
    /// # Errors
    /// `SCHEMA_NOT_FOUND`; `TABLE_EXISTS` unless replaced or left.
    pub fn create_table(&self, def: TableDef, if_not_exists: bool, or_replace: bool) -> Result<bool, Failure> {
        let mut schemas = self.schemas.write();
        let schema = schema_mut(&mut schemas, &def.name.schema)?;
        match schema.entries.get(&def.name.table) {
            Some(Entry::Table(_)) if if_not_exists => return Ok(false),
            Some(Entry::Table(_)) if or_replace => {}
            Some(existing) => return Err(exists(&def.name, existing)),
            None => {}
        }
        schema.entries.insert(def.name.table.clone(), Entry::Table(Arc::new(def)));
        Ok(true)
    }

    /// Makes a view.
    ///
    /// # Errors
    /// `SCHEMA_NOT_FOUND`; `TABLE_EXISTS` unless it replaces a view.
    pub fn create_view(&self, view: ViewDef, or_replace: bool) -> Result<(), Failure> {
        let mut schemas = self.schemas.write();
        let schema = schema_mut(&mut schemas, &view.name.schema)?;
        match schema.entries.get(&view.name.table) {
            Some(Entry::View(_)) if or_replace => {}
            Some(existing) => return Err(exists(&view.name, existing)),
            None => {}
        }
        schema.entries.insert(view.name.table.clone(), Entry::View(Arc::new(view)));
        Ok(())
    }

    /// Forgets a table, leaving its files; `false` when there was none and `if_exists`.
    ///
    /// # Errors
    /// `TABLE_NOT_FOUND` unless `if_exists`; `NOT_A_TABLE` for a view.
    pub fn drop_table(&self, name: &TableName, if_exists: bool) -> Result<bool, Failure> {
        self.drop_entry(name, if_exists, |e| match e {
            Entry::Table(_) => Ok(()),
            Entry::View(_) => Err(Failure::user("NOT_A_TABLE", format!("{name} is a view")).with_hint("Use DROP VIEW")),
        })
    }

    /// Forgets a view; `false` when there was none and `if_exists`.
    ///
    /// # Errors
    /// `TABLE_NOT_FOUND` unless `if_exists`; `NOT_A_VIEW` for a table.
    pub fn drop_view(&self, name: &TableName, if_exists: bool) -> Result<bool, Failure> {
        self.drop_entry(name, if_exists, |e| match e {
            Entry::View(_) => Ok(()),
            Entry::Table(_) => {
                Err(Failure::user("NOT_A_VIEW", format!("{name} is a table")).with_hint("Use DROP TABLE"))
            }
        })
    }

    fn drop_entry(
        &self,
        name: &TableName,
        if_exists: bool,
        may: impl Fn(&Entry) -> Result<(), Failure>,
    ) -> Result<bool, Failure> {
        let mut schemas = self.schemas.write();
        let found = schemas.get_mut(&name.schema).and_then(|s| s.entries.get(&name.table).cloned());
        match found {
            Some(entry) => {
                may(&entry)?;
                if let Some(schema) = schemas.get_mut(&name.schema) {
                    schema.entries.remove(&name.table);
                    schema.expectations.remove(&name.table);
                }
                Ok(true)
            }
            None if if_exists => Ok(false),
            None => Err(not_found(name, &schemas)),
        }
    }

    /// The definition of a table; `None` for a view, too.
    pub fn table(&self, name: &TableName) -> Option<TableDef> {
        match self.entry(&name.schema, &name.table)? {
            Entry::Table(def) => Some(def.as_ref().clone()),
            Entry::View(_) => None,
        }
    }

    /// The definition of a view.
    pub fn view(&self, name: &TableName) -> Option<ViewDef> {
        match self.entry(&name.schema, &name.table)? {
            Entry::View(def) => Some(def.as_ref().clone()),
            Entry::Table(_) => None,
        }
    }

    /// All tables and views, by name.
    pub fn tables(&self) -> Vec<TableName> {
        let schemas = self.schemas.read();
        let names = |(schema, s): (&String, &SchemaEntry)| {
            s.entries.keys().map(|t| TableName::new(schema.as_str(), t.as_str())).collect::<Vec<_>>()
        };
        schemas.iter().flat_map(names).collect()
    }

    /// All schemas, by name.
    pub fn schemas(&self) -> Vec<String> {
        self.schemas.read().keys().cloned().collect()
    }

    /// Whether a schema exists, and where its tables go.
    pub fn schema_location(&self, name: &str) -> Option<Option<Location>> {
        self.schemas.read().get(name).map(|s| s.location.clone())
    }

    /// The failure that says a table is not there, naming the nearest that is.
    pub fn table_not_found(&self, name: &TableName) -> Failure {
        not_found(name, &self.schemas.read())
    }

    /// DataFusion's view of the catalog, for one session: a managed table has the same version in it from first to last.
    pub fn provider_list(self: &Arc<Self>, stores: &ObjectStores) -> Arc<dyn CatalogProviderList> {
        Arc::new(CatalogList::new(Arc::clone(self), stores.clone()))
    }

    pub(super) fn entry(&self, schema: &str, table: &str) -> Option<Entry> {
        self.schemas.read().get(schema)?.entries.get(table).cloned()
    }

    pub(super) fn entry_names(&self, schema: &str) -> Vec<String> {
        self.schemas.read().get(schema).map(|s| s.entries.keys().cloned().collect()).unwrap_or_default()
    }
}

type Schemas = BTreeMap<String, SchemaEntry>;

fn schema_mut<'a>(schemas: &'a mut Schemas, name: &str) -> Result<&'a mut SchemaEntry, Failure> {
    if !schemas.contains_key(name) {
        return Err(schema_not_found(name, schemas));
    }
    Ok(schemas.entry(name.to_owned()).or_default())
}

fn schema_not_found(name: &str, schemas: &Schemas) -> Failure {
    Failure::user("SCHEMA_NOT_FOUND", format!("schema {name} does not exist")).with_hint(or_list(
        name,
        "Schemas",
        schemas.keys().map(String::as_str),
    ))
}

fn not_found(name: &TableName, schemas: &Schemas) -> Failure {
    let Some(schema) = schemas.get(&name.schema) else { return schema_not_found(&name.schema, schemas) };
    let failure = Failure::user("TABLE_NOT_FOUND", format!("table {name} does not exist"));
    let elsewhere = schemas.iter().find(|(_, s)| s.entries.contains_key(&name.table));
    let hint = match elsewhere {
        Some((other, _)) => format!("Did you mean {}?", TableName::new(other.as_str(), name.table.as_str())),
        None => or_list(&name.table, "Tables", schema.entries.keys().map(String::as_str)),
    };
    failure.with_hint(hint)
}

fn exists(name: &TableName, existing: &Entry) -> Failure {
    let (kind, hint) = match existing {
        Entry::Table(_) => {
            ("table", "Write CREATE ... IF NOT EXISTS, or DROP TABLE first, which forgets it and leaves its files")
        }
        Entry::View(_) => ("view", "CREATE OR REPLACE VIEW or DROP VIEW"),
    };
    Failure::user("TABLE_EXISTS", format!("{kind} {name} exists already")).with_hint(hint)
}

#[cfg(test)]
#[path = "schemas_tests.rs"]
mod tests;
