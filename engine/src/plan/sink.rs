//! The sink table: turns a query's plan into a write, first the logical node, then the physical one.
//!
//! Checks here are the last before work starts, so they speak to the person who wrote the SQL. Next: `spread.rs`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, TableReference, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{
    DmlStatement, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, TableType, WriteOp,
};
use datafusion::physical_plan::ExecutionPlan;
use selvedge_model::words::counted;

use super::contract::{PlannedExpectation, write_checks};
use super::spec::{SinkSpec, WriteSpec};
use super::spread::SpreadExec;
use super::write_exec::WriteExec;
use crate::write::{can_partition, compression};

/// Makes the plan that writes the rows of `input`: its columns are taken by position, cast to the spec's types.
///
/// Executed, it yields the manifest of staged files, see [`super::manifest_rows`]; nothing is visible until they are
/// published.
///
/// # Errors
/// A schema that does not fit, a partition column that is unknown or cannot name a directory, an unknown compression.
pub fn write_plan(input: LogicalPlan, spec: WriteSpec) -> Result<LogicalPlan> {
    check(&spec)?;
    let input = fit(input, &spec)?;
    let name = TableReference::bare(spec.location.to_string());
    let target = provider_as_source(Arc::new(SinkTable { spec, contract: Vec::new() }));
    let write = DmlStatement::new(name, target, WriteOp::Insert(InsertOp::Append), Arc::new(input));
    Ok(LogicalPlan::Dml(write))
}

fn check(spec: &WriteSpec) -> Result<()> {
    let fields = spec.schema.fields();
    let Some(data_columns) = fields.len().checked_sub(spec.partition_by.len()).filter(|n| *n > 0) else {
        return plan_err!("every column of '{}' is a partition column: its files would have none", spec.location);
    };
    for (field, name) in fields[data_columns..].iter().zip(&spec.partition_by) {
        if field.name() != name {
            return plan_err!("partition column '{name}' must stand where '{}' is: after all others", field.name());
        }
        if !can_partition(field.data_type()) {
            return plan_err!("column '{name}' cannot partition a table: it is of type {}", field.data_type());
        }
    }
    if spec.single_file.is_some() && !spec.partition_by.is_empty() {
        return plan_err!("a write with partition columns needs a directory, not the single file '{}'", spec.location);
    }
    compression(&spec.compression).map(|_| ())
}

/// Gives the input the names and types of the target.
fn fit(input: LogicalPlan, spec: &WriteSpec) -> Result<LogicalPlan> {
    let (given, wanted) = (input.schema().clone(), &spec.schema);
    if given.fields().len() != wanted.fields().len() {
        let names = wanted.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>().join(", ");
        return plan_err!(
            "the query gives {}, but '{}' takes {}: {names}",
            counted(given.fields().len(), "column"),
            spec.location,
            wanted.fields().len()
        );
    }
    let fits = |((_, have), want): ((Option<&TableReference>, &Arc<_>), &Arc<arrow::datatypes::Field>)| {
        let have: &Arc<arrow::datatypes::Field> = have;
        have.name() == want.name() && have.data_type() == want.data_type()
    };
    if given.iter().zip(wanted.fields()).all(fits) {
        return Ok(input);
    }
    let columns = given.iter().zip(wanted.fields()).map(|((qualifier, have), want)| {
        let column = Expr::Column(Column::new(qualifier.cloned(), have.name()));
        Ok(column.cast_to(want.data_type(), &given)?.alias(want.name()))
    });
    LogicalPlanBuilder::from(input).project(columns.collect::<Result<Vec<_>>>()?)?.build()
}

/// The table that a write inserts into. It can only be written.
#[derive(Debug)]
pub(super) struct SinkTable {
    spec: WriteSpec,
    /// What is expected of the rows.
    contract: Vec<PlannedExpectation>,
}

impl SinkTable {
    /// The same, with another contract.
    pub(super) fn expecting(&self, contract: Vec<PlannedExpectation>) -> Self {
        Self { spec: self.spec.clone(), contract }
    }

    pub(super) fn contract(&self) -> &[PlannedExpectation] {
        &self.contract
    }
}

#[async_trait]
impl TableProvider for SinkTable {
    fn schema(&self) -> SchemaRef {
        self.spec.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan_err!("'{}' is the target of a write and cannot be read by it", self.spec.location)
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        _op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let spec = SinkSpec::from(&self.spec);
        let input: Arc<dyn ExecutionPlan> = match spec.partition_by.is_empty() || !self.spec.is_spread {
            true => input,
            false => {
                let spreaders = input.output_partitioning_count().max(state.config().target_partitions());
                let columns = (spec.data_columns..spec.data_columns + spec.partition_by.len()).collect();
                Arc::new(SpreadExec::new(input, columns, spec.target_file_bytes, spreaders))
            }
        };
        let checks = write_checks(&self.contract, state, &self.spec.schema)?;
        Ok(Arc::new(WriteExec::new(input, Arc::new(spec), Arc::new(checks))))
    }
}

/// Shorthand for a plan's number of partitions.
trait PartitionCount {
    fn output_partitioning_count(&self) -> usize;
}

impl PartitionCount for Arc<dyn ExecutionPlan> {
    fn output_partitioning_count(&self) -> usize {
        self.properties().output_partitioning().partition_count()
    }
}
