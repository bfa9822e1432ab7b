//! DataFusion's view of the catalog.
//!
//! Thin and live: names and definitions are looked up at each call. Only the versions of managed tables stay as they were
//! first seen, also below views, whose plans are older. Nothing can be registered or dropped through it: DDL acts on the
//! [`Catalog`].

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{TableProvider, TableType, ViewTable, provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableScan, cast, col};
use selvedge_model::Failure;

use super::definition::{plain_schema, plain_type};
use super::files::FilesTable;
use super::information::InformationSchema;
use super::schemas::Entry;
use super::schemas::INFORMATION_SCHEMA;
use super::{Catalog, Format, TableDef, TableName, ViewDef};
use crate::delta::{DeltaSnapshot, DeltaTable, Pins, VersionSpec};
use crate::error::EngineError;
use crate::session::CATALOG_NAME;
use crate::store::{Location, ObjectStores};

/// The list of the one catalog.
#[derive(Debug)]
pub(super) struct CatalogList {
    catalog: Arc<OneCatalog>,
}

impl CatalogList {
    pub(super) fn new(catalog: Arc<Catalog>, stores: ObjectStores) -> Self {
        Self { catalog: Arc::new(OneCatalog { catalog, pins: Arc::new(Pins::new(stores)), is_lenient: false }) }
    }
}

impl CatalogProviderList for CatalogList {
    /// Ignored: there is one catalog.
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG_NAME.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG_NAME).then(|| Arc::clone(&self.catalog) as _)
    }
}

#[derive(Debug)]
struct OneCatalog {
    catalog: Arc<Catalog>,
    pins: Arc<Pins>,
    /// Whether tables that cannot be opened are left out: what tells of all must not fail for one.
    is_lenient: bool,
}

impl CatalogProvider for OneCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.catalog.schemas()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let (catalog, pins) = (Arc::clone(&self.catalog), Arc::clone(&self.pins));
        if name == INFORMATION_SCHEMA {
            let lenient = OneCatalog { catalog, pins, is_lenient: true };
            return Some(Arc::new(InformationSchema::new(Arc::new(CatalogList { catalog: Arc::new(lenient) }))));
        }
        self.catalog.schema_location(name)?;
        Some(Arc::new(OneSchema { catalog, pins, name: name.to_owned(), is_lenient: self.is_lenient }))
    }
}

#[derive(Debug)]
struct OneSchema {
    catalog: Arc<Catalog>,
    pins: Arc<Pins>,
    name: String,
    is_lenient: bool,
}

impl OneSchema {
    /// What a name stands for, and at which version.
    fn entry(&self, name: &str) -> Result<Option<(Entry, VersionSpec)>, Failure> {
        if let Some(entry) = self.catalog.entry(&self.name, name) {
            return Ok(Some((entry, VersionSpec::Latest)));
        }
        let Some((table, version)) = VersionSpec::of_name(name)? else { return Ok(None) };
        match self.catalog.entry(&self.name, table) {
            Some(Entry::Table(def)) if def.format == Format::Delta => Ok(Some((Entry::Table(def), version))),
            Some(_) => {
                let name = TableName::new(self.name.as_str(), table);
                let cause = format!("{name} has no versions: only managed tables do");
                Err(Failure::user("NOT_SUPPORTED", cause).with_hint(format!("Read {name} as it is now")))
            }
            None => Err(self.catalog.table_not_found(&TableName::new(self.name.as_str(), table))),
        }
    }

    async fn managed(&self, def: &TableDef, version: VersionSpec) -> Result<Arc<dyn TableProvider>, Failure> {
        if version == VersionSpec::Latest && self.catalog.is_pretended(&def.name) {
            return Ok(Arc::new(EmptyTable::new(plain_schema(&def.schema))));
        }
        match self.pins.table(&def.location, version).await {
            Ok(table) => Ok(Arc::new(table)),
            Err(failure) if failure.code == "NOT_A_DELTA_TABLE" && self.catalog.is_copy() => {
                Ok(Arc::new(EmptyTable::new(plain_schema(&def.schema))))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn opened(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.entry(name).map_err(EngineError::from)? {
            None => Ok(None),
            Some((Entry::Table(def), version)) if def.format == Format::Delta => {
                Ok(Some(self.managed(&def, version).await.map_err(EngineError::from)?))
            }
            Some((Entry::Table(def), _)) => {
                let table = FilesTable::new(&def).map_err(EngineError::from)?;
                Ok(Some(Arc::new(table)))
            }
            Some((Entry::View(view), _)) => {
                let plan = view.plan.clone().map_err(|why| EngineError::from(unplannable(&view, &why)))?;
                let plan = self.current(plan).await?;
                Ok(Some(Arc::new(view_table(&view, plan)?)))
            }
        }
    }

    /// The view's plan over the versions that this session sees.
    async fn current(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut found: Vec<Arc<dyn TableProvider>> = Vec::new();
        plan.apply_with_subqueries(|node| {
            found.extend(scanned(node));
            Ok(TreeNodeRecursion::Continue)
        })?;
        let mut now: HashMap<(Location, VersionSpec), Arc<DeltaSnapshot>> = HashMap::new();
        for table in found.iter().filter_map(|table| table.downcast_ref::<DeltaTable>()) {
            let (location, version) = key_of(table);
            let snapshot = self.pins.snapshot(&location, version).await.map_err(EngineError::from)?;
            now.insert((location, version), snapshot);
        }
        let replaced = plan.transform_down_with_subqueries(|node| {
            let provider = scanned(&node);
            let table = provider.as_ref().and_then(|p| p.downcast_ref::<DeltaTable>());
            match (node, table.and_then(|table| Some((table, now.get(&key_of(table))?)))) {
                (LogicalPlan::TableScan(scan), Some((table, snapshot))) => {
                    let table = table.over(Arc::clone(snapshot)).map_err(EngineError::from)?;
                    let source = provider_as_source(Arc::new(table));
                    Ok(Transformed::yes(LogicalPlan::TableScan(TableScan { source, ..scan })))
                }
                (node, _) => Ok(Transformed::no(node)),
            }
        })?;
        Ok(replaced.data)
    }
}

/// The table that a node of a plan scans.
fn scanned(node: &LogicalPlan) -> Option<Arc<dyn TableProvider>> {
    let LogicalPlan::TableScan(scan) = node else { return None };
    source_as_provider(&scan.source).ok()
}

fn key_of(table: &DeltaTable) -> (Location, VersionSpec) {
    (table.snapshot().location().clone(), table.spec())
}

#[async_trait]
impl SchemaProvider for OneSchema {
    fn table_names(&self) -> Vec<String> {
        self.catalog.entry_names(&self.name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match self.opened(name).await {
            Err(cause) if self.is_lenient => {
                tracing::debug!(schema = self.name, name, %cause, "a table that cannot be opened is left out");
                Ok(None)
            }
            opened => opened,
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.catalog.entry(&self.name, name).map(|entry| match entry {
            Entry::Table(_) => TableType::Base,
            Entry::View(_) => TableType::View,
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        matches!(self.entry(name), Ok(Some(_)))
    }
}

fn view_table(view: &ViewDef, plan: LogicalPlan) -> Result<ViewTable> {
    Ok(ViewTable::new(with_plain_columns(plan)?, Some(view.sql.clone())))
}

fn unplannable(view: &ViewDef, why: &Failure) -> Failure {
    let cause = format!("view {} can no longer be used: {}", view.name, why.cause);
    Failure::user("VIEW_INVALID", cause).with_hint("Make it anew with CREATE OR REPLACE VIEW, or drop it")
}

/// The plan, with a projection on top when some of its columns have view types.
fn with_plain_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_plain = |t: &DataType| &plain_type(t) == t;
    if plan.schema().fields().iter().all(|f| is_plain(f.data_type())) {
        return Ok(plan);
    }
    let columns: Vec<_> = plan
        .schema()
        .iter()
        .map(|(qualifier, field)| {
            let column = col(datafusion::common::Column::from((qualifier, field)));
            match plain_type(field.data_type()) {
                plain if &plain == field.data_type() => column,
                plain => cast(column, plain).alias(field.name()),
            }
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
