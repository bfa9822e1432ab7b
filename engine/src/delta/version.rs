//! Which version of a table is meant, and how a name says so.
//!
//! `t FOR VERSION AS OF 3` reaches the planner as the table `t@version=3`: the parser puts the version into the name
//! (`sql/parse/travel.rs`), the catalog takes it out again.

use arrow::datatypes::TimeUnit;
use chrono::{DateTime, SecondsFormat};
use datafusion::common::ScalarValue;
use selvedge_model::Failure;

const BY_VERSION: &str = "@version=";
const BY_TIMESTAMP: &str = "@timestamp=";

/// A version of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VersionSpec {
    /// The newest there is.
    Latest,
    /// This one.
    Version(i64),
    /// The newest at a time, in milliseconds since 1970.
    Timestamp(i64),
}

/// A table's name that asks for a version; `text` is a number, or a time when `is_time`.
pub(crate) fn at_version(table: &str, is_time: bool, text: &str) -> String {
    format!("{table}{}{text}", if is_time { BY_TIMESTAMP } else { BY_VERSION })
}

impl VersionSpec {
    /// Takes a name apart that asks for a version; `None` when it asks for none.
    ///
    /// # Errors
    /// `INVALID_VERSION` when what stands there is no version or no time.
    pub(crate) fn of_name(name: &str) -> Result<Option<(&str, Self)>, Failure> {
        if let Some((table, text)) = name.rsplit_once(BY_VERSION) {
            return match text.trim().parse::<i64>() {
                Ok(version) if version >= 0 => Ok(Some((table, Self::Version(version)))),
                _ => Err(invalid(text, "a version is a number from 0")),
            };
        }
        if let Some((table, text)) = name.rsplit_once(BY_TIMESTAMP) {
            return Ok(Some((table, Self::Timestamp(milliseconds(text)?))));
        }
        Ok(None)
    }
}

impl std::fmt::Display for VersionSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => f.write_str("the newest version"),
            Self::Version(version) => write!(f, "version {version}"),
            Self::Timestamp(ms) => write!(f, "the version of {}", shown(*ms)),
        }
    }
}

/// A time in milliseconds since 1970 as text, which `FOR TIMESTAMP AS OF` reads back.
pub fn shown(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .map_or_else(|| format!("{ms} ms"), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// A date or a time, in UTC unless it says otherwise.
fn milliseconds(text: &str) -> Result<i64, Failure> {
    let data_type = arrow::datatypes::DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    match ScalarValue::try_from_string(text.trim().to_owned(), &data_type) {
        Ok(ScalarValue::TimestampMillisecond(Some(ms), _)) => Ok(ms),
        _ => Err(invalid(text, "a time is written '2026-01-31', '2026-01-31 10:00:00' or '2026-01-31T10:00:00+01:00'")),
    }
}

fn invalid(text: &str, why: &str) -> Failure {
    Failure::user("INVALID_VERSION", format!("'{text}' is not a version of a table: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_travel_in_names() {
        let of = |table: &str, is_time, text: &str| {
            VersionSpec::of_name(&at_version(table, is_time, text))
                .map(|v| v.map(|(table, version)| (table.to_owned(), version)))
        };
        assert_eq!(of("t", false, "3").unwrap(), Some(("t".into(), VersionSpec::Version(3))));
        assert_eq!(of("a@b", true, "1970-01-02").unwrap(), Some(("a@b".into(), VersionSpec::Timestamp(86_400_000))));
        let rows =
            [("1970-01-01 00:00:01.5", 1_500), ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01T00:00:02Z", 2_000)];
        for (text, ms) in rows {
            assert_eq!(of("t", true, text).unwrap(), Some(("t".into(), VersionSpec::Timestamp(ms))), "{text}");
        }
        assert_eq!(VersionSpec::of_name("t").unwrap(), None);
        for (is_time, text) in [(false, "-1"), (false, "x"), (true, "yesterday"), (true, "")] {
            assert_eq!(of("t", is_time, text).unwrap_err().code, "INVALID_VERSION", "{text}");
        }
    }
}
