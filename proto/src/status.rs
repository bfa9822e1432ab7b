//! The one place that maps failures to gRPC statuses and back.
//!
//! The typed failure travels in the status's details (`grpc-status-details-bin`), so a client gets the same value back.
//! HTTP/2 peers refuse trailers past 16 KiB: details are cut to fit, never the first problem's code, cause or place.

use bytes::Bytes;
use prost::Message as _;
use selvedge_model::words::counted;
use selvedge_model::{Domain, Failure};
use tonic::{Code, Status};

use crate::v1;

/// Encoded details stay below this; base64 makes them a third larger.
const MAX_DETAIL_BYTES: usize = 6 * 1024;
const MAX_MESSAGE_CHARS: usize = 800;
const MAX_TEXT_CHARS: usize = 1_600;
const MAX_LINE_CHARS: usize = 600;

/// The failure as a gRPC error status.
pub fn status_from(failure: &Failure) -> Status {
    let code = code_of(failure);
    let message = clip(&failure.cause, MAX_MESSAGE_CHARS);
    let mut first = failure.clone();
    let others = std::mem::take(&mut first.others);
    let mut status = v1::ErrorStatus {
        code: code as i32,
        message: message.clone(),
        failures: vec![v1::Failure::from(clipped(first))],
    };
    let total = others.len();
    for (done, other) in others.into_iter().enumerate() {
        status.failures.push(clipped(other).into());
        if status.encoded_len() > MAX_DETAIL_BYTES {
            status.failures.pop();
            let rest = total - done;
            let cause = format!("and {}", counted(rest, "more problem"));
            let more = Failure::new(failure.domain, failure.retry, "MORE_PROBLEMS", cause);
            status.failures.push(more.into());
            break;
        }
    }
    Status::with_details(code, message, Bytes::from(status.encode_to_vec()))
}

/// The failure that a gRPC error status carries; for a foreign status, the best reading of its code.
pub fn failure_from(status: &Status) -> Failure {
    let typed = v1::ErrorStatus::decode(status.details()).ok().filter(|_| !status.details().is_empty());
    typed
        .and_then(|s| Failure::join(s.failures.into_iter().map(Into::into).collect()))
        .unwrap_or_else(|| from_code(status.code(), status.message()))
}

fn code_of(failure: &Failure) -> Code {
    match (failure.domain, failure.code.as_str()) {
        (_, "CANCELLED") => Code::Cancelled,
        (Domain::External, _) => Code::Unavailable,
        (Domain::Internal, _) => Code::Internal,
        (Domain::User, "QUEUE_FULL" | "OUT_OF_MEMORY" | "DISK_FULL" | "TOO_LARGE") => Code::ResourceExhausted,
        (Domain::User, "ACCESS_DENIED" | "EXECUTOR_LOST" | "RUN_ENDED" | "NOT_WRITABLE" | "SHUTTING_DOWN") => {
            Code::FailedPrecondition
        }
        (Domain::User, code) if code.ends_with("_NOT_FOUND") => Code::NotFound,
        (Domain::User, code) if code.ends_with("_EXISTS") || code.ends_with("_NOT_EMPTY") => Code::FailedPrecondition,
        (Domain::User, _) => Code::InvalidArgument,
    }
}

fn from_code(code: Code, message: &str) -> Failure {
    let cause = if message.is_empty() { code.description() } else { message };
    match code {
        Code::Cancelled => Failure::user("CANCELLED", cause),
        Code::Unavailable => Failure::external("UNAVAILABLE", cause)
            .with_hint("Check that the scheduler runs and that its address is right"),
        Code::DeadlineExceeded => Failure::external("TIMED_OUT", cause),
        Code::Aborted => Failure::external("ABORTED", cause),
        Code::OutOfRange | Code::ResourceExhausted => Failure::user("TOO_LARGE", cause),
        Code::Unimplemented => {
            Failure::user("UNIMPLEMENTED", cause).with_hint("Use a client of the same version as the scheduler")
        }
        Code::InvalidArgument => Failure::user("INVALID_ARGUMENT", cause),
        Code::NotFound => Failure::user("NOT_FOUND", cause),
        Code::FailedPrecondition | Code::AlreadyExists => Failure::user("FAILED_PRECONDITION", cause),
        Code::PermissionDenied | Code::Unauthenticated => Failure::user("ACCESS_DENIED", cause),
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Failure::internal("INTERNAL", cause),
    }
}

fn clipped(mut failure: Failure) -> Failure {
    failure.cause = clip(&failure.cause, MAX_TEXT_CHARS);
    failure.hint = clip(&failure.hint, MAX_TEXT_CHARS);
    failure.others.clear();
    if let Some(place) = failure.place.as_mut().filter(|p| p.line_text.chars().count() > MAX_LINE_CHARS) {
        place.line_text.clear();
    }
    failure
}

fn clip(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use selvedge_model::{Place, Retry};

    use super::*;

    #[test]
    fn a_failure_comes_back_from_its_status_as_it_was() {
        let place = Place { statement: 2, line: 3, column: 4, line_text: "SELECT nme FROM t".into() };
        let mut failure = Failure::user("COLUMN_NOT_FOUND", "There is no column 'nme' in é")
            .with_hint("Did you mean 'name'?")
            .at(place);
        failure.others = vec![Failure::external("STORE_UNAVAILABLE", "S3"), Failure::internal("INTERNAL", "bug")];
        let status = status_from(&failure);
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(failure_from(&status), failure);
    }

    #[test]
    fn domains_and_codes_map_to_the_documented_statuses() {
        for (domain, code, expected) in [
            (Domain::User, "SYNTAX_ERROR", Code::InvalidArgument),
            (Domain::User, "TABLE_NOT_FOUND", Code::NotFound),
            (Domain::User, "TABLE_EXISTS", Code::FailedPrecondition),
            (Domain::User, "QUEUE_FULL", Code::ResourceExhausted),
            (Domain::User, "CANCELLED", Code::Cancelled),
            (Domain::External, "QUEUE_FULL", Code::Unavailable),
            (Domain::Internal, "TABLE_NOT_FOUND", Code::Internal),
        ] {
            assert_eq!(status_from(&Failure::new(domain, Retry::Never, code, "x")).code(), expected, "{code}");
        }
    }

    #[test]
    fn a_thousand_problems_still_fit_into_a_trailer() {
        let mut failure = Failure::user("SYNTAX_ERROR", "x".repeat(100_000));
        let line_text = "y".repeat(50_000);
        failure = failure.at(Place { statement: 1, line: 1, column: 9, line_text });
        failure.others = (0..1_000).map(|i| Failure::user("SYNTAX_ERROR", format!("problem {i}"))).collect();
        let status = status_from(&failure);
        assert!(status.details().len() <= MAX_DETAIL_BYTES + 200, "{}", status.details().len());
        let back = failure_from(&status);
        assert_eq!((back.code.as_str(), back.place.map(|p| p.column)), ("SYNTAX_ERROR", Some(9)));
        assert_eq!(back.others.last().map(|f| f.code.as_str()), Some("MORE_PROBLEMS"));
    }

    #[test]
    fn a_foreign_status_becomes_a_failure_by_its_code() {
        let failure = failure_from(&Status::unavailable("tcp connect error"));
        assert!(failure.is_retryable() && failure.domain == Domain::External);
        assert_eq!(failure_from(&Status::internal("x")).domain, Domain::Internal);
    }
}
