//! What a task's error means. Most is `selvedge_engine::error::classify`; here only what Ballista wraps or turns to text.
//!
//! Ballista's writers turn panics and spill errors into `Execution(text)`, which read as the user's fault; they are not.

use std::any::Any;

use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use selvedge_engine::error::{classify, classify_arrow};
use selvedge_model::Failure;

/// The failure behind an error of a task.
pub(super) fn failure_of(error: &DataFusionError) -> Failure {
    let root = error.find_root();
    match root {
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(inner) => of_ballista(inner),
            None => classify(error),
        },
        DataFusionError::Execution(text) if text.contains("panicked") => panicked(text),
        DataFusionError::Execution(text) if text.starts_with("IoError(") => {
            let full = text.contains("StorageFull") || text.contains("QuotaExceeded");
            let kind = if full { std::io::ErrorKind::StorageFull } else { std::io::ErrorKind::Other };
            classify(&DataFusionError::IoError(std::io::Error::new(kind, text.clone())))
        }
        _ => classify(error),
    }
}

fn of_ballista(error: &BallistaError) -> Failure {
    match error {
        BallistaError::DataFusionError(inner) => failure_of(inner),
        BallistaError::IoError(inner) => {
            classify(&DataFusionError::IoError(std::io::Error::new(inner.kind(), inner.to_string())))
        }
        BallistaError::ArrowError(inner) => classify_arrow(inner),
        // Ours never raises it; should Ballista, a retry is the answer and not its rollback, which hangs.
        BallistaError::FetchFailed(..) => Failure::external("SHUFFLE_LOST", error.to_string()),
        other if other.to_string().contains("panicked") => panicked(&other.to_string()),
        other => Failure::internal("INTERNAL", other.to_string()),
    }
}

/// The failure of a task that panicked.
pub(super) fn of_panic(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    panicked(&text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned()))
}

fn panicked(text: &str) -> Failure {
    Failure::internal("PANIC", format!("the task panicked: {text}")).with_hint("This is a bug in Selvedge: report it")
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::error::ArrowError;

    use super::*;

    #[test]
    fn what_ballista_wraps_is_seen_through() {
        let exhausted = DataFusionError::ResourcesExhausted("no memory left".into());
        let wrapped = BallistaError::DataFusionError(Box::new(exhausted)).into_datafusion();
        assert_eq!(failure_of(&wrapped).code, "OUT_OF_MEMORY");
        let io = BallistaError::IoError(std::io::Error::other("reset")).into_datafusion();
        assert!(failure_of(&io).is_retryable());
    }

    #[test]
    fn a_panic_is_ours_and_a_failed_spill_is_retried() {
        let panic = DataFusionError::Execution("shuffle writer drain panicked: task 3 panicked".into());
        let failure = failure_of(&panic);
        assert_eq!((failure.code.as_str(), failure.domain), ("PANIC", selvedge_model::Domain::Internal));
        let spill = DataFusionError::Execution("IoError(Os { code: 28, kind: StorageFull })".into());
        assert_eq!(failure_of(&spill).code, "DISK_FULL");
        let full = || std::io::Error::from_raw_os_error(28);
        let written = ArrowError::IoError(full().to_string(), full());
        let failure = failure_of(&BallistaError::ArrowError(Box::new(written)).into_datafusion());
        assert_eq!((failure.code.as_str(), failure.is_retryable()), ("DISK_FULL", true));
    }
}
