//! Sends each kind of statement to the file that plans it.

use datafusion::execution::SessionState;
use selvedge_engine::error::classify;
use selvedge_engine::session::Settings;
use selvedge_engine::sql::{ScriptStatement, StatementKind};
use selvedge_model::failure::HasFailure as _;
use selvedge_model::{Failure, StatementAttempt};

use super::{
    Planned, Planner, adaptive, change, contract, copy, create, expect, explain, external, insert, maintain, query,
    refresh, show, view,
};

/// What planning one statement needs.
pub(super) struct Context<'a> {
    pub planner: &'a Planner,
    pub statement: &'a ScriptStatement,
    pub state: SessionState,
    pub settings: &'a Settings,
    pub job_id: String,
}

pub(super) async fn plan(
    planner: &Planner,
    statement: &ScriptStatement,
    settings: &mut Settings,
    attempt: &StatementAttempt,
) -> Result<(SessionState, Planned), Failure> {
    if let StatementKind::Set { key, value } = &statement.kind {
        settings.set(key, value)?;
        return Ok((session(planner, settings)?, Planned::done(format!("{key} = {value}"))));
    }
    let state = session(planner, settings)?;
    let mut context = Context { planner, statement, state, settings, job_id: attempt.job_id() };
    let planned = dispatch(&context, &statement.kind).await?;
    let plan = match &planned {
        Planned::Query { plan } | Planned::Analyze { plan } => Some(plan),
        Planned::Write(write) => Some(&write.plan),
        Planned::Done { .. } | Planned::Vacuum(_) => None,
    };
    if let Some(plan) = plan {
        adaptive::decide(&mut context.state, plan, settings)?;
    }
    Ok((context.state, planned))
}

/// A session for planning: as the engine makes them, with places of names kept.
pub(super) fn session(planner: &Planner, settings: &Settings) -> Result<SessionState, Failure> {
    let mut state = planner.engine.session(settings).map_err(|e| e.failure())?;
    state.config_mut().options_mut().set("datafusion.sql_parser.collect_spans", "true").map_err(|e| classify(&e))?;
    Ok(state)
}

/// Plans a statement of any kind but `SET`, with what its table expects when it writes.
pub(super) async fn dispatch(context: &Context<'_>, kind: &StatementKind) -> Result<Planned, Failure> {
    let planned = of_kind(context, kind).await?;
    contract::attach(context.planner, &context.state, planned).await
}

async fn of_kind(context: &Context<'_>, kind: &StatementKind) -> Result<Planned, Failure> {
    match kind {
        StatementKind::Query(query) => {
            let plan = query::checked(context, query).await?;
            Ok(Planned::Query { plan })
        }
        StatementKind::Explain { analyze, verbose, statement } => {
            Box::pin(explain::explain(context, *analyze, *verbose, statement)).await
        }
        StatementKind::CreateSchema(create) => create::schema(context, create).await,
        StatementKind::CreateTable(create) => create::table(context, create).await,
        StatementKind::CreateTableAs(create) => create::table_as(context, create).await,
        StatementKind::CreateExternalTable(create) => external::create(context, create).await,
        StatementKind::CreateView(create) => view::create(context, create).await,
        StatementKind::Drop(drop) => create::drop(context, drop).await,
        StatementKind::Insert(insert) => insert::plan(context, insert).await.map(Planned::from),
        StatementKind::Delete(delete) => Box::pin(change::delete(context, delete)).await,
        StatementKind::Update(update) => Box::pin(change::update(context, update)).await,
        StatementKind::Merge(merge) => Box::pin(change::merge(context, merge)).await,
        StatementKind::Copy(copy) => copy::plan(context, copy).await.map(Planned::from),
        StatementKind::Show(show) => show::show(context, show).await,
        StatementKind::Describe(name) => show::describe(context, name).await,
        StatementKind::Refresh(name) => refresh::refresh(context, name).await,
        StatementKind::Maintain(maintenance) => maintain::plan(context, maintenance).await,
        StatementKind::Expect(expectation) => expect::expect(context, expectation).await,
        StatementKind::DropExpect(drop) => expect::drop(context, drop).await,
        StatementKind::Set { key, .. } => {
            Err(Failure::internal("INTERNAL", format!("SET {key} was to be planned without its settings")))
        }
    }
}
