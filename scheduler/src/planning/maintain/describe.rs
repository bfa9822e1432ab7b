//! `DESCRIBE HISTORY` and `DESCRIBE DETAIL`: rows from a table's log.

use std::collections::BTreeMap;

use selvedge_engine::delta::{HistoryEntry, time_text};
use selvedge_model::Failure;
use serde::Serialize;

use super::Table;
use crate::planning::{Planned, show};

/// The newest version first.
pub(super) async fn history(table: &Table, limit: Option<usize>) -> Result<Planned, Failure> {
    let Some(snapshot) = &table.snapshot else { return Ok(Planned::done("described")) };
    let entries = snapshot.history(limit).await?;
    let row = |entry: HistoryEntry| {
        vec![
            entry.version.to_string(),
            time_text(entry.timestamp_ms),
            entry.operation.unwrap_or_default(),
            json(&entry.parameters),
            json(&entry.metrics),
            entry.run.unwrap_or_default(),
            entry.engine.unwrap_or_default(),
        ]
    };
    let columns = ["version", "time", "operation", "parameters", "metrics", "run", "engine"];
    show::done(&columns, entries.into_iter().map(row).collect())
}

pub(super) async fn detail(table: &Table) -> Result<Planned, Failure> {
    let Some(snapshot) = &table.snapshot else { return Ok(Planned::done("described")) };
    let files = snapshot.files().await?;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    let row = vec![
        table.def.name.to_string(),
        table.def.format.to_string(),
        snapshot.table_id().to_owned(),
        table.def.location.to_string(),
        snapshot.version().to_string(),
        snapshot.partition_by().join(", "),
        files.len().to_string(),
        bytes.to_string(),
        json(snapshot.properties()),
    ];
    let columns = ["name", "format", "id", "location", "version", "partition_columns", "files", "bytes", "properties"];
    show::done(&columns, vec![row])
}

fn json<T: Serialize>(map: &BTreeMap<String, T>) -> String {
    match map.is_empty() {
        true => String::new(),
        false => serde_json::to_string(map).unwrap_or_default(),
    }
}
