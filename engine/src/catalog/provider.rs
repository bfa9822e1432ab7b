//! DataFusion's view of the catalog.
//!
//! Thin and live: names and definitions are looked up at each call. Nothing can be registered or dropped through it: DDL
//! acts on the [`Catalog`].

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider};
use datafusion::datasource::{TableProvider, TableType, ViewTable};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast, col};
use selvedge_model::Failure;

use super::definition::plain_type;
use super::files::FilesTable;
use super::schemas::Entry;
use super::{Catalog, ViewDef};
use crate::error::EngineError;
use crate::session::CATALOG_NAME;

/// The list of the one catalog.
#[derive(Debug)]
pub(super) struct CatalogList {
    catalog: Arc<OneCatalog>,
}

impl CatalogList {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog: Arc::new(OneCatalog { catalog }) }
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
}

impl CatalogProvider for OneCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.catalog.schemas()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.catalog.schema_location(name)?;
        Some(Arc::new(OneSchema { catalog: Arc::clone(&self.catalog), name: name.to_owned() }))
    }
}

#[derive(Debug)]
struct OneSchema {
    catalog: Arc<Catalog>,
    name: String,
}

#[async_trait]
impl SchemaProvider for OneSchema {
    fn table_names(&self) -> Vec<String> {
        self.catalog.entry_names(&self.name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match self.catalog.entry(&self.name, name) {
            None => Ok(None),
            Some(Entry::Table(def)) => {
                let table = FilesTable::new(&def).map_err(EngineError::from)?;
                Ok(Some(Arc::new(table)))
            }
            Some(Entry::View(view)) => Ok(Some(Arc::new(view_table(&view)?))),
        }
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.catalog.entry(&self.name, name).map(|entry| match entry {
            Entry::Table(_) => TableType::Base,
            Entry::View(_) => TableType::View,
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.catalog.entry(&self.name, name).is_some()
    }
}

fn view_table(view: &ViewDef) -> Result<ViewTable> {
    let plan = view.plan.clone().map_err(|why| EngineError::from(unplannable(view, &why)))?;
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
