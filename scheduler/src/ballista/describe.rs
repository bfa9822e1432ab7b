//! Says in a few words what a stage does: its operators from the root down, what it reads last.
//!
//! Pure. Only names that help a person find the part of their SQL: no partition counts, columns or expressions.

use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec, UnresolvedShuffleExec};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

/// Names shown at most, the leaves not counted.
const MAX_OPERATORS: usize = 6;

/// Operators that say nothing of the SQL.
const PLUMBING: [&str; 12] = [
    "ShuffleWriterExec",
    "SortShuffleWriterExec",
    "RangeShuffleWriterExec",
    "RepartitionExec",
    "CoalescePartitionsExec",
    "CoalesceBatchesExec",
    "CooperativeExec",
    "BufferExec",
    "ProjectionExec",
    "SortPreservingMergeExec",
    "PlaceholderRowExec",
    "AdaptiveDatafusionExec",
];

/// `Aggregate, HashJoin, Filter < lineitem, stage 2`.
pub(super) fn describe(plan: &dyn ExecutionPlan) -> String {
    let (mut operators, mut leaves) = (Vec::new(), Vec::new());
    walk(plan, &mut operators, &mut leaves);
    operators.dedup();
    let mut text = operators.iter().take(MAX_OPERATORS).map(String::as_str).collect::<Vec<_>>().join(", ");
    if operators.len() > MAX_OPERATORS {
        text.push_str(", ...");
    }
    leaves.dedup();
    let sources = leaves.join(", ");
    match (text.is_empty(), sources.is_empty()) {
        (true, true) => "Values".to_owned(),
        (true, false) => format!("Scan < {sources}"),
        (false, true) => text,
        (false, false) => format!("{text} < {sources}"),
    }
}

/// What a stage reads: tables, files, other stages.
pub(super) fn sources(plan: &dyn ExecutionPlan) -> Vec<String> {
    let (mut operators, mut leaves) = (Vec::new(), Vec::new());
    walk(plan, &mut operators, &mut leaves);
    leaves.dedup();
    leaves
}

fn walk(plan: &dyn ExecutionPlan, operators: &mut Vec<String>, leaves: &mut Vec<String>) {
    if let Some(leaf) = leaf(plan) {
        leaves.push(leaf);
        return;
    }
    let name = plan.name();
    if !PLUMBING.contains(&name) {
        operators.push(name.trim_end_matches("Exec").to_owned());
    }
    for child in plan.children() {
        walk(child.as_ref(), operators, leaves);
    }
}

fn leaf(plan: &dyn ExecutionPlan) -> Option<String> {
    if let Some(reader) = plan.downcast_ref::<ShuffleReaderExec>() {
        return Some(format!("stage {}", reader.stage_id));
    }
    if let Some(reader) = plan.downcast_ref::<UnresolvedShuffleExec>() {
        return Some(format!("stage {}", reader.stage_id));
    }
    if let Some(reader) = plan.downcast_ref::<RangeShuffleReaderExec>() {
        return Some(format!("stage {}", reader.stage_id));
    }
    let source = plan.downcast_ref::<DataSourceExec>()?.data_source();
    match source.downcast_ref::<FileScanConfig>() {
        Some(files) => Some(files_name(files)),
        None => Some("values".to_owned()),
    }
}

/// The table's directory, or the file when it stands alone.
fn files_name(files: &FileScanConfig) -> String {
    let mut paths = files.file_groups.iter().flat_map(|group| group.iter()).map(|f| f.object_meta.location.as_ref());
    let Some(first) = paths.next() else { return "no files".to_owned() };
    if paths.next().is_none() {
        return first.rsplit('/').next().unwrap_or(first).to_owned();
    }
    let directories = first.rsplit('/').skip(1);
    let named = directories.into_iter().find(|segment| !segment.contains('='));
    named.unwrap_or(first).to_owned()
}
