//! What a write comes to in a table's log: decided from what it staged, recorded in the journal, and later carried out.

use std::collections::BTreeMap;

use selvedge_engine::delta::{AddFile, Columns, DeltaSnapshot, LogChange, NewVersion, Operation, leading_key};
use selvedge_engine::write::rejected_schema;
use selvedge_model::Failure;
use selvedge_model::commit::WriteKind;
use selvedge_model::delta::{DeltaWrite, PartitionSet};
use selvedge_model::manifest::StagedFile;
use selvedge_model::publish::PublishId;

use crate::planning::{LogTarget, PlannedWrite};

/// What the log of `target` is to say once `files` are in place.
pub(super) fn change(
    write: &PlannedWrite,
    target: &LogTarget,
    id: &PublishId,
    files: &[StagedFile],
) -> Result<LogChange, Failure> {
    let add = |file| AddFile::of_staged(&write.location, &write.schema, &write.partition_by, file);
    let written = files.iter().map(add).collect::<Result<Vec<_>, _>>()?;
    let operation = measured(&target.operation, &written);
    let restored = target.change.restores.iter().flatten().cloned();
    let adds: Vec<AddFile> = written.into_iter().chain(restored).collect();
    let version = match &target.base {
        None => NewVersion::First(Columns::new(&write.schema, &write.partition_by)?),
        Some(base) => NewVersion::Next {
            table_id: base.table_id().to_owned(),
            base_version: base.version(),
            write: effect(write, target, &adds)?,
            reads: target.reads.clone(),
            searched: target.searched.clone(),
            changes_rows: target.changes_rows,
            columns: match target.replaces_columns {
                true => Some(Columns::new(&write.schema, &write.partition_by)?),
                false => None,
            },
            properties: target.change.properties.clone(),
        },
    };
    Ok(LogChange { app_id: app_id(id), run: Some(id.run.to_string()), operation, adds, version })
}

/// What the log of the table is to say that keeps the rows which are left out: `files` beside all others.
pub(super) fn rejected(
    write: &PlannedWrite,
    base: &DeltaSnapshot,
    id: &PublishId,
    files: &[StagedFile],
) -> Result<LogChange, Failure> {
    let add = |file| AddFile::of_staged(base.location(), &rejected_schema(), &[], file);
    let adds = files.iter().map(add).collect::<Result<Vec<_>, _>>()?;
    let operation = Operation {
        name: "WRITE".to_owned(),
        parameters: [("mode".to_owned(), "Append".into()), ("leftOutOf".to_owned(), write.target.clone().into())]
            .into(),
        metrics: BTreeMap::new(),
    };
    Ok(LogChange {
        app_id: app_id(id),
        run: Some(id.run.to_string()),
        operation: measured(&operation, &adds),
        adds,
        version: appended(base),
    })
}

/// A version with nothing but more files.
pub(super) fn appended(base: &DeltaSnapshot) -> NewVersion {
    NewVersion::Next {
        table_id: base.table_id().to_owned(),
        base_version: base.version(),
        write: DeltaWrite::Append,
        reads: PartitionSet::none(),
        searched: PartitionSet::none(),
        changes_rows: true,
        columns: None,
        properties: BTreeMap::new(),
    }
}

fn app_id(id: &PublishId) -> String {
    format!("selvedge/{}/{}", id.run, id.statement)
}

/// What the write does to the files that are there.
fn effect(write: &PlannedWrite, target: &LogTarget, adds: &[AddFile]) -> Result<DeltaWrite, Failure> {
    if let Some(files) = target.rewrites.clone() {
        return Ok(match target.change.restores {
            Some(_) => DeltaWrite::Restore(files),
            None => DeltaWrite::Rewrite(files),
        });
    }
    Ok(match &write.kind {
        WriteKind::Append => DeltaWrite::Append,
        WriteKind::Overwrite => DeltaWrite::Replace(PartitionSet::everything()),
        WriteKind::OverwriteDynamic => {
            DeltaWrite::Replace(PartitionSet::of(adds.iter().map(|file| file.partition.clone())))
        }
        WriteKind::OverwriteStatic(values) => {
            DeltaWrite::Replace(PartitionSet::of([leading_key(&write.schema, values)?]))
        }
    })
}

/// The operation with what was written.
fn measured(operation: &Operation, adds: &[AddFile]) -> Operation {
    let sum = |of: fn(&AddFile) -> u64| adds.iter().map(of).sum::<u64>();
    let written = [
        ("numFiles", adds.len() as u64),
        ("numOutputRows", sum(|file| file.rows)),
        ("numOutputBytes", sum(|file| file.bytes)),
    ];
    let mut metrics: BTreeMap<_, _> = written.map(|(name, value)| (name.to_owned(), value.into())).into();
    metrics.extend(operation.metrics.clone());
    Operation { metrics, ..operation.clone() }
}
