//! `UPDATE`: the files are written anew, with new values in the rows that the condition wants.

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Operator};
use selvedge_engine::sql::Update;
use selvedge_model::Failure;
use selvedge_model::words::counted;
use serde_json::json;

use super::super::statement::Context;
use super::super::{Planned, managed};
use super::candidates::Candidates;
use super::scope::{Scope, Typed};
use super::{Changed, Rewrite, broken, columns, columns_of};

/// Whether a row is updated.
const HIT: &str = "__selvedge_hit";

pub(in super::super) async fn update(context: &Context<'_>, update: &Update) -> Result<Planned, Failure> {
    let changed = Changed::open(context, &update.table).await?;
    let positions = columns::set(context, &changed, &update.set)?;
    let mut scope = Scope::new(context, &changed, None);
    update.set.iter().for_each(|set| scope.add(&set.value));
    if let Some(condition) = &update.condition {
        scope.add(condition);
    }
    let planned = scope.plan().await?;
    let condition = match update.condition {
        Some(_) => planned.exprs.get(positions.len()).map(|typed| known_in(typed, "UPDATE")).transpose()?,
        None => None,
    };
    let mut values: Vec<Option<Expr>> = vec![None; changed.def.schema.fields().len()];
    for (position, typed) in positions.iter().zip(&planned.exprs) {
        if asks_whether(&typed.expr) {
            let cause = "IN and EXISTS with a query cannot stand in SET";
            let hint = "Use MERGE INTO ... USING (SELECT ...) AS s ON ... WHEN MATCHED THEN UPDATE SET ...";
            return Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint).at(typed.place.clone()));
        }
        let value = columns::assigned(typed, &changed.def.schema.fields()[*position], &changed)?;
        if let Some(slot) = values.get_mut(*position) {
            *slot = Some(value);
        }
    }
    let Some(version) = &changed.version else { return Ok(Planned::done("rows are updated")) };
    let base = version.snapshot();
    base.check_write(true).map_err(|f| f.at(changed.place.clone()))?;
    let candidates = Candidates::matching(&context.state, version, &planned.target, condition.as_ref()).await?;
    let label = &changed.def.name;
    if candidates.files.is_empty() {
        return Ok(Planned::done(format!("no row of {label} is updated")));
    }
    let rows = candidates.scanned_by(planned.target, version)?;
    let rows = updated(&changed, rows, condition, &values)?;
    let text = update.condition.as_ref().map_or_else(|| "true".to_owned(), ToString::to_string);
    let operation = managed::operation("UPDATE", [("predicate", json!(text))]);
    let (files, searched) = (&candidates.files, candidates.searched.clone());
    let done = format!("rows of {label} updated: {} written anew", counted(files.len(), "file"));
    changed.rewrite(context, rows, Rewrite { base, files, searched, operation, done }).map(Planned::from)
}

/// `rows` with the new values where the condition holds, as the table has them.
fn updated(
    changed: &Changed<'_>,
    rows: LogicalPlan,
    condition: Option<Expr>,
    values: &[Option<Expr>],
) -> Result<LogicalPlan, Failure> {
    let old: Vec<Expr> = columns_of(&rows);
    let choose = |hit: Option<&Expr>| -> Vec<Expr> {
        let fields = changed.def.schema.fields().iter();
        let chosen = fields.zip(&old).zip(values).map(|((field, old), new)| {
            let chosen = match (new, hit) {
                (None, _) => old.clone(),
                (Some(new), None) => new.clone(),
                (Some(new), Some(hit)) => {
                    let when = (Box::new(hit.clone()), Box::new(new.clone()));
                    Expr::Case(Case::new(None, vec![when], Some(Box::new(old.clone()))))
                }
            };
            chosen.alias(field.name())
        });
        chosen.collect()
    };
    let Some(condition) = condition else { return projected(rows, choose(None)) };
    if !asks_whether(&condition) {
        // The condition is evaluated once for a row, however many columns are set.
        let hit = condition.alias(HIT);
        let rows = projected(rows, old.iter().cloned().chain([hit]).collect())?;
        return projected(rows, choose(Some(&Expr::Column(Column::from_name(HIT)))));
    }
    // Only filters can ask whether a query has rows: those that are wanted and the others are read one after the other.
    let unchanged = changed.def.schema.fields().iter().zip(&old);
    let unchanged = unchanged.map(|(field, old)| old.clone().alias(field.name())).collect();
    let hit = projected(filtered(rows.clone(), condition.clone())?, choose(None))?;
    let kept = projected(filtered(rows, Expr::IsNotTrue(Box::new(condition)))?, unchanged)?;
    LogicalPlanBuilder::from(hit).union(kept).and_then(LogicalPlanBuilder::build).map_err(broken)
}

/// The condition on rows of the table, refused where "not true" could not be told from "false".
pub(super) fn known_in(typed: &Typed, statement: &str) -> Result<Expr, Failure> {
    let condition = typed.condition()?;
    let refuse =
        |cause: String, hint: &str| Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint).at(typed.place.clone()));
    if has_negative_in(&condition, true) {
        let cause = format!("{statement} takes IN (SELECT ...) only as it is, with AND and OR, and not negated");
        return refuse(cause, "Write NOT EXISTS (SELECT 1 FROM s WHERE s.id = t.id).");
    }
    // UPDATE asks twice, once for the rows that are wanted and once for the others: both answers must be the same.
    if statement == "UPDATE" && asks_what_changes(&condition) {
        let cause =
            "the condition of this UPDATE asks a query whose answer may be another each time: it has a LIMIT, a \
                     window, DISTINCT ON or a function with changing results"
                .to_owned();
        return refuse(cause, "Write MERGE INTO ... USING (SELECT ...): it asks once.");
    }
    if asks_whether(&condition) && condition.is_volatile() {
        let cause =
            format!("the condition of this {statement} asks a query and calls a function with changing results");
        return refuse(cause, "Put the rows that are wanted into a table first.");
    }
    Ok(condition)
}

/// Whether an expression asks a query that may answer otherwise the next time.
fn asks_what_changes(expr: &Expr) -> bool {
    let changes = |plan: &LogicalPlan| {
        let mut found = false;
        let walked = plan.apply_with_subqueries(|node| {
            let varies =
                matches!(node, LogicalPlan::Limit(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(Distinct::On(_)));
            found |= varies || node.expressions().iter().any(Expr::is_volatile);
            found |= matches!(node, LogicalPlan::Sort(sort) if sort.fetch.is_some());
            Ok(TreeNodeRecursion::Continue)
        });
        found || walked.is_err()
    };
    let asked = |e: &Expr| match e {
        Expr::Exists(exists) => changes(&exists.subquery.subquery),
        Expr::InSubquery(within) => changes(&within.subquery.subquery),
        Expr::ScalarSubquery(query) => changes(&query.subquery),
        Expr::SetComparison(compared) => changes(&compared.subquery.subquery),
        _ => false,
    };
    asks_whether(expr) && expr.exists(|e| Ok(asked(e))).unwrap_or(true)
}

/// Whether an expression asks whether a query has rows.
fn asks_whether(expr: &Expr) -> bool {
    let is = |e: &Expr| matches!(e, Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_));
    expr.exists(|e| Ok(is(e))).unwrap_or(true)
}

/// Whether an `IN (SELECT ...)` stands where it matters that it may be unknown. Within other expressions the optimizer takes
/// unknown for false, which is the same to AND, OR and WHERE, but not to NOT.
fn has_negative_in(expr: &Expr, is_plain: bool) -> bool {
    match expr {
        Expr::Alias(alias) => has_negative_in(&alias.expr, is_plain),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            has_negative_in(left, is_plain) || has_negative_in(right, is_plain)
        }
        Expr::InSubquery(subquery) => !is_plain || subquery.negated,
        Expr::SetComparison(_) => true,
        other => {
            let mut found = false;
            let walked = other.apply_children(|child| {
                found |= has_negative_in(child, false);
                Ok(TreeNodeRecursion::Continue)
            });
            found || walked.is_err()
        }
    }
}

pub(super) fn projected(rows: LogicalPlan, columns: Vec<Expr>) -> Result<LogicalPlan, Failure> {
    LogicalPlanBuilder::from(rows).project(columns).and_then(LogicalPlanBuilder::build).map_err(broken)
}

pub(super) fn filtered(rows: LogicalPlan, condition: Expr) -> Result<LogicalPlan, Failure> {
    LogicalPlanBuilder::from(rows).filter(condition).and_then(LogicalPlanBuilder::build).map_err(broken)
}
