//! Scans given files of a version, all their rows: what a statement reads that writes the rows of files anew.
//!
//! Filters leave out no file here, for each of them is to be replaced. It is no [`DeltaTable`], and so is not counted by
//! [`partitions_read`](super::partitions_read): that these files are still there is a rule of the commit of its own.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::datasource::TableProvider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::provider::DeltaTable;
use super::snapshot::DeltaFile;
use crate::catalog::Wanted;

/// Some of a version's files, to be scanned.
#[derive(Debug)]
pub struct DeltaFiles {
    table: Arc<DeltaTable>,
    files: Vec<DeltaFile>,
    /// How many parts to scan in, when the session is not to decide.
    partitions: Option<usize>,
}

impl DeltaFiles {
    /// A provider of all columns of `files`, which are files of the table's version.
    pub fn new(table: Arc<DeltaTable>, files: Vec<DeltaFile>) -> Self {
        Self { table, files, partitions: None }
    }

    /// The same, scanned in at most so many parts.
    #[must_use]
    pub fn in_partitions(self, partitions: usize) -> Self {
        Self { partitions: Some(partitions.max(1)), ..self }
    }
}

#[async_trait]
impl TableProvider for DeltaFiles {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = self.partitions.unwrap_or_else(|| state.config().target_partitions().max(1));
        self.table.scan_files(state, Wanted { projection, limit }, partitions, &self.files).await
    }
}
