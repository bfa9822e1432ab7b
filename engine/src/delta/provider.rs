//! Scans a version of a table.
//!
//! The version is pinned when the provider is made. Files come from the log, so nothing is listed; those that filters rule
//! out are left out before any is opened. The scan node is the same as for tables of files (`catalog/scan.rs`). Columns
//! that older files lack are NULL.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::Session;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::{Statistics, project_schema};
use datafusion::datasource::TableProvider;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectMeta;
use object_store::path::Path;
use selvedge_model::Failure;

use super::prune::{by_partition, by_statistics};
use super::snapshot::{DeltaFile, DeltaSnapshot};
use super::statistics::file_statistics;
use super::version::VersionSpec;
use crate::catalog::{
    FileScan, Format, Wanted, decided_by_partitions, file_format, filter_pushdown, plain_schema, summed,
    with_partitions,
};
use crate::error::EngineError;

/// A version of a table, to be scanned.
#[derive(Debug)]
pub struct DeltaTable {
    snapshot: Arc<DeltaSnapshot>,
    spec: VersionSpec,
    partitions: Vec<FieldRef>,
    table_schema: TableSchema,
}

impl DeltaTable {
    /// A provider of all columns. `spec` is how the version was asked for.
    pub fn new(snapshot: Arc<DeltaSnapshot>, spec: VersionSpec) -> Self {
        // Comments and defaults are nothing for plans, which compare schemas with all that is in them.
        let fields = snapshot.schema().fields().iter();
        let bare = fields.map(|f| f.as_ref().clone().with_metadata(Default::default()));
        let schema = plain_schema(&Schema::new(bare.collect::<Vec<_>>()));
        let data = schema.fields().len().saturating_sub(snapshot.partition_by().len());
        let columns: Fields = schema.fields().iter().take(data).cloned().collect();
        let partitions: Vec<FieldRef> = schema.fields().iter().skip(data).cloned().collect();
        let table_schema =
            TableSchema::builder(Arc::new(Schema::new(columns))).with_table_partition_cols(partitions.clone()).build();
        Self { snapshot, spec, partitions, table_schema }
    }

    /// The same columns over another version: what a view needs, whose plan is older than the table. Columns that came
    /// since are not seen.
    ///
    /// # Errors
    /// `SCHEMA_MISMATCH` when a column is gone or has another type.
    pub(crate) fn over(&self, snapshot: Arc<DeltaSnapshot>) -> Result<Self, Failure> {
        let mismatch = |why: String| {
            let cause = format!("the table at {} has changed: {why}", snapshot.location());
            Failure::user("SCHEMA_MISMATCH", cause).with_hint("Make the view anew: CREATE OR REPLACE VIEW")
        };
        for field in self.schema().fields() {
            match snapshot.schema().field_with_name(field.name()) {
                Ok(now) if now.data_type() == field.data_type() => {}
                Ok(now) => return Err(mismatch(format!("column {} is {} now", field.name(), now.data_type()))),
                Err(_) => return Err(mismatch(format!("column {} is gone", field.name()))),
            }
        }
        if !snapshot.partition_by().iter().eq(self.partitions.iter().map(|f| f.name())) {
            return Err(mismatch("its partition columns are others now".to_owned()));
        }
        let (partitions, table_schema) = (self.partitions.clone(), self.table_schema.clone());
        Ok(Self { snapshot, spec: self.spec, partitions, table_schema })
    }

    /// The version that is scanned.
    pub fn snapshot(&self) -> &Arc<DeltaSnapshot> {
        &self.snapshot
    }

    /// How that version was asked for.
    pub fn spec(&self) -> VersionSpec {
        self.spec
    }

    /// Whether a filter asks for partition columns alone, so that it is answered by leaving out files.
    pub fn decided_by_partitions(&self, filter: &Expr) -> bool {
        decided_by_partitions(&self.partitions, filter)
    }

    /// Files that may hold rows that the filters want.
    ///
    /// # Errors
    /// As [`DeltaSnapshot::files`], and when a filter cannot be evaluated.
    pub async fn wanted_files(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<DeltaFile>> {
        let files = self.snapshot.files().await.map_err(EngineError::from)?;
        let found = self.found(state, &files, filters)?;
        Ok(found.into_iter().map(|(file, _)| file.clone()).collect())
    }

    fn found<'a>(
        &self,
        state: &dyn Session,
        files: &'a [DeltaFile],
        filters: &[Expr],
    ) -> Result<Vec<(&'a DeltaFile, Arc<Statistics>)>> {
        let (on_partitions, others): (Vec<&Expr>, Vec<&Expr>) =
            filters.iter().partition(|f| self.decided_by_partitions(f));
        let files = by_partition(state, files, &self.partitions, &on_partitions)?;
        let known: Vec<Arc<Statistics>> = files.iter().map(|file| self.known(file)).collect();
        if others.is_empty() {
            return Ok(files.into_iter().zip(known).collect());
        }
        let others: Vec<Expr> = others.into_iter().cloned().collect();
        let keeps = by_statistics(state, &known, &self.schema(), &others)?;
        let pairs = files.into_iter().zip(known).zip(keeps);
        Ok(pairs.filter_map(|(pair, keep)| keep.then_some(pair)).collect())
    }

    fn known(&self, file: &DeltaFile) -> Arc<Statistics> {
        let of_columns = file_statistics(file, self.table_schema.file_schema());
        Arc::new(with_partitions(of_columns, file.bytes, &file.partition))
    }

    /// A scan of all rows of some files, in at most `partitions` parts.
    pub(super) async fn scan_files(
        &self,
        state: &dyn Session,
        wanted: Wanted<'_>,
        partitions: usize,
        files: &[DeltaFile],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let known = files.iter().map(|file| (file, self.known(file))).collect();
        self.scan_known(state, wanted, partitions, known).await
    }

    async fn scan_known(
        &self,
        state: &dyn Session,
        wanted: Wanted<'_>,
        partitions: usize,
        files: Vec<(&DeltaFile, Arc<Statistics>)>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), wanted.projection)?)));
        }
        let files = files.into_iter().map(|(file, known)| self.partitioned(file, known)).collect::<Result<Vec<_>>>()?;
        let total = summed(&files, &self.schema())?;
        let uncompressed = CompressionTypeVariant::UNCOMPRESSED;
        let format = file_format(Format::Parquet, &BTreeMap::new(), uncompressed, state.config_options())
            .map_err(EngineError::from)?;
        let (location, table_schema) = (self.snapshot.location(), &self.table_schema);
        FileScan { location, format: &format, table_schema, partitions, wanted }.plan(state, files, total).await
    }

    fn partitioned(&self, file: &DeltaFile, known: Arc<Statistics>) -> Result<PartitionedFile> {
        let root = self.snapshot.location().path();
        let key = if root.as_ref().is_empty() { file.path.clone() } else { format!("{root}/{}", file.path) };
        let location = Path::parse(&key).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let last_modified = DateTime::from_timestamp_millis(file.modified_ms).unwrap_or_default();
        let meta = ObjectMeta { location, last_modified, size: file.bytes, e_tag: None, version: None };
        let mut scanned = PartitionedFile::new_from_meta(meta).with_partition_values(file.partition.clone());
        scanned.statistics = Some(known);
        Ok(scanned)
    }
}

#[async_trait]
impl TableProvider for DeltaTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table_schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filter_pushdown(&self.partitions, filters))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.snapshot.files().await.map_err(EngineError::from)?;
        let found = self.found(state, &files, filters)?;
        let partitions = state.config().target_partitions().max(1);
        self.scan_known(state, Wanted { projection, limit }, partitions, found).await
    }
}
