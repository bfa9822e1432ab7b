//! From a DataFusion, Arrow, Parquet or system error to a failure.
//!
//! The root cause decides. Where DataFusion keeps what it knows only as text (missing tables and functions, a full disk),
//! the text is read here, and the tests below fail when a new release words it otherwise.

use std::error::Error as StdError;
use std::io;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use datafusion::sql::sqlparser::parser::ParserError;
use selvedge_model::failure::HasFailure;
use selvedge_model::{Domain, Failure, Retry};

use super::function::misuse;
use super::{EngineError, classify_store, nearest, or_list};

/// What an error of planning or execution means.
pub fn classify(error: &DataFusionError) -> Failure {
    match error {
        DataFusionError::Context(text, inner) => with_context(text, classify(inner)),
        DataFusionError::Diagnostic(_, inner) => classify(inner),
        DataFusionError::Shared(inner) => classify(inner),
        DataFusionError::Collection(errors) => Failure::join(errors.iter().map(classify).collect())
            .unwrap_or_else(|| Failure::internal("INTERNAL", "an empty collection of errors")),
        DataFusionError::External(inner) => classify_boxed(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => classify_arrow(inner),
        DataFusionError::ParquetError(inner) => classify_parquet(inner),
        DataFusionError::ObjectStore(inner) => classify_store(inner, "object store"),
        DataFusionError::IoError(inner) => classify_io(inner),
        DataFusionError::SQL(inner, _) => Failure::user("SYNTAX_ERROR", syntax_text(inner)),
        DataFusionError::SchemaError(inner, _) => classify_schema(inner),
        DataFusionError::Plan(text) => classify_plan(&clean(text)),
        DataFusionError::Execution(text) => {
            misuse(&clean(text)).unwrap_or_else(|| Failure::user("EXECUTION_FAILED", clean(text)))
        }
        // DataFusion calls it its own bug when a function is called with types that it does not take.
        DataFusionError::Internal(text) => {
            misuse(&clean(text)).unwrap_or_else(|| Failure::internal("INTERNAL", clean(&error.to_string())))
        }
        DataFusionError::NotImplemented(text) => Failure::user("NOT_SUPPORTED", clean(text)),
        DataFusionError::Configuration(text) => Failure::user("INVALID_SETTING", clean(text)),
        DataFusionError::ResourcesExhausted(text) => exhausted(&clean(text)),
        DataFusionError::ExecutionJoin(inner) if inner.is_panic() => {
            Failure::internal("PANIC", format!("a task panicked: {inner}"))
        }
        other => Failure::internal("INTERNAL", clean(&other.to_string())),
    }
}

/// Line and column, from 1, that the error points at within the SQL that was planned.
pub fn span_of(error: &DataFusionError) -> Option<(u32, u32)> {
    let start = error.diagnostic()?.span?.start;
    Some((u32::try_from(start.line).ok()?, u32::try_from(start.column).ok()?))
}

/// Contexts name optimizer rules and the like, which help nobody; those that name a file do.
fn with_context(text: &str, mut failure: Failure) -> Failure {
    if text.contains("file") && !failure.cause.contains(text) {
        failure.cause = format!("{text}: {}", failure.cause);
    }
    failure
}

fn classify_boxed(error: &(dyn StdError + Send + Sync + 'static)) -> Failure {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(known) = known_cause(e) {
            return known;
        }
        cause = e.source();
    }
    Failure::internal("INTERNAL", clean(&error.to_string()))
}

fn known_cause(e: &(dyn StdError + 'static)) -> Option<Failure> {
    if let Some(failure) = e.downcast_ref::<Failure>() {
        return Some(failure.clone());
    }
    if let Some(engine) = e.downcast_ref::<EngineError>() {
        return Some(engine.failure());
    }
    if let Some(inner) = e.downcast_ref::<DataFusionError>() {
        return Some(classify(inner));
    }
    if let Some(inner) = e.downcast_ref::<object_store::Error>() {
        return Some(classify_store(inner, "object store"));
    }
    if let Some(inner) = e.downcast_ref::<ArrowError>() {
        return Some(classify_arrow(inner));
    }
    if let Some(inner) = e.downcast_ref::<ParquetError>() {
        return Some(classify_parquet(inner));
    }
    e.downcast_ref::<io::Error>().map(classify_io)
}

/// What an error of Arrow's means.
pub fn classify_arrow(error: &ArrowError) -> Failure {
    match error {
        ArrowError::ExternalError(inner) => classify_boxed(inner.as_ref()),
        ArrowError::DivideByZero => {
            Failure::user("DIVISION_BY_ZERO", "division by zero").with_hint("Guard the divisor: x / nullif(y, 0)")
        }
        ArrowError::ArithmeticOverflow(text) => Failure::user("NUMERIC_OVERFLOW", text.clone()),
        ArrowError::CastError(text) => {
            Failure::user("BAD_DATA", text.clone()).with_hint("try_cast gives NULL where a value does not fit")
        }
        ArrowError::CsvError(text) | ArrowError::JsonError(text) | ArrowError::AvroError(text) => {
            Failure::user("BAD_DATA", text.clone())
        }
        ArrowError::ParseError(text) => Failure::user("BAD_DATA", text.clone()),
        ArrowError::ParquetError(text) => Failure::user("CORRUPT_FILE", text.clone()),
        ArrowError::IoError(_, inner) => classify_io(inner),
        ArrowError::MemoryError(text) => exhausted(text),
        ArrowError::NotYetImplemented(text) => Failure::user("NOT_SUPPORTED", text.clone()),
        ArrowError::SchemaError(text) | ArrowError::InvalidArgumentError(text) | ArrowError::ComputeError(text) => {
            Failure::user("EXECUTION_FAILED", text.clone())
        }
        other => Failure::internal("INTERNAL", other.to_string()),
    }
}

fn classify_parquet(error: &ParquetError) -> Failure {
    match error {
        ParquetError::External(inner) => match known_cause(inner.as_ref()) {
            Some(failure) => failure,
            None => Failure::user("CORRUPT_FILE", error.to_string()),
        },
        ParquetError::NYI(text) => Failure::user("NOT_SUPPORTED", text.clone()),
        ParquetError::ArrowError(text) => Failure::user("BAD_DATA", text.clone()),
        other => Failure::user("CORRUPT_FILE", other.to_string())
            .with_hint("The file is truncated or is not Parquet: write it again, or leave it out of the location"),
    }
}

/// What a system error means. Most pass; a full disk, and what may not be touched, have codes of their own.
pub(crate) fn classify_io(error: &io::Error) -> Failure {
    if let Some(known) = error.get_ref().and_then(|inner| known_cause(inner)) {
        return known;
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => disk_full(&error.to_string()),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Failure::user("ACCESS_DENIED", error.to_string())
        }
        _ => Failure::external("IO_ERROR", error.to_string()),
    }
}

fn exhausted(text: &str) -> Failure {
    if text.contains("disk space") {
        return disk_full(text);
    }
    Failure::new(Domain::External, Retry::Later, "OUT_OF_MEMORY", text)
        .with_hint("Give the executors more memory, or let the statement run with more partitions")
}

fn disk_full(text: &str) -> Failure {
    Failure::external("DISK_FULL", text).with_hint("Free space in the spill directory, or raise its limit")
}

fn classify_schema(error: &SchemaError) -> Failure {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => column_not_found(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Failure::user("AMBIGUOUS_COLUMN", format!("column {} is found in more than one table", field.flat_name()))
                .with_hint("Write the table's name or alias before it")
        }
        SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => {
            Failure::user("DUPLICATE_COLUMN", error.to_string()).with_hint("Give one of them another name with AS")
        }
    }
}

fn column_not_found(field: &Column, valid: &[Column]) -> Failure {
    let names: Vec<String> = valid.iter().map(|c| c.name().to_owned()).collect();
    let hint = or_list(field.name(), "Columns", names.iter().map(String::as_str));
    let mut failure = Failure::user("COLUMN_NOT_FOUND", format!("column {} does not exist", field.flat_name()));
    if let Some(exact) = names.iter().find(|n| n.as_str() != field.name() && n.eq_ignore_ascii_case(field.name())) {
        failure = failure.with_hint(format!("Names are case-sensitive in quotes: write \"{exact}\""));
    } else if !hint.is_empty() {
        failure = failure.with_hint(hint);
    }
    failure
}

fn classify_plan(text: &str) -> Failure {
    if let Some(failure) = misuse(text) {
        return failure;
    }
    let lower = text.to_lowercase();
    if lower.starts_with("table '") && lower.contains("not found") {
        let name = text.split('\'').nth(1).unwrap_or_default();
        let name = name.strip_prefix("selvedge.").unwrap_or(name);
        return Failure::user("TABLE_NOT_FOUND", format!("table {name} does not exist"));
    }
    if lower.starts_with("failed to resolve schema") || lower.starts_with("failed to resolve catalog") {
        return Failure::user("SCHEMA_NOT_FOUND", text.to_owned());
    }
    if let Some(rest) = text.strip_prefix("Invalid function '") {
        let (name, after) = rest.split_once('\'').unwrap_or((rest, ""));
        let failure = Failure::user("FUNCTION_NOT_FOUND", format!("function {name} does not exist"));
        // DataFusion names the nearest of all functions, however far away.
        let meant = after.split_once("Did you mean").and_then(|(_, meant)| meant.split('\'').nth(1));
        return match nearest(name, meant) {
            Some(meant) => failure.with_hint(format!("Did you mean {meant}?")),
            None => failure,
        };
    }
    if text.starts_with("No field named") {
        return Failure::user("COLUMN_NOT_FOUND", text.to_owned());
    }
    Failure::user("INVALID_STATEMENT", text.to_owned())
}

fn syntax_text(error: &ParserError) -> String {
    match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
    }
}

/// Without a backtrace, and without the prefix that repeats the kind.
fn clean(text: &str) -> String {
    let text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(text);
    let text = text.split("\n\nbacktrace:").next().unwrap_or(text);
    text.trim().to_owned()
}

#[cfg(test)]
#[path = "datafusion_error_tests.rs"]
mod tests;
