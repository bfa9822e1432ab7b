//! The files that may hold rows which a statement changes, found by the filters that reach the scan of its table.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use selvedge_engine::delta::{DeltaFile, DeltaFiles, DeltaTable, partitions_read};
use selvedge_engine::error::classify;
use selvedge_model::Failure;
use selvedge_model::delta::PartitionSet;

use super::scope::{has_subquery, reference};
use super::update::filtered;

/// Files of a version, and how they were found.
pub(super) struct Candidates {
    pub files: Vec<DeltaFile>,
    /// The partitions of the table that were looked at.
    pub searched: PartitionSet,
    /// Whether every row of every file is wanted.
    pub is_whole: bool,
}

impl Candidates {
    /// The files that may hold rows of `target`, a scan of the table, for which the condition holds; all without one.
    pub async fn matching(
        state: &SessionState,
        version: &DeltaTable,
        target: &LogicalPlan,
        condition: Option<&Expr>,
    ) -> Result<Self, Failure> {
        match condition {
            Some(condition) => Self::find(state, version, &filtered(target.clone(), condition.clone())?).await,
            None => Self::find(state, version, target).await,
        }
    }

    /// The files that may hold rows of `probe`, which reads the table and keeps the rows that are wanted.
    pub async fn find(state: &SessionState, version: &DeltaTable, probe: &LogicalPlan) -> Result<Self, Failure> {
        let optimized = state.optimize(probe).map_err(|e| classify(&e))?;
        let searched = partitions_read(&optimized, version.snapshot().location()).map_err(|e| classify(&e))?;
        let found = scan_of(&optimized)?;
        // Nothing is read when the optimizer has seen that nothing can be wanted.
        let Some(filters) = found.filters else { return Ok(Self { files: vec![], searched, is_whole: false }) };
        let filters: Vec<Expr> = unnormalize_cols(filters.iter().flat_map(split_conjunction).cloned());
        let decided = |filter: &Expr| version.decided_by_partitions(filter) && !has_subquery(filter);
        let is_whole = found.is_plain && filters.iter().all(decided);
        // What a subquery answers is not known before it runs.
        let known: Vec<Expr> = filters.into_iter().filter(|filter| !has_subquery(filter)).collect();
        let files = version.wanted_files(state, &known).await.map_err(|e| classify(&e))?;
        Ok(Self { files, searched, is_whole })
    }

    /// How many rows the files have, when the log says.
    pub fn rows(&self) -> Option<u64> {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// `plan`, which scans the table, over these files alone and all their rows.
    pub fn scanned_by(&self, plan: LogicalPlan, version: &Arc<DeltaTable>) -> Result<LogicalPlan, Failure> {
        let files: Arc<dyn TableProvider> = Arc::new(DeltaFiles::new(Arc::clone(version), self.files.clone()));
        let source = provider_as_source(files);
        let replaced = plan.transform_down(|node| match node {
            LogicalPlan::TableScan(scan) if scan.table_name == reference() => {
                let scan = TableScan { source: Arc::clone(&source), ..scan };
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            node => Ok(Transformed::no(node)),
        });
        replaced.data().map_err(|e| classify(&e))
    }
}

/// How an optimized plan scans the table.
#[derive(Default)]
struct Scan {
    /// The filters that reached the scan; none when there is no scan.
    filters: Option<Vec<Expr>>,
    /// Whether no other node takes rows away or adds some.
    is_plain: bool,
}

fn scan_of(plan: &LogicalPlan) -> Result<Scan, Failure> {
    let mut scan = Scan { filters: None, is_plain: true };
    let walked = plan.apply(|node| {
        match node {
            LogicalPlan::TableScan(found) if found.table_name == reference() => {
                scan.filters = Some(found.filters.clone());
                scan.is_plain &= found.fetch.is_none();
            }
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {}
            _ => scan.is_plain = false,
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|e| classify(&e))?;
    Ok(scan)
}
