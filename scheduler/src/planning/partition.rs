//! The `PARTITION (...)` clause of an `INSERT`: which columns have one value, which come from the rows, and what of the
//! table an overwrite replaces.

use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Ident;
use selvedge_engine::catalog::TableDef;
use selvedge_engine::error::nearest;
use selvedge_engine::sql::{Insert, PartitionValue};
use selvedge_model::Failure;
use selvedge_model::commit::WriteKind;

use super::{names, target};

/// A failure with the name in the statement that it is about.
pub(super) type AtIdent = (Failure, Option<Ident>);

/// A partition column with one value for all rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StaticColumn {
    pub column: String,
    pub value: ScalarValue,
    /// The value as directory names have it; `None` is NULL.
    pub text: Option<String>,
}

/// A resolved clause.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct PartitionClause {
    /// In the table's order; always its leading partition columns.
    pub fixed: Vec<StaticColumn>,
    /// The other partition columns, in the order in which the query gives them.
    pub dynamic: Vec<String>,
}

/// Matches the clause with the table.
pub(super) fn resolve(insert: &Insert, def: &TableDef) -> Result<PartitionClause, AtIdent> {
    let mut clause = PartitionClause::default();
    for item in &insert.partition {
        let column = names::ident(&item.column);
        if !def.partition_by.contains(&column) {
            return Err((not_a_partition_column(&column, def), Some(item.column.clone())));
        }
        match &item.value {
            PartitionValue::Dynamic => clause.dynamic.push(column),
            PartitionValue::Static(text) => {
                let value = literal(&column, text.as_deref(), def).map_err(|f| (f, Some(item.column.clone())))?;
                clause.fixed.push(value);
            }
        }
    }
    let position = |column: &String| def.partition_by.iter().position(|c| c == column);
    clause.fixed.sort_by_key(|f| position(&f.column));
    for (fixed, leading) in clause.fixed.iter().zip(&def.partition_by) {
        if fixed.column != *leading {
            let cause = format!("partition column {} has a value, but {leading} before it has none", fixed.column);
            let hint = format!("Give {leading} a value too, or filter on {} in the query.", fixed.column);
            let at = insert.partition.iter().find(|i| names::ident(&i.column) == fixed.column);
            return Err((Failure::user("INVALID_PARTITION", cause).with_hint(hint), at.map(|i| i.column.clone())));
        }
    }
    let named = |c: &String| clause.dynamic.contains(c) || clause.fixed.iter().any(|f| f.column == *c);
    let rest: Vec<String> = def.partition_by.iter().filter(|c| !named(c)).cloned().collect();
    clause.dynamic.extend(rest);
    Ok(clause)
}

fn not_a_partition_column(column: &str, def: &TableDef) -> Failure {
    let partition_by = &def.partition_by;
    let cause = format!("{column} is not a partition column of {}", def.name);
    let hint = match nearest(column, partition_by.iter().map(String::as_str)) {
        Some(near) => format!("Did you mean {near}?"),
        None if partition_by.is_empty() => "The table is not partitioned: leave PARTITION out.".to_owned(),
        None => format!("It is partitioned by {}.", partition_by.join(", ")),
    };
    Failure::user("INVALID_PARTITION", cause).with_hint(hint)
}

fn literal(column: &str, text: Option<&str>, def: &TableDef) -> Result<StaticColumn, Failure> {
    let data_type = match def.schema.field_with_name(column) {
        Ok(field) => field.data_type().clone(),
        Err(e) => return Err(Failure::internal("INTERNAL", e.to_string())),
    };
    let refuse = |_| {
        let cause = format!("'{}' is not a value of partition column {column}, a {data_type}", text.unwrap_or("NULL"));
        Failure::user("INVALID_PARTITION", cause)
    };
    let value = match text {
        Some(text) => ScalarValue::Utf8(Some(text.to_owned())).cast_to(&data_type).map_err(refuse)?,
        None => ScalarValue::try_from(&data_type).map_err(refuse)?,
    };
    if text.is_some() && value.is_null() {
        return Err(refuse(datafusion::error::DataFusionError::Plan(String::new())));
    }
    let text = match value.cast_to(&DataType::Utf8).map_err(refuse)? {
        ScalarValue::Utf8(text) => text,
        _ => None,
    };
    Ok(StaticColumn { column: column.to_owned(), value, text })
}

/// What of the table is replaced.
pub(super) fn write_kind(overwrite: bool, clause: &PartitionClause, def: &TableDef) -> WriteKind {
    if !overwrite {
        return WriteKind::Append;
    }
    if clause.fixed.is_empty() {
        return target::overwrite(&def.partition_by);
    }
    WriteKind::OverwriteStatic(clause.fixed.iter().map(|f| (f.column.clone(), f.text.clone())).collect())
}
