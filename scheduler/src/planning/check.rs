//! Plans a whole script against a copy of the catalog before any of it runs, so that a table misnamed in its last
//! statement is found before its first one writes.
//!
//! Each statement leaves behind in the copy what it would leave behind in the catalog, and remembers which files it would
//! write. What depends on data (a value that does not fit its column) is found only when it runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use selvedge_engine::catalog::TableDef;
use selvedge_engine::session::Settings;
use selvedge_engine::sql::{Script, ScriptStatement, StatementKind};
use selvedge_engine::store::Location;
use selvedge_engine::write::check_writable;
use selvedge_model::{Failure, StatementAttempt};

use super::{Planned, PlannedWrite, Planner, errors};
use crate::catalog::DurableCatalog;
use selvedge_engine::catalog::Format;

/// What the statements before would have written.
#[derive(Default)]
pub(super) struct Rehearsal {
    outputs: Mutex<Vec<TableDef>>,
}

impl Rehearsal {
    /// The files that an earlier statement would have put at a location or above it.
    pub fn expected(&self, location: &Location) -> Option<TableDef> {
        let wanted = location.to_string();
        let covers = |def: &&TableDef| {
            let written = def.location.to_string();
            let written = written.trim_end_matches('/');
            wanted.strip_prefix(written).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.outputs.lock().iter().rev().find(covers).cloned()
    }

    fn remember(&self, write: &PlannedWrite) -> Result<(), Failure> {
        let def = TableDef {
            name: "public.files".parse()?,
            format: Format::Parquet,
            location: write.location.clone(),
            schema: write.schema.clone(),
            partition_by: write.partition_by.clone(),
            options: Default::default(),
            owner: String::new(),
        };
        self.outputs.lock().push(def);
        Ok(())
    }
}

impl Planner {
    /// Finds what is wrong with a script before any of it runs. Nothing is changed.
    ///
    /// # Errors
    /// The problems of all statements at once, each with its place; of one statement, as a rule, the first.
    pub async fn check(&self, script: &Script, settings: &Settings) -> Result<(), Failure> {
        let copy = self.engine.catalog().fork();
        let engine = self.engine.with_catalog(Arc::clone(&copy));
        let catalog = DurableCatalog::rehearsed(copy);
        let planner = Planner { engine, catalog, rehearsal: Some(Arc::new(Rehearsal::default())), ..self.clone() };
        let mut settings = settings.clone();
        let mut problems = Vec::new();
        // Names that a failed statement would have made: not to be reported again by those that use them.
        let mut doubtful = BTreeSet::new();
        for statement in &script.statements {
            if let Err(failure) = planner.rehearse(statement, &mut settings).await {
                let follows = is_about(&failure, &doubtful);
                doubtful.extend(made_by(statement));
                if !follows {
                    problems.push(failure);
                }
            }
        }
        match Failure::join(problems) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    async fn rehearse(&self, statement: &ScriptStatement, settings: &mut Settings) -> Result<(), Failure> {
        let run = "check".parse().map_err(|e| Failure::internal("INTERNAL", format!("{e}")))?;
        let attempt = StatementAttempt { run, statement: statement.index, attempt: 1 };
        let (_, planned) = self.plan(statement, settings, &attempt).await?;
        let Planned::Write(write) = planned else { return Ok(()) };
        let at = |f| errors::place(f, statement);
        check_writable(self.engine.stores(), &write.location).await.map_err(at)?;
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.remember(&write)?;
        }
        if let Some(def) = write.create {
            let catalog = self.engine.catalog();
            catalog.create_table(def.clone(), false, true).map_err(at)?;
            if write.log.is_some_and(|log| log.base.is_some()) {
                catalog.pretend(def);
            }
        }
        Ok(())
    }
}

/// Whether a failure, with all that came with it, only follows from an earlier one.
fn is_about(failure: &Failure, doubtful: &BTreeSet<String>) -> bool {
    let follows = |f: &Failure| {
        let missing = matches!(f.code.as_str(), "TABLE_NOT_FOUND" | "SCHEMA_NOT_FOUND");
        missing && f.cause.split_whitespace().any(|word| doubtful.contains(bare(word)))
    };
    follows(failure) && failure.others.iter().all(follows)
}

fn made_by(statement: &ScriptStatement) -> Option<String> {
    match statement.kind {
        StatementKind::CreateSchema(_)
        | StatementKind::CreateTable(_)
        | StatementKind::CreateTableAs(_)
        | StatementKind::CreateExternalTable(_)
        | StatementKind::CreateView(_) => Some(bare(&statement.kind.target().to_lowercase()).to_owned()),
        _ => None,
    }
}

/// A name without its schema and quotes.
fn bare(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name).trim_matches(['"', '\''])
}
