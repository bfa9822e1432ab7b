//! What is wrong with a message that does not convert.
//!
//! Such a message comes from a peer of another version or from a faulty one; it is never the user's fault.

use selvedge_model::Failure;
use selvedge_model::failure::HasFailure;
use selvedge_model::id::InvalidId;

/// Why a message is not a value of the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A message field that must be there is not.
    #[error("the message lacks its field '{0}'")]
    Missing(&'static str),
    /// An enum has a value this version does not know.
    #[error("the field '{field}' has the value {value}, which this version does not know")]
    UnknownEnum {
        /// The field.
        field: &'static str,
        /// Its number on the wire.
        value: i32,
    },
    /// An id that is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
}

impl HasFailure for WireError {
    fn failure(&self) -> Failure {
        match self {
            Self::Id(error) => Failure::user("INVALID_ID", error.to_string()),
            Self::Missing(_) | Self::UnknownEnum { .. } => Failure::user("BAD_REQUEST", self.to_string())
                .with_hint("Use a client of the same version as the scheduler"),
        }
    }
}
