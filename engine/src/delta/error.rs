//! From the log library's errors to failures.

use std::error::Error as StdError;

use deltalake_core::DeltaTableError;
use selvedge_model::{Domain, Failure, Retry};

use crate::error::classify_store;
use crate::store::Location;

/// How the kernel begins the message of a store's error.
const STORE_WORDS: &str = "Error interacting with object store";

/// What an error of the log library means. `what` names what was being done, with the table.
pub(super) fn classify_delta(error: &DeltaTableError, what: &str) -> Failure {
    match store_error(error) {
        Some(store) => classify_store(store, what),
        // The library's kernel keeps the store's error from its chain of causes; only its words tell.
        None if matches!(error, DeltaTableError::KernelError(_)) && error.to_string().contains(STORE_WORDS) => {
            Failure::external("STORE_UNAVAILABLE", format!("{what}: {error}"))
        }
        None => invalid_log(format!("{what}: {error}")),
    }
}

/// A log that cannot be read, whatever the store does.
pub(super) fn invalid_log(cause: impl Into<String>) -> Failure {
    Failure::new(Domain::External, Retry::Never, "INVALID_DELTA_LOG", cause)
        .with_hint("The table's log cannot be read: it was damaged, or written by something newer")
}

/// No table at a location.
pub(super) fn not_a_table(location: &Location) -> Failure {
    Failure::user("NOT_A_DELTA_TABLE", format!("there is no Delta table at {location}: it has no _delta_log"))
        .with_hint("Check the location, or make a table there with CREATE TABLE")
}

/// The object store's error in a chain of causes.
fn store_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a object_store::Error> {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if let Some(store) = e.downcast_ref::<object_store::Error>() {
            return Some(store);
        }
        cause = e.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_fails_is_told_from_a_log_that_is_wrong() {
        let text = "status code: 503 SlowDown".to_owned();
        let source = object_store::Error::Generic { store: "S3", source: text.into() };
        let busy = classify_delta(&DeltaTableError::ObjectStore { source }, "reading s3://b/t");
        assert_eq!((busy.code.as_str(), busy.retry), ("STORE_UNAVAILABLE", Retry::Later));
        let broken = classify_delta(&DeltaTableError::generic("no metadata"), "reading s3://b/t");
        assert_eq!((broken.code.as_str(), broken.retry), ("INVALID_DELTA_LOG", Retry::Never));
        assert!(broken.cause.contains("s3://b/t"), "{}", broken.cause);
    }
}
