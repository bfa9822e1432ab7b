//! `MERGE`: what its clauses say, checked; then files written anew, or rows only added when no clause is for rows that are
//! there. `pairs.rs` plans the join.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::Column;
use datafusion::logical_expr::utils::{conjunction, disjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Operator};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, TableFactor};
use selvedge_engine::error::nearest;
use selvedge_engine::sql::{Merge, MergeAction, MergeClause, MergeRows};
use selvedge_model::words::counted;
use selvedge_model::{Failure, Place};
use serde_json::json;

use super::super::statement::Context;
use super::super::{Planned, managed, names};
use super::candidates::Candidates;
use super::pairs::Pairs;
use super::scope::{self, Scope, Typed, has_subquery};
use super::update::filtered;
use super::{Changed, Rewrite, broken, columns};

/// A clause with its meaning.
pub(super) struct Clause {
    pub rows: MergeRows,
    pub condition: Option<Expr>,
    pub action: Action,
}

/// What becomes of a row.
pub(super) enum Action {
    Delete,
    /// The new value of each of the table's columns, in its order; none for one that keeps its own.
    Values(Vec<Option<Expr>>),
}

/// The condition by which rows match, taken apart.
pub(super) struct Condition {
    pub on: Expr,
    /// Equal values of table and source.
    pub keys: Vec<(Expr, Expr)>,
    /// What is asked of the table's row alone.
    pub of_target: Vec<Expr>,
    /// What is asked of the source's row alone.
    pub of_source: Vec<Expr>,
    /// Whether anything else is asked of both.
    pub has_more: bool,
}

pub(in super::super) async fn merge(context: &Context<'_>, merge: &Merge) -> Result<Planned, Failure> {
    let changed = Changed::open(context, &merge.table).await?;
    let source = named_source(context, &changed, merge)?;
    let mut scope = Scope::new(context, &changed, Some(source));
    scope.add(&merge.on);
    merge.clauses.iter().flat_map(expressions).for_each(|expr| scope.add(expr));
    let scope::Planned { target, source, exprs } = scope.plan().await?;
    let Some(source) = source else { return Err(Failure::internal("INTERNAL", "a MERGE without its source")) };
    let sides = Sides { changed: &changed, alias: names::ident(&changed.alias()), source: &source };
    let mut exprs = exprs.into_iter();
    let Some(on) = exprs.next() else { return Err(Failure::internal("INTERNAL", "a MERGE without ON")) };
    let condition = sides.condition(&on)?;
    let clauses = merge.clauses.iter().map(|clause| sides.clause(context, clause, &mut exprs));
    let clauses = clauses.collect::<Result<Vec<_>, _>>()?;
    let Some(version) = &changed.version else { return Ok(Planned::done("rows are merged")) };
    let operation = managed::operation("MERGE", [("predicate", json!(merge.on.to_string()))]);
    let pairs = Pairs { changed: &changed, condition: &condition, clauses: &clauses };
    if clauses.iter().all(|clause| clause.rows == MergeRows::OnlyInSource) {
        let rows = pairs.only_in_source(target, source)?;
        return changed.append(context, rows, operation).map(Planned::from);
    }
    let base = version.snapshot();
    base.check_write(true).map_err(|f| f.at(changed.place.clone()))?;
    let probe = probe(target.clone(), source.clone(), &condition, &clauses)?;
    let candidates = Candidates::find(&context.state, version, &probe).await?;
    let rows = pairs.merged(candidates.scanned_by(target, version)?, source)?;
    let (files, searched) = (&candidates.files, candidates.searched.clone());
    let done = format!("merged into {}: {} written anew", changed.def.name, counted(files.len(), "file"));
    changed.rewrite(context, rows, Rewrite { base, files, searched, operation, done }).map(Planned::from)
}

/// The source, which must have a name that its columns can be told from the table's by.
fn named_source<'a>(
    context: &Context<'_>,
    changed: &Changed<'_>,
    merge: &'a Merge,
) -> Result<&'a TableFactor, Failure> {
    let refuse =
        |code: &str, cause: String, hint: &str, place: Place| Err(Failure::user(code, cause).with_hint(hint).at(place));
    let name = match &merge.source {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(&alias.name)
        }
        TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()),
        _ => None,
    };
    let Some(name) = name else {
        let cause = "the source of a MERGE is a table, a view, or a query with a name".to_owned();
        return refuse("NOT_SUPPORTED", cause, "USING (SELECT ...) AS s", context.statement.place.clone());
    };
    if names::ident(name) == names::ident(&changed.alias()) {
        let cause = format!("the table and the source are both called {name}");
        let hint = "Give them names of their own: MERGE INTO a AS t USING b AS s ON t.id = s.id";
        return refuse("INVALID_NAME", cause, hint, context.statement.place_of_ident(name));
    }
    Ok(&merge.source)
}

/// The expressions of a clause, in the order in which they are planned.
fn expressions(clause: &MergeClause) -> Vec<&SqlExpr> {
    let of_action: Vec<_> = match &clause.action {
        MergeAction::Update(set) => set.iter().map(|set| &set.value).collect(),
        MergeAction::Insert { values, .. } => values.iter().collect(),
        MergeAction::UpdateAll | MergeAction::InsertAll | MergeAction::Delete => vec![],
    };
    clause.condition.iter().chain(of_action).collect()
}

/// The rows of the table that a `MERGE` may change or needs to know: those that match, and those that a clause is for which
/// has no row of the source.
fn probe(
    target: LogicalPlan,
    source: LogicalPlan,
    condition: &Condition,
    clauses: &[Clause],
) -> Result<LogicalPlan, Failure> {
    let unmatched: Vec<&Clause> = clauses.iter().filter(|clause| clause.rows == MergeRows::OnlyInTarget).collect();
    if unmatched.is_empty() {
        let on = [condition.on.clone()];
        let matched = LogicalPlanBuilder::from(target).join_on(source, JoinType::LeftSemi, on);
        return matched.and_then(LogicalPlanBuilder::build).map_err(broken);
    }
    let matched = conjunction(condition.of_target.iter().cloned());
    let wanted: Option<Vec<Expr>> =
        std::iter::once(matched).chain(unmatched.iter().map(|clause| clause.condition.clone())).collect();
    match wanted.and_then(disjunction) {
        Some(wanted) => filtered(target, wanted),
        None => Ok(target),
    }
}

/// Table and source, as expressions refer to them.
struct Sides<'a> {
    changed: &'a Changed<'a>,
    /// What the statement calls the table.
    alias: String,
    source: &'a LogicalPlan,
}

/// What an expression refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refers {
    to_target: bool,
    to_source: bool,
}

impl Sides<'_> {
    fn refers(&self, expr: &Expr) -> Refers {
        let is_target =
            |column: &&Column| column.relation.as_ref().is_some_and(|relation| relation.table() == self.alias);
        let columns = expr.column_refs();
        let of_target = columns.iter().filter(|column| is_target(column)).count();
        Refers { to_target: of_target > 0, to_source: of_target < columns.len() }
    }

    fn condition(&self, on: &Typed) -> Result<Condition, Failure> {
        let expr = on.condition()?;
        let refuse =
            |cause: &str, hint: &str| Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint).at(on.place.clone()));
        if has_subquery(&expr) {
            return refuse("a query cannot stand in ON", "Put it into the source: USING (SELECT ...) AS s");
        }
        if expr.is_volatile() {
            return refuse(
                "ON calls a function with changing results",
                "Compute it in the source, and compare columns.",
            );
        }
        let mut found =
            Condition { on: expr.clone(), keys: vec![], of_target: vec![], of_source: vec![], has_more: false };
        for part in split_conjunction(&expr) {
            match (self.refers(part), self.key(part)) {
                (_, Some(key)) => found.keys.push(key),
                (Refers { to_target: true, to_source: true }, None) => found.has_more = true,
                (Refers { to_target: true, .. }, None) => found.of_target.push(part.clone()),
                (Refers { to_source: true, .. }, None) => found.of_source.push(part.clone()),
                // A constant: what it says holds for all rows or for none.
                _ => {
                    found.of_target.push(part.clone());
                    found.of_source.push(part.clone());
                }
            }
        }
        match found.keys.is_empty() {
            true => {
                let hint = format!("Name a column of each: ON {}.id = s.id", self.alias);
                refuse("ON asks for no value of the table that is equal to one of the source", &hint)
            }
            false => Ok(found),
        }
    }

    /// Equal values, of the table and of the source.
    fn key(&self, part: &Expr) -> Option<(Expr, Expr)> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return None };
        let target_only = Refers { to_target: true, to_source: false };
        let source_only = Refers { to_target: false, to_source: true };
        match (self.refers(left), self.refers(right)) {
            (l, r) if (l, r) == (target_only, source_only) => Some((left.as_ref().clone(), right.as_ref().clone())),
            (l, r) if (l, r) == (source_only, target_only) => Some((right.as_ref().clone(), left.as_ref().clone())),
            _ => None,
        }
    }

    /// `exprs` are those of [`expressions`].
    fn clause(
        &self,
        context: &Context<'_>,
        clause: &MergeClause,
        exprs: &mut impl Iterator<Item = Typed>,
    ) -> Result<Clause, Failure> {
        let mut next = || {
            let typed = exprs.next().ok_or_else(|| Failure::internal("INTERNAL", "a clause of MERGE lost a part"))?;
            self.check_clause(clause.rows, &typed).map(|()| typed)
        };
        let condition = match clause.condition {
            Some(_) => Some(next()?.condition()?),
            None => None,
        };
        let fields = self.changed.def.schema.fields();
        let action = match &clause.action {
            MergeAction::Delete => Action::Delete,
            MergeAction::Update(set) => {
                let mut values = vec![None; fields.len()];
                for position in columns::set(context, self.changed, set)? {
                    let value = columns::assigned(&next()?, &fields[position], self.changed)?;
                    values[position] = Some(value);
                }
                Action::Values(values)
            }
            MergeAction::Insert { columns, values } => {
                let typed = values.iter().map(|_| next()).collect::<Result<Vec<_>, _>>()?;
                Action::Values(self.inserted(context, columns, &typed)?)
            }
            MergeAction::UpdateAll | MergeAction::InsertAll => {
                let all = fields.iter().map(|field| self.same_named(field).map(Some));
                Action::Values(all.collect::<Result<_, _>>()?)
            }
        };
        Ok(Clause { rows: clause.rows, condition, action })
    }

    /// Refuses what the rows of a clause do not have.
    fn check_clause(&self, rows: MergeRows, typed: &Typed) -> Result<(), Failure> {
        let refers = self.refers(&typed.expr);
        let cause = match rows {
            _ if has_subquery(&typed.expr) => "a query cannot stand in a clause of MERGE".to_owned(),
            MergeRows::OnlyInSource if refers.to_target => {
                format!("WHEN NOT MATCHED is for rows of the source, and has no row of {}", self.alias)
            }
            MergeRows::OnlyInTarget if refers.to_source => {
                format!("WHEN NOT MATCHED BY SOURCE is for rows of {}, and has no row of the source", self.alias)
            }
            _ => return Ok(()),
        };
        let hint = "What it needs can be a column of the source: USING (SELECT ...) AS s";
        Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint).at(typed.place.clone()))
    }

    fn inserted(
        &self,
        context: &Context<'_>,
        columns: &[Ident],
        values: &[Typed],
    ) -> Result<Vec<Option<Expr>>, Failure> {
        let (changed, fields) = (self.changed, self.changed.def.schema.fields());
        let listed = match columns.is_empty() {
            true => (0..fields.len()).collect(),
            false => columns::listed(context, changed, columns)?,
        };
        let place = columns.first().map(|ident| context.statement.place_of_ident(ident));
        let place: Place = place.or(values.first().map(|v| v.place.clone())).unwrap_or_else(|| changed.place.clone());
        if listed.len() != values.len() {
            let (takes, given) = (counted(listed.len(), "column"), counted(values.len(), "value"));
            let cause = format!("the INSERT of this MERGE has {given} for {takes}");
            return Err(Failure::user("SCHEMA_MISMATCH", cause).at(place));
        }
        let one = |(position, field)| {
            let at = listed.iter().position(|listed| *listed == position);
            match at.and_then(|at| values.get(at)) {
                Some(value) => columns::assigned(value, field, changed),
                None => columns::absent(context, field, changed, &place),
            }
        };
        fields.iter().enumerate().map(|pair| one(pair).map(Some)).collect()
    }

    /// The column of the source with the name of one of the table.
    fn same_named(&self, field: &FieldRef) -> Result<Expr, Failure> {
        let (changed, schema) = (self.changed, self.source.schema());
        let named: Vec<_> = schema.iter().filter(|(_, from)| from.name() == field.name()).collect();
        if let [(qualifier, from)] = named.as_slice() {
            let column = Expr::Column(Column::from((*qualifier, *from)));
            return columns::fitted(&column, from.data_type(), field, changed).map_err(|f| f.at(changed.place.clone()));
        }
        let known: BTreeSet<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let cause = match named.is_empty() {
            true => format!("the source has no column {}, which * would take from it", field.name()),
            false => format!("the source has several columns {}, one of which * would take", field.name()),
        };
        let hint = match nearest(field.name(), known).filter(|_| named.is_empty()) {
            Some(near) => format!("Did you mean its column {near}? Name it AS {}, or list the columns.", field.name()),
            None => "List the columns in place of *.".to_owned(),
        };
        Err(Failure::user("COLUMN_NOT_FOUND", cause).with_hint(hint).at(changed.place.clone()))
    }
}
