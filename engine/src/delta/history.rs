//! What was done to a table, version by version.

use std::collections::BTreeMap;

use serde_json::Value;

use super::action::LogLine;
use super::log::LogVersions;

/// The key of the run's id in a commit.
pub(super) const RUN_KEY: &str = "selvedge.run";

/// What one commit was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistoryEntry {
    /// The version that it made.
    pub version: i64,
    /// When, in milliseconds since 1970: the time by which `FOR TIMESTAMP AS OF` finds it.
    pub timestamp_ms: i64,
    /// What was done: `WRITE`, `MERGE` ...
    pub operation: Option<String>,
    /// What it was told.
    pub parameters: BTreeMap<String, Value>,
    /// What came of it.
    pub metrics: BTreeMap<String, Value>,
    /// The run that did it, when it was one of ours.
    pub run: Option<String>,
    /// What the user said about it.
    pub user_metadata: Option<String>,
    /// The engine that did it.
    pub engine: Option<String>,
}

impl HistoryEntry {
    pub(super) fn of(version: i64, timestamp_ms: i64, lines: Vec<LogLine>) -> Self {
        let info = lines.into_iter().find_map(|line| line.commit_info).unwrap_or_default();
        let text = |key: &str| info.get(key).and_then(Value::as_str).map(str::to_owned);
        let map = |key: &str| match info.get(key) {
            Some(Value::Object(map)) => map.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            _ => BTreeMap::new(),
        };
        Self {
            version,
            timestamp_ms,
            operation: text("operation"),
            parameters: map("operationParameters"),
            metrics: map("operationMetrics"),
            run: text(RUN_KEY),
            user_metadata: text("userMetadata"),
            engine: text("engineInfo"),
        }
    }
}

/// When each version was made. Clocks differ between writers: a version is made later than the one before it.
pub(super) fn times(versions: &LogVersions) -> BTreeMap<i64, i64> {
    let mut last = i64::MIN;
    let later = |(version, at): (&i64, &i64)| {
        last = (*at).max(last.saturating_add(1));
        (*version, last)
    };
    versions.commits.iter().map(later).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_version_to_version() {
        let commits = [(0, 100), (1, 90), (2, 101), (3, 200)].into();
        let got: Vec<i64> = times(&LogVersions { commits, ..Default::default() }).into_values().collect();
        assert_eq!(got, [100, 101, 102, 200]);
    }
}
