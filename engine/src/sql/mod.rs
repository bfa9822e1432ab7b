//! Scripts: header, parameters, Jinja, statements.
//!
//! [`prepare`] turns the text an author wrote into statements whose every place points back into that text. It reads no
//! catalog and plans nothing: the scheduler's `planning` comes next. Order of the files: `header`, `template`, `source`
//! (where rendered text came from), `parse`, `statement`.

mod change;
mod expect;
mod header;
mod parse;
mod source;
mod statement;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_model::Failure;

pub use change::{ChangedTable, Delete, Merge, MergeAction, MergeClause, MergeRows, SetColumn, Update};
pub use expect::{DropExpect, Expect, ExpectRule};
pub use header::Header;
pub use source::ScriptSource;
pub use statement::{
    ColumnSpec, CopySource, CopyTo, CreateExternalTable, CreateSchema, CreateTable, CreateTableAs, CreateView, Drop,
    DropKind, Insert, PartitionItem, PartitionValue, ScriptStatement, Show, StatementKind, TableColumns, name_text,
};

/// The longest script that is taken, as written and as rendered.
pub const MAX_SCRIPT_BYTES: usize = 2 * 1024 * 1024;

/// The most statements a script may have.
pub const MAX_STATEMENTS: usize = 2000;

/// The most problems that are reported at once.
const MAX_PROBLEMS: usize = 100;

/// A script ready to plan.
#[derive(Debug, Clone)]
pub struct Script {
    /// What its header declares.
    pub header: Header,
    /// Its parameters, defaults filled in.
    pub params: BTreeMap<String, String>,
    /// Its statements, in order; never empty.
    pub statements: Vec<ScriptStatement>,
}

/// Takes a script apart: header, then parameters, then Jinja, then statements.
///
/// A parameter's value enters the text as it is, as in dbt and Airflow: quotes around `'{{ ds }}'` are the author's to
/// write, and a string parameter can therefore carry SQL. Declare `date`, `int`, `float` or `bool` where one will do.
///
/// # Errors
/// Every problem of every part at once (the first hundred), each with its place in the script as written.
pub fn prepare(text: &str, given: &BTreeMap<String, String>) -> Result<Script, Failure> {
    if text.len() > MAX_SCRIPT_BYTES {
        return Err(template::too_long("the script"));
    }
    let mut problems = Vec::new();
    let source = Arc::new(ScriptSource::verbatim(text));
    let header = header::parse(&source, &mut problems);
    let params = header.resolve(&source, given, &mut problems);
    let statements = match template::render(&source, &header, &params, &mut problems) {
        Some(rendered) => parse::parse(&Arc::new(rendered), &mut problems),
        None => Vec::new(),
    };
    problems.truncate(MAX_PROBLEMS);
    match Failure::join(problems) {
        Some(failure) => Err(failure),
        None => Ok(Script { header: header.into_public(), params, statements }),
    }
}

#[cfg(test)]
mod tests;
