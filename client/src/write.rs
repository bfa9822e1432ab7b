//! Sends a DataFrame to the cluster: its plan and where the rows go. What runs is a run like any other.

use async_trait::async_trait;
use datafusion::dataframe::DataFrame;
use selvedge_proto::v1;
use selvedge_proto::v1::write_target::Target;

use crate::codec;
use crate::connect::Selvedge;
use crate::error::Result;
use crate::handle::RunHandle;
use crate::runs::Submission;
use crate::session::absolute;

/// What a write does to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Adds rows.
    Append,
    /// Replaces the partitions present in the result, or everything when the target is not partitioned.
    Overwrite,
}

impl From<WriteMode> for v1::WriteMode {
    fn from(mode: WriteMode) -> Self {
        match mode {
            WriteMode::Append => Self::Append,
            WriteMode::Overwrite => Self::Overwrite,
        }
    }
}

/// Ends a DataFrame with a write on the cluster.
#[async_trait]
pub trait DataFrameExt {
    /// Writes to an existing table. Columns are matched by name. (DataFusion has a `write_table` of its own, which would
    /// run here.)
    ///
    /// # Errors
    /// When the plan holds something that only exists in this process, the scheduler refuses it, or nobody answers.
    async fn write_to_table(self, cluster: &Selvedge, table: &str, mode: WriteMode) -> Result<RunHandle>;

    /// Overwrites a Parquet location, in Hive directories by the columns of `partition_by`: see [`WriteMode::Overwrite`].
    ///
    /// # Errors
    /// As [`Self::write_to_table`].
    async fn write_parquet_to(self, cluster: &Selvedge, location: &str, partition_by: &[&str]) -> Result<RunHandle>;

    /// Any write, with the run's name, queue and settings.
    ///
    /// # Errors
    /// As [`Self::write_to_table`].
    async fn write_with(
        self,
        cluster: &Selvedge,
        target: WriteTarget,
        mode: WriteMode,
        submission: Submission,
    ) -> Result<RunHandle>;
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteTarget {
    /// An existing table.
    Table(String),
    /// A Parquet location, in Hive directories by these columns.
    Parquet {
        /// A directory: URL, or local path.
        location: String,
        /// The columns that name its directories.
        partition_by: Vec<String>,
    },
}

#[async_trait]
impl DataFrameExt for DataFrame {
    async fn write_to_table(self, cluster: &Selvedge, table: &str, mode: WriteMode) -> Result<RunHandle> {
        self.write_with(cluster, WriteTarget::Table(table.to_owned()), mode, Submission::default()).await
    }

    async fn write_parquet_to(self, cluster: &Selvedge, location: &str, partition_by: &[&str]) -> Result<RunHandle> {
        let partition_by = partition_by.iter().map(|&c| c.to_owned()).collect();
        let target = WriteTarget::Parquet { location: location.to_owned(), partition_by };
        self.write_with(cluster, target, WriteMode::Overwrite, Submission::default()).await
    }

    async fn write_with(
        self,
        cluster: &Selvedge,
        target: WriteTarget,
        mode: WriteMode,
        submission: Submission,
    ) -> Result<RunHandle> {
        let plan = plan_message(self, target, mode)?;
        cluster.submit(v1::submit_run_request::Job::Plan(plan), submission).await
    }
}

/// The plan as built, not optimised: the scheduler knows the tables' statistics, this process does not.
fn plan_message(frame: DataFrame, target: WriteTarget, mode: WriteMode) -> Result<v1::DataFramePlan> {
    let logical_plan = codec::encode(frame.logical_plan())?;
    let (target, partition_by) = match target {
        WriteTarget::Table(name) => (Target::Table(name), Vec::new()),
        WriteTarget::Parquet { location, partition_by } => (Target::Location(absolute(&location)?), partition_by),
    };
    let target = v1::WriteTarget { target: Some(target), mode: v1::WriteMode::from(mode) as i32, partition_by };
    Ok(v1::DataFramePlan { logical_plan: logical_plan.into(), target: Some(target) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::common::TableReference;
    use datafusion::functions_aggregate::expr_fn::sum;
    use datafusion::logical_expr::ExprFunctionExt as _;
    use datafusion::prelude::{SessionContext, col, lit};
    use datafusion_proto::protobuf::LogicalPlanNode;
    use datafusion_proto::protobuf::logical_plan_node::LogicalPlanType;
    use prost::Message as _;

    use super::*;
    use crate::functions::{call, call_window};
    use crate::session::frame_on;
    use crate::table::NamedTable;

    fn orders() -> DataFrame {
        let fields = vec![Field::new("k", DataType::Int64, true), Field::new("price", DataType::Float64, true)];
        let table = NamedTable::new("public.orders".into(), Arc::new(Schema::new(fields)));
        frame_on(table, TableReference::bare("orders")).unwrap()
    }

    #[test]
    fn a_scan_travels_as_the_table_s_name_alone() {
        let target = WriteTarget::Table("t".into());
        let message = plan_message(orders(), target, WriteMode::Append).unwrap();
        let node = LogicalPlanNode::decode(message.logical_plan).unwrap();
        let Some(LogicalPlanType::CustomScan(scan)) = node.logical_plan_type else { panic!("{node:?}") };
        assert_eq!(scan.custom_table_data, b"public.orders");
    }

    #[test]
    fn windows_aggregates_and_spark_functions_can_be_sent() {
        let rank = call_window("row_number", vec![])
            .unwrap()
            .partition_by(vec![col("k")])
            .order_by(vec![col("price").sort(false, false)])
            .build()
            .unwrap();
        let frame = orders()
            .window(vec![rank.alias("n")])
            .unwrap()
            .filter(col("n").lt_eq(lit(3)))
            .unwrap()
            .aggregate(vec![call("pmod", vec![col("k"), lit(10_i64)]).unwrap().alias("b")], vec![sum(col("price"))])
            .unwrap();
        let target = WriteTarget::Parquet { location: "s3://b/x".into(), partition_by: vec!["b".into()] };
        let message = plan_message(frame, target, WriteMode::Overwrite).unwrap();
        assert_eq!(message.target.unwrap().partition_by, ["b"]);
    }

    #[tokio::test]
    async fn collecting_a_cluster_s_table_here_says_what_to_do_instead() {
        let error = orders().collect().await.unwrap_err().to_string();
        assert!(error.contains("write_to_table"), "{error}");
    }

    #[tokio::test]
    async fn a_table_of_this_process_is_refused_by_name() {
        let local = SessionContext::new();
        local.register_batch("mine", arrow::array::RecordBatch::new_empty(Arc::new(Schema::empty()))).unwrap();
        let frame = local.table("mine").await.unwrap();
        let error = plan_message(frame, WriteTarget::Table("t".into()), WriteMode::Append).unwrap_err();
        assert!(error.to_string().contains("'mine'"), "{error}");
    }
}
