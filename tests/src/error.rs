//! The harness's one error: a text for whoever reads the failed test. Any other error turns into it with `?`.

use std::fmt;

/// What went wrong in the harness, as text.
pub struct HarnessError(String);

/// What the harness's functions return.
pub type Outcome<T> = Result<T, HarnessError>;

/// An error with this text.
pub fn fail(message: impl Into<String>) -> HarnessError {
    HarnessError(message.into())
}

impl fmt::Debug for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HarnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// `HarnessError` must not implement `Error` itself, or this would overlap with `From<T> for T`.
impl<E: std::error::Error> From<E> for HarnessError {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self(text)
    }
}
