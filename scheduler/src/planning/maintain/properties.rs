//! `ALTER TABLE ... SET TBLPROPERTIES` and `UNSET`. Of Delta's own properties those that we heed, or that other engines may
//! heed without harm, can be set; what would need a feature that we lack cannot.

use std::sync::Arc;

use selvedge_engine::error::nearest;
use selvedge_engine::sql::Property;
use selvedge_model::Failure;
use selvedge_model::vacuum::parse_interval;
use serde_json::json;

use super::{Table, commit_only, rehearse_columns};
use crate::planning::statement::Context;
use crate::planning::{LogTarget, Planned, TableChange, managed};

/// Delta's own keys begin so; all others are their authors'.
const OWN: &str = "delta.";

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Count,
    Span,
    Text,
}

const KNOWN: [(&str, Kind); 11] = [
    ("delta.appendOnly", Kind::Flag),
    ("delta.autoOptimize.autoCompact", Kind::Text),
    ("delta.autoOptimize.optimizeWrite", Kind::Flag),
    ("delta.checkpointInterval", Kind::Count),
    ("delta.dataSkippingNumIndexedCols", Kind::Text),
    ("delta.dataSkippingStatsColumns", Kind::Text),
    ("delta.deletedFileRetentionDuration", Kind::Span),
    ("delta.enableExpiredLogCleanup", Kind::Flag),
    ("delta.logRetentionDuration", Kind::Span),
    ("delta.setTransactionRetentionDuration", Kind::Span),
    ("delta.targetFileSize", Kind::Text),
];

/// What may also be unset: then a table asks for less.
const UNSETTABLE: [&str; 1] = ["delta.enableChangeDataFeed"];

pub(super) fn change(context: &Context<'_>, table: &Table, properties: &[Property]) -> Result<Planned, Failure> {
    for property in properties {
        check(&property.key.value, property.value.as_deref())
            .map_err(|f| f.at(context.statement.place_of_ident(&property.key)))?;
    }
    // Statements to come are not judged by what the table asks now.
    rehearse_columns(context, &table.def, &table.def.schema, &table.def.partition_by);
    let Some(snapshot) = &table.snapshot else { return Ok(Planned::done("altered")) };
    snapshot.check_write(false)?;
    let name = &table.def.name;
    let now = snapshot.properties();
    let changes = |property: &&Property| now.get(&property.key.value) != property.value.as_ref();
    let changed: Vec<&Property> = properties.iter().filter(changes).collect();
    if changed.is_empty() {
        return Ok(Planned::done(format!("{name} has these properties already")));
    }
    let operation = match changed.iter().any(|property| property.value.is_some()) {
        true => {
            let set: serde_json::Map<_, _> = changed.iter().map(|p| (p.key.value.clone(), json!(p.value))).collect();
            managed::operation("SET TBLPROPERTIES", [("properties", json!(json!(set).to_string()))])
        }
        false => {
            let keys: Vec<&str> = changed.iter().map(|p| p.key.value.as_str()).collect();
            managed::operation("UNSET TBLPROPERTIES", [("properties", json!(json!(keys).to_string()))])
        }
    };
    let log = LogTarget {
        changes_rows: false,
        change: TableChange {
            properties: changed.iter().map(|p| (p.key.value.clone(), p.value.clone())).collect(),
            ..TableChange::default()
        },
        ..LogTarget::new(Some(Arc::clone(snapshot)), operation)
    };
    let (schema, partition_by) = (table.def.schema.clone(), table.def.partition_by.clone());
    commit_only(table, schema, partition_by, log, format!("the properties of {name} are changed"))
}

/// Refuses what would not be kept, or not be understood by others.
fn check(key: &str, value: Option<&str>) -> Result<(), Failure> {
    if !key.to_lowercase().starts_with(OWN) {
        return Ok(());
    }
    let known = KNOWN.iter().find(|(known, _)| *known == key).map(|(_, kind)| *kind);
    let (kind, value) = match (known, value) {
        (Some(kind), Some(value)) => (kind, value),
        (Some(_), None) => return Ok(()),
        (None, None) if UNSETTABLE.contains(&key) => return Ok(()),
        (None, _) => {
            let failure = Failure::user("INVALID_PROPERTY", format!("the property {key} cannot be changed here"));
            return Err(match nearest(key, KNOWN.iter().map(|(known, _)| *known)) {
                Some(near) => failure.with_hint(format!("Did you mean {near}?")),
                None => failure.with_hint("Other engines would expect of the table what Selvedge does not do."),
            });
        }
    };
    let expected = match kind {
        Kind::Flag if !matches!(value, "true" | "false") => "'true' or 'false'",
        Kind::Count if value.parse::<u32>().ok().is_none_or(|n| n == 0) => "a whole number from 1",
        Kind::Span if parse_interval(value).is_none() => "a span of time: 'interval 30 days'",
        _ => return Ok(()),
    };
    let cause = format!("'{value}' is no value of {key}");
    Err(Failure::user("INVALID_PROPERTY", cause).with_hint(format!("It takes {expected}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_can_be_set() {
        for (key, value, expected) in [
            ("owner", Some("me"), ""),
            ("delta.appendOnly", Some("true"), ""),
            ("delta.appendOnly", None, ""),
            ("delta.appendOnly", Some("yes"), "'true' or 'false'"),
            ("delta.appendonly", Some("true"), "Did you mean delta.appendOnly?"),
            ("delta.checkpointInterval", Some("0"), "from 1"),
            ("delta.logRetentionDuration", Some("interval 30 days"), ""),
            ("delta.logRetentionDuration", Some("30"), "interval 30 days"),
            ("delta.columnMapping.mode", Some("name"), "Other engines"),
            ("delta.columnMapping.mode", None, "Other engines"),
            ("DELTA.enableDeletionVectors", Some("true"), "Other engines"),
            ("delta.enableChangeDataFeed", None, ""),
            ("delta.enableChangeDataFeed", Some("true"), "Other engines"),
        ] {
            let hint = check(key, value).map_or_else(|f| f.hint, |()| String::new());
            assert!(hint.contains(expected) && hint.is_empty() == expected.is_empty(), "{key} {value:?}: {hint}");
        }
    }
}
