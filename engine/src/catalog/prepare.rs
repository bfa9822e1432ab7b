//! What an executor does to the scans of a plan it has decoded, before it runs.
//!
//! Gives scans of compressed text their compression back, which is lost when DataFusion encodes a plan, and wraps all
//! scans so that their errors name the file and what they read is counted (`located.rs`). Not done at planning: a prepared
//! scan cannot be encoded.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

use super::format::ending;
use super::located::LocatedSource;

/// Makes the scans of a decoded plan ready to run.
///
/// # Errors
/// None of its own; walking a plan may fail.
pub fn prepare_scans(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let prepared = plan.transform_up(|node| {
        let config = node.downcast_ref::<DataSourceExec>().map(DataSourceExec::data_source);
        match config.and_then(|source| source.downcast_ref::<FileScanConfig>()) {
            Some(config) => Ok(Transformed::yes(prepared_scan(config) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(node)),
        }
    })?;
    Ok(prepared.data)
}

fn prepared_scan(config: &FileScanConfig) -> Arc<DataSourceExec> {
    let source = config.file_source();
    let is_text = matches!(source.file_type(), "csv" | "json");
    // A scan's files are all compressed the same way: see `files.rs`.
    let first = config.file_groups.iter().flat_map(|group| group.iter()).next();
    let mut prepared = FileScanConfigBuilder::from(config.clone()).with_source(LocatedSource::wrap(Arc::clone(source)));
    if let Some(file) = first.filter(|_| is_text) {
        prepared = prepared.with_file_compression_type(ending(file.object_meta.location.as_ref()).into());
    }
    DataSourceExec::from_data_source(prepared.build())
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
