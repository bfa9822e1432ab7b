//! What an error means that was met while a file was read: the file is named, with what is wrong with it.
//!
//! The code, the domain and whether to retry stay as [`classify`] judges them. Readers tell what is wrong with a row only
//! as text, which is read here; the tests run the real readers, so that a release that words it otherwise fails them.
//! `catalog/located.rs` calls this for scans, `catalog/infer.rs` for what is read at planning.

use std::error::Error as StdError;
use std::io;

use datafusion::arrow::datatypes::Schema;
use datafusion::error::DataFusionError;
use selvedge_model::words::counted;
use selvedge_model::{Domain, Failure, Retry};

use super::{EngineError, classify};

/// Longest value of a row that a message repeats, in characters.
const SHOWN_VALUE_CHARS: usize = 60;
/// Endings of compressed files.
const COMPRESSED: [&str; 6] = [".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz"];

/// A file that was being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Its location, as shown to people.
    pub file: &'a str,
    /// Where in the file reading began: readers count lines from there.
    pub start: Start,
    /// The columns that are in the file.
    pub columns: Option<&'a Schema>,
}

/// Where reading began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// After this many lines.
    Lines(u64),
    /// At this byte; how many lines are before it is not known.
    Byte(u64),
}

/// The error as one that names the file.
pub(crate) fn named(error: DataFusionError, at: &Reading<'_>) -> DataFusionError {
    EngineError::from(classify_reading(&error, at)).into()
}

/// What an error met while a file was read means.
pub(crate) fn classify_reading(error: &DataFusionError, at: &Reading<'_>) -> Failure {
    // DataFusion's own contexts name the file without its bucket.
    let mut error = error;
    while let DataFusionError::Context(_, inner) = error {
        error = inner;
    }
    let mut failure = classify(error);
    let file = at.file;
    match failure.code.as_str() {
        // Neither the file nor its store is at fault.
        "OUT_OF_MEMORY" | "DISK_FULL" | "DIVISION_BY_ZERO" | "NUMERIC_OVERFLOW" => return failure,
        "FILE_NOT_FOUND" => {
            failure.cause = format!("{file} does not exist any more");
            failure.hint =
                "It was there when the statement was planned, and was removed since: run the statement again"
                    .to_owned();
        }
        "CORRUPT_FILE" => {
            let detail = failure.cause.trim_start_matches("Parquet error: ");
            failure.cause = format!("{file} is damaged: {detail}");
            failure.hint = format!(
                "The file is truncated or is not {}: write it again, or leave it out of the location",
                if is_compressed(file) { "compressed as its name ends" } else { "Parquet" }
            );
        }
        "IO_ERROR" if is_compressed(file) && is_undecodable(error) => {
            failure = Failure::new(
                Domain::User,
                Retry::Never,
                "CORRUPT_FILE",
                format!("{file} cannot be decompressed: {}", failure.cause),
            )
            .with_hint("The file is truncated, or is not compressed as its name ends: write it again, or rename it");
        }
        "BAD_DATA" | "EXECUTION_FAILED" => match bad_row(&failure.cause, at) {
            Some((cause, hint)) => failure = Failure::user("BAD_DATA", cause).with_hint(hint),
            None => prefix(&mut failure, file),
        },
        _ => prefix(&mut failure, file),
    }
    failure
}

fn prefix(failure: &mut Failure, file: &str) {
    if !failure.cause.contains(file) {
        let said = failure.cause.strip_prefix("object store: ").unwrap_or(&failure.cause);
        failure.cause = format!("reading {file}: {said}");
    }
}

fn is_compressed(file: &str) -> bool {
    let file = file.to_lowercase();
    COMPRESSED.iter().any(|ending| file.ends_with(ending))
}

/// Whether a decoder gave up: those report what they cannot decode as system errors of these kinds.
fn is_undecodable(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(inner) = e.downcast_ref::<io::Error>() {
            use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
            return matches!(inner.kind(), InvalidData | InvalidInput | Other | UnexpectedEof);
        }
        cause = e.source();
    }
    false
}

/// What is wrong with a row of delimited text, and what to do, when the text of the error tells.
fn bad_row(text: &str, at: &Reading<'_>) -> Option<(String, &'static str)> {
    if let Some(rest) = after(text, "incorrect number of fields for line ") {
        let (line, rest) = number(rest)?;
        let (expected, rest) = number(after(rest, "expected ")?)?;
        let got = after(rest, "got ")?;
        // `more than 2`, when it stopped counting.
        let got_exactly = number(got).map(|(n, _)| n);
        let got = got_exactly.map_or_else(|| format!("{got} fields"), |n| counted(n, "field"));
        let cause = format!("{} has {got}, expected {expected}", at.line(line));
        let fewer = got_exactly.is_some_and(|n| n < expected);
        let hint = if fewer {
            "Add what is missing, or read missing fields as NULL: OPTIONS ('truncated_rows' 'true')"
        } else {
            "Quote values that contain the delimiter, or check the option delimiter and the declared columns"
        };
        return Some((cause, hint));
    }
    if let Some(rest) = after(text, "Error while parsing value '") {
        let (value, rest) = rest.split_once("' as type '")?;
        let (wanted, rest) = rest.split_once("' for column ")?;
        let (column, rest) = number(rest)?;
        let (line, _) = number(after(rest, "at line ")?)?;
        // The reader counts these lines from 0.
        let cause = format!("{}: '{}' in {} is not {wanted}", at.line(line + 1), shown(value), at.column(column));
        return Some((cause, "Correct the value, or declare the column VARCHAR and use try_cast"));
    }
    if let Some(rest) = after(text, "Error parsing column ") {
        let (column, rest) = number(rest)?;
        let (line, rest) = number(after(rest, "at line ")?)?;
        let cause = format!("{}: {}{}", at.line(line + 1), at.column(column), shown(rest));
        return Some((cause, "Correct the value, or declare the column VARCHAR and use try_cast"));
    }
    if let Some(rest) = after(text, "invalid UTF-8 data for line ") {
        let (line, rest) = number(rest)?;
        let (field, _) = number(after(rest, "field ")?)?;
        return Some((format!("{} is not UTF-8 in field {field}", at.line(line)), "Write the file as UTF-8"));
    }
    if text.contains("unequal lengths between records") {
        let detail = after(text, "Expected ").map(|d| format!(": expected {d}")).unwrap_or_default();
        let hint = "Quote values that contain the delimiter, or check the option delimiter";
        return Some((format!("rows of {} have different numbers of fields{detail}", at.file), hint));
    }
    None
}

impl Reading<'_> {
    /// A line that the reader counted from where it began, from 1.
    fn line(&self, line: u64) -> String {
        match self.start {
            Start::Lines(before) => format!("line {} of {}", before + line, self.file),
            Start::Byte(byte) => format!("line {line} after byte {byte} of {}", self.file),
        }
    }

    /// A column by its position, from 0.
    fn column(&self, position: u64) -> String {
        let field = usize::try_from(position).ok().and_then(|p| self.columns?.fields().get(p));
        field.map_or_else(|| format!("field {}", position + 1), |f| format!("column {}", f.name()))
    }
}

fn after<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    text.split_once(what).map(|(_, rest)| rest)
}

/// The number that the text begins with, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_VALUE_CHARS) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use object_store::Error as StoreError;

    use super::*;

    const FILE: &str = "s3://b/t/a.csv";

    fn reading(start: Start) -> Reading<'static> {
        Reading { file: FILE, start, columns: None }
    }

    fn csv(text: &str) -> DataFusionError {
        let inner = datafusion::arrow::error::ArrowError::CsvError(text.to_owned());
        DataFusionError::ArrowError(Box::new(inner), None)
    }

    #[test]
    fn lines_are_counted_from_the_beginning_of_the_file_when_that_is_known() {
        let error = csv("incorrect number of fields for line 3, expected 2 got more than 2");
        let whole = classify_reading(&error, &reading(Start::Lines(0)));
        assert_eq!(whole.cause, "line 3 of s3://b/t/a.csv has more than 2 fields, expected 2");
        assert!(whole.hint.contains("Quote"), "{}", whole.hint);
        let part = classify_reading(&error, &reading(Start::Lines(1000)));
        assert!(part.cause.starts_with("line 1003 of"), "{}", part.cause);
        let unknown = classify_reading(&error, &reading(Start::Byte(77)));
        assert!(unknown.cause.starts_with("line 3 after byte 77 of"), "{}", unknown.cause);
        let short = csv("incorrect number of fields for line 3, expected 2 got 1");
        assert!(classify_reading(&short, &reading(Start::Lines(0))).hint.contains("truncated_rows"));
    }

    #[test]
    fn the_kind_of_failure_stays() {
        let generic = |text: &str| StoreError::Generic { store: "S3", source: text.to_owned().into() };
        let gone = StoreError::NotFound { path: "t/a.csv".into(), source: "404".into() };
        let rows = [
            (generic("status code: 403: AccessDenied"), "ACCESS_DENIED", Retry::Never),
            (generic("status code: 503 SlowDown"), "STORE_UNAVAILABLE", Retry::Later),
            (gone, "FILE_NOT_FOUND", Retry::Never),
        ];
        for (error, code, retry) in rows {
            let error = named(DataFusionError::ObjectStore(Box::new(error)), &reading(Start::Lines(0)));
            let got = classify(&error);
            assert_eq!((got.code.as_str(), got.retry), (code, retry), "{got:?}");
            assert!(got.cause.contains(FILE) && !got.cause.contains("object store:"), "{}", got.cause);
        }
        let memory = DataFusionError::ResourcesExhausted("Failed to allocate".into());
        let got = classify(&named(memory, &reading(Start::Lines(0))));
        assert_eq!((got.code.as_str(), got.cause.contains(FILE)), ("OUT_OF_MEMORY", false));
    }

    #[test]
    fn what_cannot_be_decompressed_is_not_worth_a_retry() {
        let error = || DataFusionError::IoError(io::Error::new(io::ErrorKind::InvalidData, "invalid gzip header"));
        let at = Reading { file: "s3://b/a.csv.gz", ..reading(Start::Lines(0)) };
        let got = classify_reading(&error(), &at);
        assert_eq!((got.code.as_str(), got.domain, got.retry), ("CORRUPT_FILE", Domain::User, Retry::Never));
        let plain = classify_reading(&error(), &reading(Start::Lines(0)));
        assert_eq!((plain.code.as_str(), plain.retry), ("IO_ERROR", Retry::Later));
    }
}
