//! From an object store's error to a failure.
//!
//! S3 errors reach us as nested text for most operations (the crate keeps its request error private), so the HTTP status
//! and the S3 code are looked for in the whole chain, in one place: here.

use std::error::Error as StdError;

use object_store::Error as StoreError;
use selvedge_model::failure::HasFailure;
use selvedge_model::{Domain, Failure, Retry};

use super::EngineError;
use super::datafusion_error::classify_io;

/// What an object store's error means. `what` names what was being done, with the location.
pub fn classify_store(error: &StoreError, what: &str) -> Failure {
    if let Some(known) = typed_cause(error) {
        return known;
    }
    let text = chain_text(error);
    if let Some(failure) = from_s3_code(&text, what) {
        return failure;
    }
    match error {
        StoreError::NotFound { path, .. } => Failure::user("FILE_NOT_FOUND", format!("{what}: {path} does not exist")),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => access_denied(what, &text),
        StoreError::AlreadyExists { path, .. } => {
            Failure::user("ALREADY_EXISTS", format!("{what}: {path} exists already"))
        }
        StoreError::Precondition { path, .. } | StoreError::NotModified { path, .. } => {
            Failure::external("STORE_CONFLICT", format!("{what}: {path} was changed by somebody else"))
        }
        StoreError::InvalidPath { source } => Failure::user("INVALID_LOCATION", format!("{what}: {source}")),
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
            Failure::user("NOT_SUPPORTED", format!("{what}: {text}"))
        }
        StoreError::UnknownConfigurationKey { .. } => Failure::user("INVALID_SETTING", format!("{what}: {text}")),
        StoreError::JoinError { .. } => Failure::internal("INTERNAL", format!("{what}: {text}")),
        _ => unavailable(what, &text),
    }
}

/// Failures of ours and of the system that are wrapped in the store's error.
fn typed_cause(error: &StoreError) -> Option<Failure> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(failure) = e.downcast_ref::<Failure>() {
            return Some(failure.clone());
        }
        if let Some(engine) = e.downcast_ref::<EngineError>() {
            return Some(engine.failure());
        }
        if let Some(io) = e.downcast_ref::<std::io::Error>()
            && io.kind() != std::io::ErrorKind::NotFound
            && !matches!(error, StoreError::AlreadyExists { .. })
        {
            let mut failure = classify_io(io);
            failure.cause = error.to_string();
            return Some(failure);
        }
        cause = e.source();
    }
    None
}

/// S3 answers that say more than their HTTP status.
fn from_s3_code(text: &str, what: &str) -> Option<Failure> {
    let has = |needle: &str| text.contains(needle);
    if has("NoSuchBucket") {
        let failure = Failure::user("BUCKET_NOT_FOUND", format!("{what}: the bucket does not exist"));
        return Some(failure.with_hint("Check the bucket's name, the endpoint and the region"));
    }
    if has("incorrectly configured region") || has("PermanentRedirect") || has("AuthorizationHeaderMalformed") {
        let failure = Failure::user("WRONG_REGION", format!("{what}: the bucket is in another region"));
        return Some(
            failure.with_hint("Set the bucket's region: AWS_REGION, or `region` in the store's configuration"),
        );
    }
    for (code, hint) in [
        ("InvalidAccessKeyId", "The access key is not known to the store: check AWS_ACCESS_KEY_ID or the profile"),
        (
            "SignatureDoesNotMatch",
            "The secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY or the profile",
        ),
        ("ExpiredToken", "The session token has expired: renew the credentials"),
        ("RequestTimeTooSkewed", "This machine's clock is wrong: set it"),
    ] {
        if has(code) {
            return Some(Failure::user("ACCESS_DENIED", format!("{what}: {code}")).with_hint(hint));
        }
    }
    if has("AccessDenied") || has("status code: 403") || has("status code: 401") {
        return Some(access_denied(what, text));
    }
    if has("NoSuchUpload") {
        return Some(Failure::new(
            Domain::External,
            Retry::Never,
            "UPLOAD_NOT_FOUND",
            format!("{what}: the multipart upload was completed or aborted by somebody else"),
        ));
    }
    None
}

fn access_denied(what: &str, text: &str) -> Failure {
    let reason = text.lines().next().unwrap_or_default();
    Failure::user("ACCESS_DENIED", format!("{what}: access denied ({reason})"))
        .with_hint("Check that the credentials in use may read, list and write there")
}

/// Anything else is the store's or the network's trouble, which may pass; but a request that is refused as wrong is not.
fn unavailable(what: &str, text: &str) -> Failure {
    let refused = ["status code: 400", "status code: 405", "status code: 501"].iter().any(|s| text.contains(s));
    if refused {
        return Failure::new(Domain::External, Retry::Never, "STORE_REFUSED", format!("{what}: {text}"));
    }
    Failure::external("STORE_UNAVAILABLE", format!("{what}: {text}"))
        .with_hint("The object store did not answer as it should: check the endpoint and the network")
}

/// The messages of the chain of causes, without those that a later one repeats.
fn chain_text(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let message = e.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = e.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn store_errors_are_told_apart() {
        let not_found = |text: &str| StoreError::NotFound { path: "b/k".into(), source: text.to_owned().into() };
        let rows = [
            (not_found("404"), "FILE_NOT_FOUND", Domain::User, Retry::Never),
            (not_found("<Code>NoSuchBucket</Code>"), "BUCKET_NOT_FOUND", Domain::User, Retry::Never),
            (generic("status code: 404 <Code>NoSuchBucket</Code>"), "BUCKET_NOT_FOUND", Domain::User, Retry::Never),
            (generic("status code: 403: AccessDenied"), "ACCESS_DENIED", Domain::User, Retry::Never),
            (generic("status code: 403: InvalidAccessKeyId"), "ACCESS_DENIED", Domain::User, Retry::Never),
            (generic("status code: 503 SlowDown"), "STORE_UNAVAILABLE", Domain::External, Retry::Later),
            (generic("connection reset by peer"), "STORE_UNAVAILABLE", Domain::External, Retry::Later),
            (generic("status code: 400: EntityTooSmall"), "STORE_REFUSED", Domain::External, Retry::Never),
        ];
        for (error, code, domain, retry) in rows {
            let got = classify_store(&error, "reading s3://b/k");
            assert_eq!((got.code.as_str(), got.domain, got.retry), (code, domain, retry), "{error}");
            assert!(got.cause.contains("s3://b/k"), "{}", got.cause);
        }
    }

    #[test]
    fn our_own_failure_inside_a_store_error_comes_back_whole() {
        let ours = Failure::user("NO_CREDENTIALS", "none found").with_hint("Set AWS_PROFILE");
        let error = StoreError::Generic { store: "S3", source: Box::new(ours.clone()) };
        assert_eq!(classify_store(&error, "reading s3://b/k"), ours);
    }
}
