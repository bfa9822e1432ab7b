//! Which partitions of a table a statement reads, for the rules of its commit.
//!
//! Taken from the filters of its scans, not from the partitions that were there: one that is made meanwhile may be read,
//! too. What is not plainly "this column has one of these values" is the whole table.

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableScan};
use selvedge_model::delta::{PartitionKey, PartitionSet};

use super::provider::DeltaTable;
use super::values::partition_key;
use crate::store::Location;

/// Most partitions that are told apart; more are the whole table.
const MOST: usize = 10_000;

/// The partitions of the table at a location that an optimized plan reads, at whatever version: filters have reached the
/// scans in it.
///
/// # Errors
/// None of its own; walking a plan may fail.
pub fn partitions_read(plan: &LogicalPlan, location: &Location) -> Result<PartitionSet> {
    let location = location.as_directory();
    let mut leading: Vec<PartitionKey> = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<DeltaTable>()
            && *table.snapshot().location() == location
        {
            leading.extend(keys(scan, &table.snapshot().partition_fields()));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match leading.len() <= MOST {
        true => Ok(PartitionSet::of(leading)),
        false => Ok(PartitionSet::everything()),
    }
}

/// The leading values of the partitions that a scan reads; one empty key is all.
fn keys(scan: &TableScan, fields: &[FieldRef]) -> Vec<PartitionKey> {
    let conjuncts: Vec<&Expr> = scan.filters.iter().flat_map(split_conjunction).collect();
    let mut keys: Vec<PartitionKey> = vec![vec![]];
    for field in fields {
        let Some(values) = conjuncts.iter().find_map(|expr| values_of(expr, field)) else { break };
        if keys.len() * values.len() > MOST {
            break;
        }
        let longer = |key: &PartitionKey| {
            let key = key.clone();
            values.iter().map(move |value| key.iter().cloned().chain([value.clone()]).collect()).collect::<Vec<_>>()
        };
        keys = keys.iter().flat_map(longer).collect();
    }
    keys
}

/// The only values of a column that an expression lets through, if it says so.
fn values_of(expr: &Expr, field: &FieldRef) -> Option<Vec<Option<String>>> {
    let is_column = |e: &Expr| matches!(e, Expr::Column(c) if c.name == *field.name());
    let value = |e: &Expr| match e {
        Expr::Literal(value, _) => {
            let typed = value.cast_to(field.data_type()).ok().filter(|v| !v.is_null())?;
            partition_key(&[typed]).pop()
        }
        _ => None,
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_column(left) => Some(vec![value(right)?]),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_column(right) => Some(vec![value(left)?]),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut both = values_of(left, field)?;
            both.extend(values_of(right, field)?);
            Some(both)
        }
        Expr::InList(list) if !list.negated && is_column(&list.expr) => list.list.iter().map(value).collect(),
        Expr::IsNull(inner) if is_column(inner) => Some(vec![None]),
        _ => None,
    }
}
