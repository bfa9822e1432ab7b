//! `INSERT INTO` and `INSERT OVERWRITE`.

use std::borrow::Cow;

use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::Ident;
use selvedge_engine::catalog::{Format, TableDef, TableName};
use selvedge_engine::error::nearest;
use selvedge_engine::sql::Insert;
use selvedge_model::Failure;
use selvedge_model::words::counted;

use super::assign::{self, Origin};
use super::partition::{self, AtIdent, PartitionClause};
use super::statement::Context;
use super::target::{self, Target};
use super::{LogTarget, PlannedWrite, Planner, defaults, maintain, managed, names, query, resolve};

pub(super) async fn plan(context: &Context<'_>, insert: &Insert) -> Result<PlannedWrite, Failure> {
    let name = names::table(context.statement, &insert.table)?;
    let at_table = |f: Failure| f.at(context.statement.place_of_name(&insert.table));
    let at_name = |(failure, ident): AtIdent| match ident {
        Some(ident) => failure.at(context.statement.place_of_ident(&ident)),
        None => at_table(failure),
    };
    let def = writable(context.planner, &name).map_err(at_table)?;
    let opened = managed::open(context.planner, &context.state, &def).await.map_err(at_table)?;
    let logged = opened.as_ref().map_or_else(|| def.schema.clone(), |snapshot| snapshot.schema().clone());
    let def = managed::current(def, opened.as_ref());
    let source = match insert.by_name {
        true => query::source(context, &insert.source).await?,
        false => query::positional_source(context, &insert.source).await?,
    };
    let (insert, def, is_evolved) = match insert.by_name {
        true => by_name(context, insert, def, &logged, &source).map_err(at_table)?,
        false => (Cow::Borrowed(insert), def, false),
    };
    let insert = insert.as_ref();
    let clause = partition::resolve(insert, &def).map_err(at_name)?;
    let absent = |field: &FieldRef| absent(context, field, &def, &logged);
    let targets = targets(insert, &def, &clause, &source, absent).map_err(at_name)?;
    let kind = partition::write_kind(insert.overwrite, &clause, &def);
    let input = assign::fit(source, &targets, &def.name.to_string()).map_err(at_table)?;
    let log = match def.format {
        Format::Delta => {
            let log = LogTarget::write(opened, &input, &kind, &context.state).map_err(at_table)?;
            Some(LogTarget { replaces_columns: is_evolved, ..log })
        }
        _ => None,
    };
    let target = Target::parquet(def.location.clone(), def.schema.clone(), def.partition_by.clone(), kind);
    let target = Target { label: def.name.to_string(), log, ..target };
    target::write(input, target, context.settings, &context.job_id)
}

/// The statement as if it had listed the columns that its query has, and the table, with those that it lacked when it takes
/// them. Then the last is true. `logged` are the columns as the table's log has them.
fn by_name<'a>(
    context: &Context<'_>,
    insert: &Insert,
    def: TableDef,
    logged: &SchemaRef,
    source: &LogicalPlan,
) -> Result<(Cow<'a, Insert>, TableDef, bool), Failure> {
    let given = source.schema().fields();
    let columns = given.iter().map(|field| Ident::with_quote('"', field.name())).collect();
    let listed = Cow::Owned(Insert { columns, ..insert.clone() });
    let is_new = |field: &&FieldRef| def.schema.field_with_name(field.name()).is_err();
    let new: Vec<FieldRef> = given.iter().filter(is_new).cloned().collect();
    let Some(first) = new.first() else { return Ok((listed, def, false)) };
    if !insert.evolves {
        let failure = missing_column(&def, first.name());
        let hint = format!("{} To add it, write INSERT WITH SCHEMA EVOLUTION.", failure.hint);
        return Err(failure.with_hint(hint));
    }
    if def.format != Format::Delta {
        let cause = format!("{} is a table of {} files, and its columns cannot change", def.name, def.format);
        return Err(Failure::user("NOT_SUPPORTED", cause).with_hint("Make it a managed table, or leave them out."));
    }
    let schema = maintain::with_columns(logged, &def.partition_by, &new)?;
    let def = TableDef { schema, ..def };
    maintain::rehearse_columns(context, &def, &def.schema, &def.partition_by);
    Ok((listed, def, true))
}

/// A table that rows can be written to.
pub(super) fn writable(planner: &Planner, name: &TableName) -> Result<TableDef, Failure> {
    let def = existing(planner, name, "written to")?;
    if !matches!(def.format, Format::Parquet | Format::Delta) {
        let cause = format!("{name} is a table of {} files, and only Delta and Parquet tables are written", def.format);
        let hint = "Read it, and write into a table of those, or with COPY (SELECT ...) TO.";
        return Err(Failure::user("NOT_SUPPORTED", cause).with_hint(hint));
    }
    target::directory_only(def.location.clone())?;
    Ok(def)
}

/// A table, and not a view. `done` is what was to be done to it.
pub(super) fn existing(planner: &Planner, name: &TableName, done: &str) -> Result<TableDef, Failure> {
    if let Some(def) = planner.engine.catalog().table(name) {
        return Ok(def);
    }
    Err(match names::in_schemas(planner).contains(name) {
        true => Failure::user("NOT_A_TABLE", format!("{name} is a view, and a view cannot be {done}")),
        false => resolve::missing(planner, name),
    })
}

/// Where each of the table's columns comes from, in the table's order.
fn targets(
    insert: &Insert,
    def: &TableDef,
    clause: &PartitionClause,
    source: &LogicalPlan,
    absent: impl Fn(&FieldRef) -> Result<Origin, Failure>,
) -> Result<Vec<(FieldRef, Origin)>, AtIdent> {
    let given = source.schema().fields().len();
    let wanted = wanted(insert, def, clause)?;
    if wanted.len() != given {
        return Err((count_mismatch(given, &wanted, def, clause), None));
    }
    let mut targets = Vec::new();
    for field in def.schema.fields() {
        let fixed = clause.fixed.iter().find(|f| f.column == *field.name());
        let position = wanted.iter().position(|column| column == field.name());
        let origin = match (fixed, position) {
            (Some(fixed), _) => Origin::Value(fixed.value.clone()),
            (None, Some(position)) => Origin::Query(position),
            (None, None) => absent(field).map_err(|f| (f, None))?,
        };
        targets.push((field.clone(), origin));
    }
    Ok(targets)
}

/// The columns that the query's columns are for, in the query's order.
fn wanted(insert: &Insert, def: &TableDef, clause: &PartitionClause) -> Result<Vec<String>, AtIdent> {
    if insert.columns.is_empty() {
        let data = def.schema.fields().iter().map(|f| f.name().clone()).filter(|n| !def.partition_by.contains(n));
        return Ok(data.chain(clause.dynamic.iter().cloned()).collect());
    }
    let mut wanted: Vec<String> = Vec::new();
    for ident in &insert.columns {
        let column = names::ident(ident);
        let at = || Some(ident.clone());
        if def.schema.field_with_name(&column).is_err() {
            return Err((missing_column(def, &column), at()));
        }
        if wanted.contains(&column) {
            return Err((Failure::user("DUPLICATE_COLUMN", format!("column {column} is listed twice")), at()));
        }
        if clause.fixed.iter().any(|f| f.column == column) {
            let cause = format!("column {column} has its value in PARTITION already");
            return Err((Failure::user("DUPLICATE_COLUMN", cause), at()));
        }
        wanted.push(column);
    }
    // Partition columns named without value come last where they are not listed.
    let unlisted = insert.partition.iter().map(|i| names::ident(&i.column));
    let unlisted: Vec<_> = unlisted.filter(|c| clause.dynamic.contains(c) && !wanted.contains(c)).collect();
    wanted.extend(unlisted);
    Ok(wanted)
}

/// The failure of a column that a table does not have.
pub(super) fn missing_column(def: &TableDef, column: &str) -> Failure {
    let known = def.schema.fields().iter().map(|f| f.name().as_str());
    let hint = match nearest(column, known.clone()) {
        Some(near) => format!("Did you mean {near}?"),
        None => format!("It has {}.", known.collect::<Vec<_>>().join(", ")),
    };
    Failure::user("COLUMN_NOT_FOUND", format!("table {} has no column {column}", def.name)).with_hint(hint)
}

/// What a column gets that is not listed: its default, or NULL. `logged` are the columns as the table's log has them.
fn absent(context: &Context<'_>, field: &FieldRef, def: &TableDef, logged: &Schema) -> Result<Origin, Failure> {
    let (name, table) = (field.name(), &def.name);
    if def.partition_by.contains(name) {
        let cause = format!("partition column {name} of {table} is not listed");
        let hint = format!("List it, or give its value: PARTITION ({name} = '...').");
        return Err(Failure::user("SCHEMA_MISMATCH", cause).with_hint(hint));
    }
    if let Some(expr) = defaults::of_column(&context.state, logged, name)? {
        return Ok(Origin::Default(expr));
    }
    if !field.is_nullable() {
        let cause = format!("column {name} of {table} is NOT NULL and is not listed");
        return Err(Failure::user("SCHEMA_MISMATCH", cause).with_hint("List it, and give it a value."));
    }
    let null = ScalarValue::try_from(field.data_type());
    null.map(Origin::Value).map_err(|e| Failure::internal("INTERNAL", e.to_string()))
}

fn count_mismatch(given: usize, wanted: &[String], def: &TableDef, clause: &PartitionClause) -> Failure {
    let cause = format!(
        "the query gives {}, but {} takes {}: {}",
        counted(given, "column"),
        def.name,
        counted(wanted.len(), "column"),
        wanted.join(", ")
    );
    let failure = Failure::user("SCHEMA_MISMATCH", cause);
    if given == wanted.len() + clause.fixed.len() && !clause.fixed.is_empty() {
        let fixed: Vec<_> = clause.fixed.iter().map(|f| f.column.as_str()).collect();
        let verb = if fixed.len() == 1 { "has its value" } else { "have their values" };
        return failure
            .with_hint(format!("{} {verb} in PARTITION already: leave it out of the query.", fixed.join(", ")));
    }
    match clause.dynamic.is_empty() {
        true => failure,
        false => failure.with_hint(format!("The partition columns come last: {}.", clause.dynamic.join(", "))),
    }
}
