//! Checkpoints: every so many versions the log's state is written down, so that readers need not go through all commits.

use deltalake_core::DeltaTable as LogTable;
use deltalake_core::checkpoints::create_checkpoint;

use super::log::{DeltaLog, number};
use super::metadata::TableInfo;

const INTERVAL_KEY: &str = "delta.checkpointInterval";
/// Versions between checkpoints, unless the table says otherwise.
const INTERVAL: i64 = 10;

/// Whether a checkpoint is due at a version.
fn is_due(version: i64, info: &TableInfo) -> bool {
    let said = info.properties.get(INTERVAL_KEY).and_then(|v| v.parse::<i64>().ok()).filter(|v| *v > 0);
    version > 0 && version % said.unwrap_or(INTERVAL) == 0
}

/// Writes the checkpoint of a version that was just committed, if it is due. The commit stands whatever becomes of it: a
/// later one will be written.
pub(super) async fn write_if_due(log: &DeltaLog, table: &mut LogTable, version: i64, info: &TableInfo) {
    if !is_due(version, info) {
        return;
    }
    let written = async {
        let number = number(version).map_err(deltalake_core::DeltaTableError::generic)?;
        Box::pin(table.load_version(number)).await?;
        Box::pin(create_checkpoint(table, None)).await
    };
    if let Err(error) = written.await {
        tracing::warn!(%error, table = %log.location(), version, "could not write a checkpoint");
    }
}
