//! Which files below a table `VACUUM` deletes: those that no version within the retention names, and that nobody is about
//! to name. Losing data is decided here and nowhere else; listing and deleting are done elsewhere.
//!
//! A file goes when all of this is so:
//!
//! 1. It is Parquet, and no part of its path is hidden (`_delta_log`, staging, what others keep there).
//! 2. The newest version does not name it, and it was removed, if at all, before the retention began: so no version that was
//!    the newest at any time since names it.
//! 3. No publish under way names it, and it was itself written before the retention began: so it is not of a write whose
//!    commit is still to come.
//! 4. It does not lie in a place of another table.
//!
//! What our own writes staged goes when nothing was staged by the job for longer than any retention that is the default,
//! and the job is neither running nor needed by a publish.

use std::collections::{BTreeMap, BTreeSet};

/// How long files are kept that versions no longer name, unless the table says otherwise: 7 days.
pub const DEFAULT_RETENTION_MS: i64 = 7 * DAY_MS;
/// Directories in which our own writes stage.
pub const STAGING: [&str; 2] = [".staging", "_selvedge_staging"];

const LOG: &str = "_delta_log";
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A file below the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path, relative to the table.
    pub path: String,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: i64,
    /// Its size.
    pub bytes: u64,
}

/// All that is known when files are to be deleted. The listing is older than the rest: what was committed meanwhile is named.
#[derive(Debug, Clone, Copy)]
pub struct VacuumFacts<'a> {
    /// The files below the table, hidden ones too.
    pub listed: &'a [ListedFile],
    /// Paths that the newest version names.
    pub live: &'a BTreeSet<String>,
    /// Paths that versions removed, and when; those of before the retention may be missing.
    pub removed: &'a BTreeMap<String, i64>,
    /// Paths that publishes under way name.
    pub in_flight: &'a BTreeSet<String>,
    /// Jobs that run, or whose publishes are under way.
    pub open_jobs: &'a BTreeSet<String>,
    /// Directories below the table that other tables have, relative to it.
    pub others: &'a BTreeSet<String>,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
    /// How long what versions no longer name is kept.
    pub retention_ms: i64,
}

/// What is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Garbage {
    /// Data files.
    pub files: Vec<ListedFile>,
    /// Jobs whose staging is to be swept.
    pub jobs: BTreeSet<String>,
}

/// Chooses what to delete. See the rules at the top.
pub fn choose(facts: &VacuumFacts<'_>) -> Garbage {
    let cutoff = facts.now_ms.saturating_sub(facts.retention_ms.max(0));
    let mut others: BTreeSet<&str> = facts.others.iter().map(|dir| dir.trim_matches('/')).collect();
    others.extend(facts.listed.iter().filter_map(|file| nested_table(&file.path)));
    let is_garbage = |file: &&ListedFile| {
        let path = file.path.as_str();
        let is_recent = |at: &i64| *at >= cutoff;
        let is_data = path.ends_with(".parquet") && !path.split('/').any(is_hidden);
        let is_named = facts.live.contains(path) || facts.in_flight.contains(path);
        let is_elsewhere = directories(path).any(|dir| others.contains(dir));
        let was_removed = facts.removed.get(path).is_some_and(is_recent);
        is_data && !is_named && !is_elsewhere && !was_removed && !is_recent(&file.modified_ms)
    };
    Garbage { files: facts.listed.iter().filter(is_garbage).cloned().collect(), jobs: abandoned(facts) }
}

/// Jobs that staged something long ago and nothing since.
fn abandoned(facts: &VacuumFacts<'_>) -> BTreeSet<String> {
    let cutoff = facts.now_ms.saturating_sub(facts.retention_ms.max(DEFAULT_RETENTION_MS));
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    for file in facts.listed {
        let mut parts = file.path.split('/');
        let staged = parts.next().is_some_and(|dir| STAGING.contains(&dir));
        if let (true, Some(job), Some(_)) = (staged, parts.next(), parts.next()) {
            let at = newest.entry(job).or_insert(file.modified_ms);
            *at = file.modified_ms.max(*at);
        }
    }
    let is_over = |(job, at): &(&str, i64)| *at < cutoff && !facts.open_jobs.contains(*job);
    newest.into_iter().filter(is_over).map(|(job, _)| job.to_owned()).collect()
}

/// Names that are not data. `_c=1` is: a partition column may begin with an underscore.
fn is_hidden(segment: &str) -> bool {
    segment.starts_with('.') || (segment.starts_with('_') && !segment.contains('='))
}

/// The directory of another table's log, when the file is of one.
fn nested_table(path: &str) -> Option<&str> {
    let (table, rest) = path.split_once(&format!("/{LOG}/"))?;
    (!rest.is_empty()).then_some(table)
}

/// The directories above a file, below the table.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

/// A span of time as properties of tables write it, in milliseconds: `interval 7 days`, `interval 1 week 12 hours`.
pub fn parse_interval(text: &str) -> Option<i64> {
    let lower = text.trim().to_lowercase();
    let mut words = lower.strip_prefix("interval").unwrap_or(&lower).split_whitespace();
    let mut total: Option<i64> = None;
    while let Some(number) = words.next() {
        let unit = match words.next()?.trim_end_matches('s') {
            "week" => 7 * DAY_MS,
            "day" => DAY_MS,
            "hour" => HOUR_MS,
            "minute" => 60_000,
            "second" => 1_000,
            "millisecond" => 1,
            _ => return None,
        };
        let part = number.parse::<u32>().ok().and_then(|n| i64::from(n).checked_mul(unit))?;
        total = Some(total.unwrap_or_default().checked_add(part)?);
    }
    total
}

/// The shortest time in words that says the same: `7 days`, `36 hours`.
pub fn span_text(ms: i64) -> String {
    let counted = |n: i64, unit: &str| crate::words::counted(u64::try_from(n).unwrap_or_default(), unit);
    match ms {
        ms if ms > 0 && ms % DAY_MS == 0 => counted(ms / DAY_MS, "day"),
        ms if ms % HOUR_MS == 0 => counted(ms / HOUR_MS, "hour"),
        ms => counted(ms / 1_000, "second"),
    }
}

#[cfg(test)]
#[path = "vacuum_tests.rs"]
mod tests;
