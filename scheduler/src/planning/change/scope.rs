//! Gives the expressions of a statement their meaning: DataFusion's planner sees them as the columns of a query over the
//! tables that the statement names, so that subqueries, casts and errors with their places are as they are in queries.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Span, TableReference};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection, cast};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, ObjectName, Query, SelectItem, SetExpr, Spanned as _, TableFactor, Value,
    visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use selvedge_engine::error::classify;
use selvedge_engine::sql::ScriptStatement;
use selvedge_model::{Failure, Place};

use super::super::statement::Context;
use super::super::{names, query};
use super::Changed;

/// Where the table that is changed stands for the planner. A subquery that names the table reads it on its own.
const CATALOG: &str = "__selvedge_change";
const SCHEMA: &str = "target";
const TABLE: &str = "rows";

/// The query whose columns the expressions are. Both names at its end are replaced.
const QUERY: &str = r#"SELECT 1 FROM "__selvedge_change"."target"."rows" AS t CROSS JOIN s"#;

/// The name by which plans scan the table that is changed.
pub(super) fn reference() -> TableReference {
    TableReference::full(CATALOG, SCHEMA, TABLE)
}

/// Expressions to plan together.
pub(super) struct Scope<'a> {
    context: &'a Context<'a>,
    changed: &'a Changed<'a>,
    source: Option<&'a TableFactor>,
    items: Vec<SqlExpr>,
}

/// An expression with its types checked.
pub(super) struct Typed {
    pub expr: Expr,
    pub data_type: DataType,
    pub place: Place,
}

/// Planned expressions, in the order in which they were added, and what they are over.
pub(super) struct Planned {
    /// All rows of the table that is changed, under the name that the statement gives it.
    pub target: LogicalPlan,
    /// The rows that are merged into it.
    pub source: Option<LogicalPlan>,
    pub exprs: Vec<Typed>,
}

impl<'a> Scope<'a> {
    pub fn new(context: &'a Context<'a>, changed: &'a Changed<'a>, source: Option<&'a TableFactor>) -> Self {
        Self { context, changed, source, items: Vec::new() }
    }

    /// Adds an expression.
    pub fn add(&mut self, expr: &SqlExpr) {
        let mut expr = expr.clone();
        if self.changed.written.alias.is_none() {
            shorten(&mut expr, &self.changed.written.name);
        }
        self.items.push(expr);
    }

    pub async fn plan(self) -> Result<Planned, Failure> {
        let places: Vec<Place> = self.items.iter().map(|item| place(self.context.statement, item)).collect();
        // Without one expression it would be no query.
        let items = if self.items.is_empty() { vec![SqlExpr::value(Value::Null)] } else { self.items };
        let query = query(self.changed.alias(), self.source, items)?;
        let context = self.context;
        let context = Context {
            planner: context.planner,
            statement: context.statement,
            state: with_target(context, self.changed)?,
            settings: context.settings,
            job_id: context.job_id.clone(),
        };
        let plan = query::source(&context, &query).await?;
        let LogicalPlan::Projection(Projection { expr, input, schema, .. }) = plan else { return Err(aggregated()) };
        let (target, source) = match (Arc::unwrap_or_clone(input), self.source.is_some()) {
            (LogicalPlan::Join(Join { left, right, .. }), true) => {
                (Arc::unwrap_or_clone(left), Some(Arc::unwrap_or_clone(right)))
            }
            (target @ LogicalPlan::SubqueryAlias(_), false) => (target, None),
            _ => return Err(aggregated()),
        };
        let typed = expr.into_iter().zip(schema.fields()).zip(places);
        let typed = typed.map(|((expr, field), place)| Typed {
            expr: expr.unalias(),
            data_type: field.data_type().clone(),
            place,
        });
        Ok(Planned { target, source, exprs: typed.collect() })
    }
}

impl Typed {
    /// The expression as a condition.
    pub fn condition(&self) -> Result<Expr, Failure> {
        match &self.data_type {
            DataType::Boolean => Ok(self.expr.clone()),
            DataType::Null => Ok(cast(self.expr.clone(), DataType::Boolean)),
            other => {
                let cause = format!("a condition must be true or false, and this one is {other}");
                Err(Failure::user("TYPE_MISMATCH", cause).at(self.place.clone()))
            }
        }
    }
}

/// Whether an expression asks a query of its own.
pub(super) fn has_subquery(expr: &Expr) -> bool {
    let is_subquery = |e: &Expr| {
        matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
    };
    expr.exists(|e| Ok(is_subquery(e))).unwrap_or(true)
}

fn place(statement: &ScriptStatement, expr: &SqlExpr) -> Place {
    statement.place_of(Span::try_from_sqlparser_span(expr.span()))
}

/// Takes the schema out of `schema.table.column`: within the statement the table goes by its last name.
fn shorten(expr: &mut SqlExpr, table: &ObjectName) {
    let parts: Vec<&Ident> = table.0.iter().filter_map(|part| part.as_ident()).collect();
    if parts.len() < 2 {
        return;
    }
    let _: ControlFlow<()> = visit_expressions_mut(expr, |inner| {
        if let SqlExpr::CompoundIdentifier(path) = inner
            && path.len() > parts.len()
            && path.iter().zip(&parts).all(|(a, b)| names::ident(a) == names::ident(b))
        {
            path.drain(..parts.len() - 1);
        }
        ControlFlow::Continue(())
    });
}

fn query(alias: Ident, source: Option<&TableFactor>, items: Vec<SqlExpr>) -> Result<Query, Failure> {
    let odd = || Failure::internal("INTERNAL", "the query of a change's expressions is not as it should be");
    let mut query = *Parser::new(&GenericDialect {})
        .try_with_sql(QUERY)
        .and_then(|mut parser| parser.parse_query())
        .map_err(|_| odd())?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(odd()) };
    let named =
        |(i, expr)| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("__selvedge_{i}")) };
    select.projection = items.into_iter().enumerate().map(named).collect();
    let Some(from) = select.from.first_mut() else { return Err(odd()) };
    let TableFactor::Table { alias: Some(table), .. } = &mut from.relation else { return Err(odd()) };
    table.name = alias;
    match (source, from.joins.first_mut()) {
        (Some(source), Some(join)) => join.relation = source.clone(),
        _ => from.joins.clear(),
    }
    Ok(query)
}

fn aggregated() -> Failure {
    Failure::user(
        "NOT_SUPPORTED",
        "aggregates, window functions and unnest cannot stand in a statement that changes rows",
    )
    .with_hint("Compute them in a query: MERGE INTO t USING (SELECT ...) AS s")
}

/// The session in which the table that is changed has a name of its own.
fn with_target(context: &Context<'_>, changed: &Changed<'_>) -> Result<SessionState, Failure> {
    let failed = |e| classify(&e);
    let schema = MemorySchemaProvider::new();
    schema.register_table(TABLE.to_owned(), changed.provider()).map_err(failed)?;
    let own = MemoryCatalogProvider::new();
    own.register_schema(SCHEMA, Arc::new(schema)).map_err(failed)?;
    let mut state = context.state.clone();
    let session = Arc::clone(state.catalog_list());
    state.register_catalog_list(Arc::new(WithTarget { session, own: Arc::new(own) }));
    Ok(state)
}

/// The session's catalog and our own.
#[derive(Debug)]
struct WithTarget {
    session: Arc<dyn CatalogProviderList>,
    own: Arc<MemoryCatalogProvider>,
}

impl CatalogProviderList for WithTarget {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        self.session.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        match name == CATALOG {
            true => Some(Arc::clone(&self.own) as _),
            false => self.session.catalog(name),
        }
    }
}
