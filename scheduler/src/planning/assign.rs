//! Fits the columns of a query to those of a table: counts, types, casts. Pure.
//!
//! Casts are added where no value can be misread: between numbers (too large a value fails the task), to text, from dates
//! to timestamps, from text to dates and timestamps. What would lose something silently or guess must be written as CAST.

use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::scalar::ScalarValue;
use selvedge_engine::error::classify;
use selvedge_model::Failure;

/// Where a table's column comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// The query's column at this position.
    Query(usize),
    /// One value for all rows.
    Value(ScalarValue),
    /// The column's default.
    Default(Expr),
}

/// Projects `source` to exactly `targets`, in their order, with casts. `table` is for messages.
pub(super) fn fit(source: LogicalPlan, targets: &[(FieldRef, Origin)], table: &str) -> Result<LogicalPlan, Failure> {
    let mut misfits = Vec::new();
    let mut exprs = Vec::new();
    for (field, origin) in targets {
        let expr = match origin {
            Origin::Value(value) => lit(value.clone()),
            Origin::Default(expr) => cast(expr.clone(), field.data_type().clone()),
            Origin::Query(index) => {
                let (qualifier, from) = source.schema().qualified_field(*index);
                if !is_assignable(from.data_type(), field.data_type()) {
                    misfits.push(misfit(*index, from, field, table));
                }
                let column = Expr::Column(Column::from((qualifier, from)));
                match from.data_type() == field.data_type() {
                    true => column,
                    false => cast(column, field.data_type().clone()),
                }
            }
        };
        exprs.push(expr.alias(field.name()));
    }
    if let Some(failure) = Failure::join(misfits) {
        return Err(failure);
    }
    LogicalPlanBuilder::from(source).project(exprs).and_then(LogicalPlanBuilder::build).map_err(|e| classify(&e))
}

fn misfit(index: usize, from: &FieldRef, to: &FieldRef, table: &str) -> Failure {
    let (given, wanted) = (from.data_type(), to.data_type());
    let cause = format!(
        "column {} of {table} is {wanted}, but the query's column {} ({}) is {given}",
        to.name(),
        index + 1,
        from.name()
    );
    let failure = Failure::user("SCHEMA_MISMATCH", cause);
    match can_cast_types(given, wanted) {
        true => failure.with_hint("Where the values are right, say so with CAST in the query."),
        false => failure.with_hint("Columns go by position unless they are listed: INSERT INTO t (a, b) SELECT ..."),
    }
}

/// Whether a value of one type may be stored as another without being asked for.
pub(super) fn is_assignable(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, Date32, Date64, Dictionary, Null, Timestamp};
    if from == to || matches!(from, Null) {
        return true;
    }
    match (from, to) {
        (Dictionary(_, value), to) => is_assignable(value, to),
        (from, Dictionary(_, value)) => is_assignable(from, value),
        (from, to) if is_text(to) => is_text(from) || is_scalar(from) && !is_binary(from),
        (from, to) if is_text(from) => matches!(to, Date32 | Date64 | Timestamp(..) | Binary),
        (from, to) if is_binary(from) && is_binary(to) => true,
        (from, to) if is_number(from) && is_number(to) => !loses_fraction(from, to),
        (Date32 | Date64, Date32 | Date64 | Timestamp(..)) | (Timestamp(..), Timestamp(..)) => true,
        (from, to) if from.is_nested() && to.is_nested() => can_cast_types(from, to),
        _ => false,
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(data_type, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

fn is_scalar(data_type: &DataType) -> bool {
    !data_type.is_nested()
}

fn loses_fraction(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal32, Decimal64, Decimal128, Decimal256};
    let fraction = match from {
        Decimal32(_, scale) | Decimal64(_, scale) | Decimal128(_, scale) | Decimal256(_, scale) => *scale > 0,
        other => other.is_floating(),
    };
    fraction && to.is_integer()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::TimeUnit;

    #[test]
    fn only_what_cannot_be_misread_is_assigned() {
        use DataType::{Binary, Boolean, Date32, Decimal128, Float64, Int32, Int64, Null, Utf8, Utf8View};
        let stamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        let list = DataType::new_list(Int32, true);
        for (from, to, good) in [
            (Int32, Int64, true),
            (Int64, Int32, true),
            (Int64, Float64, true),
            (Float64, Int64, false),
            (Decimal128(10, 2), Int64, false),
            (Decimal128(10, 0), Int64, true),
            (Int64, Decimal128(10, 2), true),
            (Utf8, Int64, false),
            (Int64, Utf8, true),
            (Utf8View, Utf8, true),
            (Utf8, Date32, true),
            (Date32, stamp.clone(), true),
            (stamp.clone(), Date32, false),
            (Boolean, Int32, false),
            (Boolean, Utf8, true),
            (Binary, Utf8, false),
            (Null, Date32, true),
            (list.clone(), Utf8, false),
            (list, DataType::new_list(Int64, true), true),
        ] {
            assert_eq!(is_assignable(&from, &to), good, "{from} to {to}");
        }
    }
}
