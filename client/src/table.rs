//! A table of the cluster as this process knows it: a name and a schema. It can be planned on, and is never read here.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// A table by the name under which the scheduler resolves it.
#[derive(Debug)]
pub(crate) struct NamedTable {
    name: String,
    schema: SchemaRef,
}

impl NamedTable {
    pub(crate) fn new(name: String, schema: SchemaRef) -> Self {
        Self { name, schema }
    }

    /// What travels in a plan.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[async_trait]
impl TableProvider for NamedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::NotImplemented(format!(
            "table '{}' is on the cluster and cannot be read in this process. End the DataFrame with write_to_table() or \
             write_parquet_to(), or ask for rows with Selvedge::query()",
            self.name
        )))
    }
}
