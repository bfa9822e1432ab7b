//! Gives failures their place in the script, and hints that need the catalog.

use datafusion::error::DataFusionError;
use selvedge_engine::error::classify;
use selvedge_engine::error::nearest;
use selvedge_engine::sql::ScriptStatement;
use selvedge_model::Failure;

use super::Planner;
use super::names;

/// The failure of planning with DataFusion. Each of several errors keeps its own place.
pub(super) fn planning(planner: &Planner, statement: &ScriptStatement, error: &DataFusionError) -> Failure {
    let mut failures = Vec::new();
    collect(planner, statement, error, &mut failures);
    Failure::join(failures).unwrap_or_else(|| classify(error))
}

fn collect(planner: &Planner, statement: &ScriptStatement, error: &DataFusionError, failures: &mut Vec<Failure>) {
    match error {
        DataFusionError::Collection(errors) => {
            errors.iter().for_each(|e| collect(planner, statement, e, failures));
        }
        DataFusionError::Shared(inner) => collect(planner, statement, inner, failures),
        DataFusionError::Context(_, inner) if matches!(**inner, DataFusionError::Collection(_)) => {
            collect(planner, statement, inner, failures);
        }
        error => {
            let span = error.diagnostic().and_then(|d| d.span);
            let failure = suggest(planner, classify(error)).at(statement.place_of(span));
            if !failures.contains(&failure) {
                failures.push(failure);
            }
        }
    }
}

/// Names the nearest table where one is missing, and says plainly what DataFusion says of its plans.
fn suggest(planner: &Planner, failure: Failure) -> Failure {
    if failure.cause.starts_with("Projections require unique expression names") {
        return Failure::user("DUPLICATE_COLUMN", "two columns of the query have the same name")
            .with_hint("Name them apart with AS.");
    }
    if failure.code != "TABLE_NOT_FOUND" || !failure.hint.is_empty() {
        return failure;
    }
    // `classify` words it "table NAME does not exist".
    match failure.cause.split_whitespace().nth(1) {
        Some(name) => {
            let hint = table_hint(planner, name.trim_matches('\''));
            failure.with_hint(hint)
        }
        None => failure,
    }
}

/// What to do about a table or view that is not there.
pub(super) fn table_hint(planner: &Planner, name: &str) -> String {
    let known = names::known(planner);
    let bare = name.rsplit('.').next().unwrap_or(name);
    let near = nearest(name, known.iter().map(String::as_str))
        .or_else(|| known.iter().map(String::as_str).find(|k| k.rsplit('.').next() == Some(bare)));
    match near {
        Some(near) => format!("Did you mean {near}?"),
        None if known.is_empty() => "There are no tables yet: create one with CREATE EXTERNAL TABLE.".to_owned(),
        None => "SHOW TABLES lists what there is.".to_owned(),
    }
}

/// Puts a failure that has no place at the statement's beginning, and names the statement in others.
pub(super) fn place(failure: Failure, statement: &ScriptStatement) -> Failure {
    failure.at(statement.place.clone())
}
