//! Failures and places on the wire and in the model.
//!
//! Reading never fails: a failure from a newer peer is still a failure, so unknown values fall back to "ours, never
//! retry".

use selvedge_model::{Domain, Failure, Place, Retry};

use crate::v1;

impl From<Domain> for v1::FailureDomain {
    fn from(domain: Domain) -> Self {
        match domain {
            Domain::User => Self::User,
            Domain::External => Self::External,
            Domain::Internal => Self::Internal,
        }
    }
}

impl From<v1::FailureDomain> for Domain {
    fn from(domain: v1::FailureDomain) -> Self {
        match domain {
            v1::FailureDomain::User => Self::User,
            v1::FailureDomain::External => Self::External,
            v1::FailureDomain::Internal | v1::FailureDomain::Unspecified => Self::Internal,
        }
    }
}

impl From<Retry> for v1::RetryAdvice {
    fn from(retry: Retry) -> Self {
        match retry {
            Retry::Never => Self::Never,
            Retry::Later => Self::Later,
        }
    }
}

impl From<v1::RetryAdvice> for Retry {
    fn from(retry: v1::RetryAdvice) -> Self {
        match retry {
            v1::RetryAdvice::Later => Self::Later,
            v1::RetryAdvice::Never | v1::RetryAdvice::Unspecified => Self::Never,
        }
    }
}

impl From<Place> for v1::SourcePlace {
    fn from(place: Place) -> Self {
        let Place { statement, line, column, line_text } = place;
        Self { statement, line, column, line_text }
    }
}

impl From<v1::SourcePlace> for Place {
    fn from(place: v1::SourcePlace) -> Self {
        let v1::SourcePlace { statement, line, column, line_text } = place;
        Self { statement, line, column, line_text }
    }
}

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            domain: v1::FailureDomain::from(failure.domain).into(),
            retry: v1::RetryAdvice::from(failure.retry).into(),
            code: failure.code,
            message: failure.cause,
            hint: failure.hint,
            place: failure.place.map(Into::into),
            others: failure.others.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::Failure> for Failure {
    fn from(failure: v1::Failure) -> Self {
        Self {
            domain: failure.domain().into(),
            retry: failure.retry().into(),
            code: failure.code,
            cause: failure.message,
            hint: failure.hint,
            place: failure.place.map(Into::into),
            others: failure.others.into_iter().map(Into::into).collect(),
        }
    }
}
