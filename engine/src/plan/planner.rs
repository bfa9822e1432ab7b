//! The query planner of our sessions: DataFusion's own, which also knows our logical nodes.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use super::gather::GatherPlanner;

/// Plans queries, `Gather` included.
#[derive(Debug, Default)]
pub struct PlanQueries;

#[async_trait]
impl QueryPlanner for PlanQueries {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(GatherPlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}
