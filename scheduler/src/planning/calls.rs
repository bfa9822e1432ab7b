//! Finds the function call that planning says has wrong arguments: DataFusion names the function and no place.
//!
//! One call of that name is it. Of several, it is the one with which, all others taken out, planning fails in the same
//! words. Only for the place in a message.

use std::ops::ControlFlow;

use datafusion::common::Span;
use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Query, Spanned as _, Statement as SqlStatement, TrimWhereField, Value, visit_expressions,
    visit_expressions_mut,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;
use selvedge_engine::error::classify;
use selvedge_model::Place;

use super::statement::Context;

/// Calls of one function that are tried, each of which is planning the query once more.
const MAX_TRIED: usize = 16;

/// The place of the call of `function` of which planning has said `cause`.
pub(super) async fn locate(context: &Context<'_>, query: &Query, function: &str, cause: &str) -> Option<Place> {
    let calls = calls(query, &context.state, function);
    let place = |span: SqlSpan| context.statement.place_of(Span::try_from_sqlparser_span(span));
    if let [_, _, ..] = calls.as_slice() {
        for kept in calls.iter().take(MAX_TRIED) {
            let mut alone = query.clone();
            take_out(&mut alone, &calls, *kept);
            if planning_says(&context.state, alone).await.as_deref() == Some(cause) {
                return Some(place(*kept));
            }
        }
    }
    calls.first().map(|span| place(*span))
}

/// Where each call of a function begins.
fn calls(query: &Query, state: &SessionState, function: &str) -> Vec<SqlSpan> {
    let mut found = Vec::new();
    let _: ControlFlow<()> = visit_expressions(query, |expr| {
        if let Some((name, span)) = called(expr)
            && is_same(state, &name, function)
        {
            found.push(span);
        }
        ControlFlow::Continue(())
    });
    found
}

/// The function that an expression calls, and where. Those with a syntax of their own begin, for us, at their argument.
fn called(expr: &Expr) -> Option<(String, SqlSpan)> {
    let name = match expr {
        Expr::Function(function) => {
            let ident = function.name.0.first()?.as_ident()?;
            return Some((ident.value.to_lowercase(), ident.span));
        }
        Expr::Substring { .. } => "substr",
        Expr::Ceil { .. } => "ceil",
        Expr::Floor { .. } => "floor",
        Expr::Position { .. } => "strpos",
        Expr::Extract { .. } => "date_part",
        Expr::Overlay { .. } => "overlay",
        Expr::Trim { trim_where: Some(TrimWhereField::Leading), .. } => "ltrim",
        Expr::Trim { trim_where: Some(TrimWhereField::Trailing), .. } => "rtrim",
        Expr::Trim { .. } => "btrim",
        _ => return None,
    };
    Some((name.to_owned(), expr.span()))
}

/// Whether a name in SQL is that of a function, or another name of it.
fn is_same(state: &SessionState, called: &str, function: &str) -> bool {
    called == function
        || state.scalar_functions().get(called).is_some_and(|f| f.name() == function)
        || state.aggregate_functions().get(called).is_some_and(|f| f.name() == function)
        || state.window_functions().get(called).is_some_and(|f| f.name() == function)
}

/// Puts NULL in the place of all calls but one and those around it.
fn take_out(query: &mut Query, calls: &[SqlSpan], kept: SqlSpan) {
    let _: ControlFlow<()> = visit_expressions_mut(query, |expr| {
        let is_other = called(expr).is_some_and(|(_, span)| span != kept && calls.contains(&span));
        if is_other && !holds(expr, kept) {
            *expr = Expr::value(Value::Null);
        }
        ControlFlow::Continue(())
    });
}

fn holds(expr: &Expr, kept: SqlSpan) -> bool {
    visit_expressions(expr, |inner| match called(inner) {
        Some((_, span)) if span == kept => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
    .is_break()
}

/// What is wrong with a query, if anything is.
async fn planning_says(state: &SessionState, query: Query) -> Option<String> {
    let statement = DfStatement::Statement(Box::new(SqlStatement::Query(Box::new(query))));
    let planned = match state.statement_to_plan(statement).await {
        Ok(plan) => state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}),
        Err(error) => Err(error),
    };
    planned.err().map(|error| classify(&error).cause)
}
