//! `WriteExec`: every partition of its input is one writer, which stages files and reports them as manifest rows.
//!
//! It keeps the partitions it is given and asks for what makes good files: rows of one partition value together (up to a
//! chunk, see `spread.rs`). They may come in any order: what cannot be written at once is sorted here, on disk if need be.
//! Unpartitioned writes ask for nothing, and keep the input's order. It must not publish. Next: `manifest.rs`.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    EquivalenceProperties, LexOrdering, OrderingRequirements, Partitioning, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{Boundedness, CardinalityEffect, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, PlanProperties,
};
use futures::{StreamExt, stream};
use selvedge_model::expectation::WriterReport;
use selvedge_model::manifest::StagedFile;

use super::manifest;
use super::spec::SinkSpec;
use super::spread::CHUNK_COLUMN;
use crate::store::ObjectStores;
use crate::write::{
    Checked, Overflow, Rejects, RowChecker, RowLayout, TableStore, TaskMetrics, TaskTag, TaskWriter, WriteChecks,
};

/// Writes its input as files of a table and yields their manifest.
#[derive(Debug)]
pub struct WriteExec {
    input: Arc<dyn ExecutionPlan>,
    spec: Arc<SinkSpec>,
    checks: Arc<WriteChecks>,
    /// Order of the input when the write was planned, which an unpartitioned write keeps.
    order: Option<LexOrdering>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl WriteExec {
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, spec: Arc<SinkSpec>, checks: Arc<WriteChecks>) -> Self {
        let order = match spec.partition_by.is_empty() {
            true => input.properties().output_ordering().cloned(),
            false => None,
        };
        Self::with_order(input, (spec, checks), order)
    }

    fn with_order(
        input: Arc<dyn ExecutionPlan>,
        (spec, checks): (Arc<SinkSpec>, Arc<WriteChecks>),
        order: Option<LexOrdering>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(manifest::schema()),
            Partitioning::UnknownPartitioning(input.properties().output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Self { input, spec, checks, order, properties, metrics }
    }

    pub(crate) fn spec(&self) -> &SinkSpec {
        &self.spec
    }

    pub(crate) fn checks(&self) -> &WriteChecks {
        &self.checks
    }

    fn partition_columns(&self) -> impl Iterator<Item = Arc<dyn PhysicalExpr>> + '_ {
        let first = self.spec.data_columns;
        let names = self.spec.partition_by.iter().enumerate();
        names.map(move |(i, name)| Arc::new(Column::new(name, first + i)) as Arc<dyn PhysicalExpr>)
    }

    fn distribution(&self) -> Distribution {
        if self.spec.single_file.is_some() {
            return Distribution::SinglePartition;
        }
        if self.spec.partition_by.is_empty() || is_empty(&self.input) {
            return Distribution::UnspecifiedDistribution;
        }
        let mut keys: Vec<_> = self.partition_columns().collect();
        if let Ok(index) = self.input.schema().index_of(CHUNK_COLUMN) {
            keys.push(Arc::new(Column::new(CHUNK_COLUMN, index)));
        }
        Distribution::KeyPartitioned(keys)
    }

    /// Where the rows go that the writer hands back, unless the write has one file at a time anyway.
    fn overflow(&self, context: &Arc<TaskContext>) -> Option<Overflow> {
        let order = LexOrdering::new(self.partition_columns().map(PhysicalSortExpr::new_default))?;
        Some(Overflow::new(self.input.schema(), order, context.clone()))
    }
}

/// Whether a plan is known to have no rows, whatever was put on top of the empty source meanwhile.
///
/// Asked to distribute such an input by key, AQE would add an exchange, find it empty, remove it, and begin again, without
/// end (docs/adr/0008). So the question looks through every node that declares it adds no rows. Were the
/// answer ever wrong, files would be laid out less well; no row would be lost.
fn is_empty(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<EmptyExec>() {
        return true;
    }
    // An aggregate says it adds no rows, but over nothing a grand total is one row. The optimizer's own marker, which it
    // may put below us while it plans, says nothing.
    let adds_no_rows = matches!(plan.cardinality_effect(), CardinalityEffect::Equal | CardinalityEffect::LowerEqual)
        && !plan.is::<AggregateExec>()
        || plan.is::<OutputRequirementExec>();
    match plan.children().as_slice() {
        [input] => adds_no_rows && is_empty(input),
        _ => false,
    }
}

impl DisplayAs for WriteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter) -> fmt::Result {
        write!(f, "WriteExec: to={}, format={}", self.spec.location, self.spec.format.extension())?;
        match self.spec.partition_by.as_slice() {
            [] => {}
            columns => write!(f, ", by=[{}]", columns.join(", "))?,
        }
        match self.checks.rows.as_slice() {
            [] => Ok(()),
            checks => {
                let shown = checks.iter().map(|check| check.condition.to_string()).collect::<Vec<_>>();
                write!(f, ", checks=[{}]", shown.join(", "))
            }
        }
    }
}

impl ExecutionPlan for WriteExec {
    fn name(&self) -> &str {
        "WriteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![self.distribution()])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone().map(OrderingRequirements::from)]
    }

    /// In the sense that files keep it: those of unpartitioned writes do.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.spec.partition_by.is_empty()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for check in &self.checks.rows {
            if f(&check.condition)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok([input]) = <[_; 1]>::try_from(children) else {
            return internal_err!("WriteExec takes one input");
        };
        Ok(Arc::new(Self::with_order(input, (self.spec.clone(), self.checks.clone()), self.order.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context.clone())?;
        let tag = TaskTag::new(&self.spec.job_id, context.task_id().as_deref(), partition);
        // Short of memory it ends row groups, and opens no more files.
        let consumer = MemoryConsumer::new(format!("WriteExec[{partition}]")).with_can_spill(true);
        let memory = consumer.register(context.memory_pool());
        let overflow = self.overflow(&context);
        let spec = &self.spec;
        let layout = RowLayout::new(&self.input.schema(), spec.data_columns, spec.partition_by.clone(), &spec.required);
        let checker = RowChecker::new(self.checks.clone(), spec, &self.input.schema());
        let metrics = TaskMetrics::new(&self.metrics, partition);
        let store = store_of(&context, spec)?;
        // A consumer that is registered takes of what the others may have.
        let keeps = self.checks.rows.iter().any(|check| check.kept_as.is_some());
        let rejects = keeps.then(|| {
            let memory = MemoryConsumer::new(format!("WriteExec[{partition}] rejected")).with_can_spill(true);
            Rejects::new(spec, store.clone(), tag.clone(), memory.register(context.memory_pool()))
        });
        let writer = TaskWriter::new(spec.clone(), store, tag.clone(), layout, memory, metrics)?;
        let writing = Writing { writer, checker, rejects };
        let output = stream::once(async move {
            let (files, report) = writing.all(input, overflow).await?;
            manifest::batch(&files, &tag.task(), tag.stage_attempt, report.as_ref())
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema_of(self), output)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn schema_of(exec: &WriteExec) -> SchemaRef {
    exec.properties.equivalence_properties().schema().clone()
}

/// What the rows of one writer go through.
struct Writing {
    writer: TaskWriter,
    checker: RowChecker,
    /// Where rows go that are left out, if they are kept.
    rejects: Option<Rejects>,
}

impl Writing {
    /// Stages all rows. With the files goes what was found of the expectations.
    async fn all(
        mut self,
        input: SendableRecordBatchStream,
        overflow: Option<Overflow>,
    ) -> Result<(Vec<StagedFile>, Option<WriterReport>)> {
        let written = self.rows(input, overflow).await;
        let Self { writer, checker, rejects } = self;
        if let Err(error) = written {
            let error = writer.abort(error).await;
            return Err(match rejects {
                Some(rejects) => rejects.abort(error).await,
                None => error,
            });
        }
        let rejected = match rejects {
            Some(rejects) => rejects.finish().await,
            None => Ok(Vec::new()),
        };
        let rejected = match rejected {
            Ok(files) => files,
            Err(error) => return Err(writer.abort(error).await),
        };
        let mut files = writer.finish().await?;
        files.extend(rejected);
        Ok((files, checker.report()))
    }

    async fn rows(&mut self, mut input: SendableRecordBatchStream, overflow: Option<Overflow>) -> Result<()> {
        let Some(mut overflow) = overflow else {
            while let Some(batch) = input.next().await {
                let rows = self.check(batch?).await?;
                self.writer.write_sorted(&rows).await?;
            }
            return Ok(());
        };
        while let Some(batch) = input.next().await {
            let rows = self.check(batch?).await?;
            if let Some(rest) = self.writer.write(&rows).await? {
                overflow.push(rest).await?;
            }
        }
        // The memory of what is below is not needed while the last files end.
        drop(input);
        self.writer.close_all().await?;
        if let Some(mut sorted) = overflow.finish() {
            while let Some(batch) = sorted.next().await {
                self.writer.write_sorted(&batch?).await?;
            }
        }
        Ok(())
    }

    /// The rows to write; those that are left out and kept are on their way.
    async fn check(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let Checked { rows, rejected } = self.checker.check(batch)?;
        if let (Some(rejects), Some(rejected)) = (&mut self.rejects, rejected) {
            rejects.write(&rejected).await?;
        }
        Ok(rows)
    }
}

fn store_of(context: &TaskContext, spec: &SinkSpec) -> Result<TableStore> {
    match context.session_config().get_extension::<ObjectStores>() {
        Some(stores) => {
            TableStore::open(&stores, &spec.location).map_err(|failure| DataFusionError::External(Box::new(failure)))
        }
        None if spec.location.is_local() => Ok(TableStore::local(&spec.location)?),
        None => internal_err!("the session that writes to '{}' carries no object stores", spec.location),
    }
}
