//! Fits new values to the columns of a table, by the rules of an `INSERT`.

use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use selvedge_engine::sql::SetColumn;
use selvedge_model::{Failure, Place};

use super::super::statement::Context;
use super::super::{assign, defaults, insert, names};
use super::Changed;
use super::scope::Typed;

/// The positions of columns that are set, in the order of `set`.
pub(super) fn set(context: &Context<'_>, changed: &Changed<'_>, set: &[SetColumn]) -> Result<Vec<usize>, Failure> {
    let mut positions = Vec::new();
    for SetColumn { column, .. } in set {
        let ident = column_of(changed, column).ok_or_else(|| {
            let cause = format!("{column} is not a column of {}", changed.def.name);
            let hint = format!("Only columns of {} are set, and only as a whole.", changed.alias());
            Failure::user("COLUMN_NOT_FOUND", cause).with_hint(hint).at(context.statement.place_of_name(column))
        })?;
        positions.push(position(context, changed, ident, &positions)?);
    }
    Ok(positions)
}

/// The positions of listed columns.
pub(super) fn listed(context: &Context<'_>, changed: &Changed<'_>, columns: &[Ident]) -> Result<Vec<usize>, Failure> {
    let mut positions = Vec::new();
    for ident in columns {
        positions.push(position(context, changed, ident, &positions)?);
    }
    Ok(positions)
}

fn position(context: &Context<'_>, changed: &Changed<'_>, ident: &Ident, taken: &[usize]) -> Result<usize, Failure> {
    let (def, column) = (&changed.def, names::ident(ident));
    let at = |f: Failure| f.at(context.statement.place_of_ident(ident));
    let Ok(position) = def.schema.index_of(&column) else {
        return Err(at(insert::missing_column(def, &column)));
    };
    match taken.contains(&position) {
        true => Err(at(Failure::user("DUPLICATE_COLUMN", format!("column {column} is set twice")))),
        false => Ok(position),
    }
}

/// The column that a name means: `column`, or that of this table by one of its names.
fn column_of<'a>(changed: &Changed<'_>, name: &'a ObjectName) -> Option<&'a Ident> {
    let parts: Vec<&Ident> = name.0.iter().map(|part| part.as_ident()).collect::<Option<_>>()?;
    let (column, table) = parts.split_last()?;
    let table: Vec<String> = table.iter().map(|ident| names::ident(ident)).collect();
    let own = &changed.def.name;
    let known = match &changed.written.alias {
        Some(alias) => vec![vec![], vec![names::ident(alias)]],
        None => vec![vec![], vec![own.table.clone()], vec![own.schema.clone(), own.table.clone()]],
    };
    known.contains(&table).then_some(*column)
}

/// A value as a column takes it.
pub(super) fn assigned(value: &Typed, field: &FieldRef, changed: &Changed<'_>) -> Result<Expr, Failure> {
    fitted(&value.expr, &value.data_type, field, changed).map_err(|f| f.at(value.place.clone()))
}

/// The same for a value without a place of its own.
pub(super) fn fitted(value: &Expr, given: &DataType, field: &FieldRef, changed: &Changed<'_>) -> Result<Expr, Failure> {
    let wanted = field.data_type();
    if assign::is_assignable(given, wanted) {
        return Ok(if given == wanted { value.clone() } else { cast(value.clone(), wanted.clone()) });
    }
    let cause = format!("column {} of {} is {wanted}, but its new value is {given}", field.name(), changed.def.name);
    let failure = Failure::user("SCHEMA_MISMATCH", cause);
    Err(match can_cast_types(given, wanted) {
        true => failure.with_hint("Where the values are right, say so with CAST."),
        false => failure,
    })
}

/// What a column gets that an `INSERT` does not list: its default, or NULL.
pub(super) fn absent(
    context: &Context<'_>,
    field: &FieldRef,
    changed: &Changed<'_>,
    place: &Place,
) -> Result<Expr, Failure> {
    let (name, table) = (field.name(), &changed.def.name);
    // What the log says of columns is left out of plans.
    let logged = changed.version.as_ref().map_or(&changed.def.schema, |version| version.snapshot().schema());
    if let Some(default) = defaults::of_column(&context.state, logged, name).map_err(|f| f.at(place.clone()))? {
        return Ok(cast(default, field.data_type().clone()));
    }
    let missing = match (changed.def.partition_by.contains(name), field.is_nullable()) {
        (true, _) => format!("partition column {name} of {table} is not listed"),
        (false, false) => format!("column {name} of {table} is NOT NULL and is not listed"),
        (false, true) => {
            let null = ScalarValue::try_from(field.data_type());
            return null.map(lit).map_err(|e| Failure::internal("INTERNAL", e.to_string()));
        }
    };
    Err(Failure::user("SCHEMA_MISMATCH", missing).with_hint("List it, and give it a value.").at(place.clone()))
}
