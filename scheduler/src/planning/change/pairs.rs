//! The join of a `MERGE`: rows of the table with the rows of the source that match them, each with what becomes of it.
//!
//! Of a row of the table that several rows of the source match, exactly one pair may be written. Where it is plain that every
//! pair is acted on, the second row of the source with the same key is one too many, and only the source is numbered for
//! it. Otherwise the pairs of each row of the table are numbered, those that are acted on first: the second of them is one
//! too many if it is acted on, too, and left out if it is not. `selvedge_engine::session::merge_action` refuses.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{Case, Sort};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprFunctionExt as _, JoinType, LogicalPlan, LogicalPlanBuilder, cast, lit};
use selvedge_engine::session::{LEFT_OUT, merge_action};
use selvedge_engine::sql::MergeRows;
use selvedge_model::Failure;

use super::merge::{Action, Clause, Condition};
use super::update::{filtered, projected};
use super::{Changed, broken, columns_of};

/// TRUE in rows with a row of the table.
const IN_TARGET: &str = "__selvedge_in_target";
/// TRUE in rows with a row of the source.
const IN_SOURCE: &str = "__selvedge_in_source";
/// Tells rows of the table with the same key apart.
const ROW: &str = "__selvedge_row";
/// Counts rows of the source with the same key, or pairs with the same row of the table.
const NUMBER: &str = "__selvedge_number";
/// The clause that applies, from 1, before it is known whether it may.
const CLAUSE: &str = "__selvedge_clause";
/// The clause that applies, from 1; 0 for none, less for a pair that is one too many. Which pairs are written must be decided
/// by this column alone: a filter on others would be moved to where pairs are not refused yet.
const ACTION: &str = "__selvedge_action";

/// A `MERGE`, as far as its pairs go.
pub(super) struct Pairs<'a> {
    pub changed: &'a Changed<'a>,
    pub condition: &'a Condition,
    pub clauses: &'a [Clause],
}

impl Pairs<'_> {
    /// The rows that come into the table when all clauses are for rows of the source alone.
    pub fn only_in_source(&self, target: LogicalPlan, source: LogicalPlan) -> Result<LogicalPlan, Failure> {
        let rows = join(source, target, JoinType::LeftAnti, &self.condition.on)?;
        let columns = columns_of(&rows).into_iter().chain([self.clause_of(|_| None).alias(ACTION)]).collect();
        let rows = filtered(projected(rows, columns)?, column(ACTION).not_eq(lit(0_i64)))?;
        // No row of the table is left to have columns: a row without an action is not here.
        self.written(rows, |field| Ok(lit(datafusion::scalar::ScalarValue::try_from(field.data_type())?)))
    }

    /// What becomes of the rows of the table, and the rows that come into it.
    pub fn merged(&self, target: LogicalPlan, source: LogicalPlan) -> Result<LogicalPlan, Failure> {
        let old = columns_of(&target);
        let has_new = self.clauses.iter().any(|clause| clause.rows == MergeRows::OnlyInSource);
        let join_type = if has_new { JoinType::Full } else { JoinType::Left };
        let rows = match self.is_numbered_by_source() {
            true => self.paired_once(target, source, join_type)?,
            false => self.paired(target, source, join_type)?,
        };
        let deletes = self.numbered().filter(|(_, clause)| matches!(clause.action, Action::Delete));
        let stays = deletes.map(|(number, _)| column(ACTION).not_eq(lit(number)));
        let once = column(ACTION).not_eq(lit(LEFT_OUT));
        let keeps = stays.fold(once, Expr::and);
        let keeps = match has_new {
            // A row of the source alone is written when a clause says so.
            true => keeps.and(column(IN_TARGET).is_not_null().or(column(ACTION).gt(lit(0_i64)))),
            false => keeps,
        };
        let mut old = old.into_iter();
        self.written(filtered(rows, keeps)?, |_| {
            old.next().ok_or_else(|| datafusion::common::internal_datafusion_err!("a column of the table is missing"))
        })
    }

    /// Whether each row of the source acts on every row of the table that has its key.
    fn is_numbered_by_source(&self) -> bool {
        let mut matched = self.clauses.iter().filter(|clause| clause.rows == MergeRows::Matched).peekable();
        let all_or_none = matched.peek().is_none() || matched.any(|clause| clause.condition.is_none());
        all_or_none && !self.condition.has_more
    }

    /// Pairs of which all those with the same row of the table are acted on, or none.
    fn paired_once(
        &self,
        target: LogicalPlan,
        source: LogicalPlan,
        join_type: JoinType,
    ) -> Result<LogicalPlan, Failure> {
        let keys = self.condition.keys.iter().map(|(_, source)| source.clone());
        let of_source = self.condition.of_source.iter().map(|part| Expr::IsTrue(Box::new(part.clone())));
        let source = numbered(source, keys.chain(of_source).collect(), vec![], NUMBER)?;
        let pairs = join(marked(target, IN_TARGET)?, marked(source, IN_SOURCE)?, join_type, &self.condition.on)?;
        let repeated = column(IN_TARGET).is_not_null().and(column(IN_SOURCE).is_not_null());
        let repeated = repeated.and(column(NUMBER).gt(lit(1_i64)));
        with_action(pairs, self.clause_of(presence), repeated)
    }

    /// Pairs of which some with the same row of the table may be acted on.
    fn paired(&self, target: LogicalPlan, source: LogicalPlan, join_type: JoinType) -> Result<LogicalPlan, Failure> {
        let keys = &self.condition.keys;
        let target = numbered(target, keys.iter().map(|(target, _)| target.clone()).collect(), vec![], ROW)?;
        let pairs = join(marked(target, IN_TARGET)?, marked(source, IN_SOURCE)?, join_type, &self.condition.on)?;
        let clause = self.clause_of(presence).alias(CLAUSE);
        let columns = columns_of(&pairs).into_iter().chain([clause]).collect();
        let pairs = projected(pairs, columns)?;
        // Rows of the source alone have no number; their own keys spread them over tasks.
        let key = |(target, source): &(Expr, Expr)| {
            let when = (Box::new(column(IN_TARGET).is_not_null()), Box::new(target.clone()));
            Expr::Case(Case::new(None, vec![when], Some(Box::new(source.clone()))))
        };
        let by = keys.iter().map(key).chain([column(ROW)]).collect();
        let pairs = numbered(pairs, by, vec![column(CLAUSE).sort(false, false)], NUMBER)?;
        let repeated = column(IN_TARGET).is_not_null().and(column(NUMBER).gt(lit(1_i64)));
        with_action(pairs, column(CLAUSE), repeated)
    }

    fn numbered(&self) -> impl Iterator<Item = (i64, &Clause)> {
        (1_i64..).zip(self.clauses)
    }

    /// The number of the first clause that applies; 0 when none does. `presence` is what a clause asks before its condition.
    fn clause_of(&self, presence: impl Fn(MergeRows) -> Option<Expr>) -> Expr {
        let whens = self.numbered().map(|(number, clause)| {
            let parts = presence(clause.rows).into_iter().chain(clause.condition.clone());
            let applies = conjunction(parts).unwrap_or_else(|| lit(true));
            (Box::new(applies), Box::new(lit(number)))
        });
        Expr::Case(Case::new(None, whens.collect(), Some(Box::new(lit(0_i64)))))
    }

    /// The table's columns of rows with an action; `old` is what a column has that no clause sets.
    fn written(
        &self,
        rows: LogicalPlan,
        mut old: impl FnMut(&datafusion::arrow::datatypes::Field) -> datafusion::error::Result<Expr>,
    ) -> Result<LogicalPlan, Failure> {
        let mut columns = Vec::new();
        for (position, field) in self.changed.def.schema.fields().iter().enumerate() {
            let old = old(field).map_err(broken)?;
            let new = self.numbered().filter_map(|(number, clause)| match &clause.action {
                Action::Values(values) => {
                    let value = values.get(position)?.clone()?;
                    Some((Box::new(column(ACTION).eq(lit(number))), Box::new(value)))
                }
                Action::Delete => None,
            });
            let new: Vec<_> = new.collect();
            let value = match new.is_empty() {
                true => old,
                false => Expr::Case(Case::new(None, new, Some(Box::new(old)))),
            };
            columns.push(value.alias(field.name()));
        }
        projected(rows, columns)
    }
}

/// Which rows of a pair there are, for a clause.
fn presence(rows: MergeRows) -> Option<Expr> {
    let (target, source) = (column(IN_TARGET), column(IN_SOURCE));
    Some(match rows {
        MergeRows::Matched => target.is_not_null().and(source.is_not_null()),
        MergeRows::OnlyInSource => target.is_null().and(source.is_not_null()),
        MergeRows::OnlyInTarget => target.is_not_null().and(source.is_null()),
    })
}

/// Rows with what becomes of them, refused where that is ambiguous.
fn with_action(rows: LogicalPlan, clause: Expr, repeated: Expr) -> Result<LogicalPlan, Failure> {
    let columns = columns_of(&rows).into_iter().chain([merge_action(clause, repeated).alias(ACTION)]).collect();
    projected(rows, columns)
}

/// Rows with a column that says that they are there.
fn marked(rows: LogicalPlan, name: &str) -> Result<LogicalPlan, Failure> {
    let columns = columns_of(&rows).into_iter().chain([lit(true).alias(name)]).collect();
    projected(rows, columns)
}

/// Rows with a number among those with equal values.
fn numbered(rows: LogicalPlan, by: Vec<Expr>, order: Vec<Sort>, name: &str) -> Result<LogicalPlan, Failure> {
    let number = row_number().partition_by(by);
    let number = if order.is_empty() { number.build() } else { number.order_by(order).build() }.map_err(broken)?;
    let named = cast(column(&number.schema_name().to_string()), DataType::Int64).alias(name);
    let columns = columns_of(&rows).into_iter().chain([named]).collect();
    let rows = LogicalPlanBuilder::from(rows).window([number]).and_then(LogicalPlanBuilder::build).map_err(broken)?;
    projected(rows, columns)
}

fn join(left: LogicalPlan, right: LogicalPlan, join_type: JoinType, on: &Expr) -> Result<LogicalPlan, Failure> {
    let joined = LogicalPlanBuilder::from(left).join_on(right, join_type, [on.clone()]);
    joined.and_then(LogicalPlanBuilder::build).map_err(broken)
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}
