//! `EXPECT`, `DROP EXPECT`, `SHOW EXPECTS`.
//!
//! A condition is planned as if it were a query on the table, for the sake of messages with places, and then as each write
//! will plan it: on the columns alone, from its text.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue, Span};
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, ObjectName, Query, SelectItem, SetExpr, Spanned as _};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use selvedge_engine::catalog::{TableDef, TableName};
use selvedge_engine::error::classify;
use selvedge_engine::plan::{check_expr, time_column};
use selvedge_engine::sql::{DropExpect, Expect, ExpectRule};
use selvedge_model::Failure;
use selvedge_model::expectation::{Expectation, OnViolation, Rule};

use super::statement::Context;
use super::{Planned, insert, managed, names, query, rejected, resolve, show};

const DAY_MS: i64 = 86_400_000;

pub(super) async fn expect(context: &Context<'_>, expect: &Expect) -> Result<Planned, Failure> {
    let table = names::table(context.statement, &expect.table)?;
    let at_table = |f: Failure| f.at(context.statement.place_of_name(&expect.table));
    let def = insert::writable(context.planner, &table).map_err(at_table)?;
    let opened = managed::open(context.planner, &context.state, &def).await.map_err(at_table)?;
    let def = managed::current(def, opened.as_ref());
    let rule = match &expect.rule {
        ExpectRule::Check(condition) => {
            check(context, expect, condition, &def).await?;
            Rule::Check { sql: condition.to_string() }
        }
        ExpectRule::Rows { at_least, at_most } => Rule::Rows { at_least: *at_least, at_most: *at_most },
        ExpectRule::Fresh { column, within } => {
            let name = column_of(context, column, &def)?;
            let within_ms = interval_ms(context, within)?;
            Rule::Fresh { column: name, within_ms, interval: within.to_string() }
        }
    };
    let name = names::ident(&expect.name);
    let there = context.planner.engine.catalog().expectations(&table).iter().any(|known| known.name == name);
    let expectation = Expectation { name: name.clone(), rule, on_violation: expect.on_violation };
    if expect.on_violation == OnViolation::Reject {
        rejected::make(context, &def).await.map_err(at_table)?;
    }
    let changed = context.planner.catalog.put_expectation(&table, expectation).await.map_err(at_table)?;
    Ok(Planned::done(match (changed, there) {
        (false, _) => format!("{table} expects {name} already"),
        (true, true) => format!("expectation {name} of {table} is another one now"),
        (true, false) => format!("{table} expects {name}"),
    }))
}

/// Refuses a condition that a write could not check.
async fn check(context: &Context<'_>, expect: &Expect, condition: &SqlExpr, def: &TableDef) -> Result<(), Failure> {
    let place = context.statement.place_of(Span::try_from_sqlparser_span(condition.span()));
    let plan = query::source(context, &asking(expect, condition)?).await?;
    let data_type = plan.schema().field(0).data_type().clone();
    if data_type != DataType::Boolean {
        let cause = format!("a CHECK must be true or false, and this is {data_type}");
        let failure =
            Failure::user("INVALID_EXPECTATION", cause).with_hint("Compare it with something: CHECK (a > 0).");
        return Err(failure.at(place));
    }
    check_expr(&context.state, &condition.to_string(), &def.schema).map(|_| ()).map_err(|error| {
        let cause = classify(&error).cause;
        let hint = "A CHECK is about one row: name columns without their table, and compute nothing over many rows.";
        Failure::user("INVALID_EXPECTATION", cause).with_hint(hint).at(place)
    })
}

/// The query `SELECT condition FROM table`.
fn asking(expect: &Expect, condition: &SqlExpr) -> Result<Query, Failure> {
    let broken = || Failure::internal("INTERNAL", format!("no query could be made of {condition}"));
    let text = format!("SELECT 1 FROM {}", expect.table);
    let parser = Parser::new(&GenericDialect {}).try_with_sql(&text);
    let mut query = parser.and_then(|mut parser| parser.parse_query()).map_err(|_| broken())?;
    match query.body.as_mut() {
        SetExpr::Select(select) => select.projection = vec![SelectItem::UnnamedExpr(condition.clone())],
        _ => return Err(broken()),
    }
    Ok(*query)
}

/// A column of the table that has times.
fn column_of(context: &Context<'_>, column: &Ident, def: &TableDef) -> Result<String, Failure> {
    let name = names::ident(column);
    let place = context.statement.place_of_ident(column);
    if def.schema.index_of(&name).is_err() {
        return Err(insert::missing_column(def, &name).at(place));
    }
    match time_column(&def.schema, &name) {
        Ok(_) => Ok(name),
        Err(error) => Err(Failure::user("INVALID_EXPECTATION", classify(&error).cause).at(place)),
    }
}

/// The length of an interval of days and less.
fn interval_ms(context: &Context<'_>, within: &SqlExpr) -> Result<u64, Failure> {
    let place = context.statement.place_of(Span::try_from_sqlparser_span(within.span()));
    let invalid = |cause: String| {
        let failure = Failure::user("INVALID_EXPECTATION", cause);
        failure.with_hint("Write it in days, hours or minutes: INTERVAL '36 hours'.").at(place.clone())
    };
    let planned = context.state.create_logical_expr(&within.to_string(), &DFSchema::empty());
    let value = match planned {
        Ok(Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _)) => value,
        Ok(_) => return Err(invalid(format!("{within} is not an interval of fixed length"))),
        Err(error) => return Err(invalid(classify(&error).cause)),
    };
    if value.months != 0 {
        return Err(invalid(format!("{within} has no fixed length: months and years differ")));
    }
    let ms = i64::from(value.days).saturating_mul(DAY_MS).saturating_add(value.nanoseconds / 1_000_000);
    u64::try_from(ms).ok().filter(|ms| *ms > 0).ok_or_else(|| invalid(format!("{within} is not longer than nothing")))
}

pub(super) async fn drop(context: &Context<'_>, drop: &DropExpect) -> Result<Planned, Failure> {
    let table = names::table(context.statement, &drop.table)?;
    let name = names::ident(&drop.name);
    let dropped = context.planner.catalog.drop_expectation(&table, &name, drop.if_exists).await;
    let dropped = dropped.map_err(|failure| match failure.code.as_str() {
        "EXPECTATION_NOT_FOUND" => failure.at(context.statement.place_of_ident(&drop.name)),
        _ => failure.at(context.statement.place_of_name(&drop.table)),
    })?;
    Ok(Planned::done(match dropped {
        true => format!("{table} no longer expects {name}"),
        false => format!("there was no expectation {name} of {table}"),
    }))
}

pub(super) fn show_all(context: &Context<'_>, name: Option<&ObjectName>) -> Result<Planned, Failure> {
    let catalog = context.planner.engine.catalog();
    let tables: Vec<TableName> = match name {
        None => catalog.expecting(),
        Some(name) => {
            let table = names::table(context.statement, name)?;
            if catalog.table(&table).is_none() {
                let failure = resolve::missing(context.planner, &table);
                return Err(failure.at(context.statement.place_of_name(name)));
            }
            vec![table]
        }
    };
    let rows = tables.iter().flat_map(|table| {
        let row = |e: Expectation| vec![table.to_string(), e.name, e.rule.to_string(), e.on_violation.to_string()];
        catalog.expectations(table).into_iter().map(row).collect::<Vec<_>>()
    });
    show::done(&["table", "name", "rule", "on_violation"], rows.collect())
}
