//! The table of configuration keys: name, default, meaning. Defaults and documentation have no other source.
//!
//! Adding a key: a row here, a field in `options`, a line in `render`, a row in docs/configuration.md (a test
//! compares).

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Dotted name, as in the file: `s3.endpoint`.
    pub name: &'static str,
    /// The default as one would type it; empty means none.
    pub default: &'static str,
    /// What it means, in one sentence or two.
    pub doc: &'static str,
}

const fn key(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, default, doc }
}

/// Every key the scheduler knows.
pub const KEYS: &[Key] = &[
    key("listen", "127.0.0.1:50050", "Address and port of the gRPC services; port 0 takes a free one."),
    key("http", "127.0.0.1:50080", "Address and port of /metrics, /healthz and /readyz; port 0 takes a free one."),
    key(
        "warehouse",
        "warehouse",
        "Where tables without a location of their own live: s3://bucket/prefix or a directory.",
    ),
    key(
        "shuffle",
        "",
        "Where executors also keep shuffle files, so that a lost executor costs no rerun: s3://bucket/prefix or a shared \
         directory. Empty: local disks only.",
    ),
    key("store", "memory", "Where runs are recorded. This version knows `memory`: runs end with the scheduler."),
    key(
        "s3.endpoint",
        "",
        "URL of an S3-compatible server; empty means AWS. Credentials come from the AWS chain, never from here.",
    ),
    key("s3.region", "", "AWS region; empty takes AWS_REGION or the profile's."),
    key(
        "s3.path_style",
        "auto",
        "true: http://host/bucket/key; false: http://bucket.host/key; auto: true when an endpoint is set.",
    ),
    key("s3.profile", "", "Profile of the shared AWS configuration files; empty takes AWS_PROFILE or the default one."),
    key("max_running_runs", "16", "Runs that run at the same time; the others wait in order of arrival."),
    key("max_queued_runs", "1000", "Runs that may wait; further ones are refused with QUEUE_FULL."),
    key("retained_runs", "1000", "Ended runs kept in memory, newest first."),
    key("lease", "5s", "An executor that has not polled for this long is lost and its running tasks start again."),
    key("statement_attempts", "3", "How often a statement is tried in all when what failed it may pass."),
    key(
        "target_partitions",
        "0",
        "Tasks of a stage; 0 takes twice the live vcores, at least 4. SET selvedge.planner.target_partitions overrides it.",
    ),
    key("preview_rows", "100", "First rows of a SELECT that are kept with its run."),
    key("preview_bytes", "256KiB", "The preview of one statement is cut to this size."),
    key("log.format", "text", "text or json."),
];

/// The known key nearest to `name`, if one is near enough to be meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let best = KEYS.iter().map(|k| (distance(name, k.name), k.name)).min()?;
    // `endpoint` for `s3.endpoint` is far by letters, but clear.
    let tail = KEYS.iter().find(|k| k.name.rsplit_once('.').is_some_and(|(_, last)| last == name));
    match (tail, best) {
        (Some(key), _) => Some(key.name),
        (None, (edits, near)) if edits * 3 <= near.len().max(name.len()) => Some(near),
        (None, _) => None,
    }
}

/// Edit distance (insert, delete, replace).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_key_and_nonsense_finds_none() {
        assert_eq!(nearest("listn"), Some("listen"));
        assert_eq!(nearest("max_runing_runs"), Some("max_running_runs"));
        assert_eq!(nearest("endpoint"), Some("s3.endpoint"));
        assert_eq!(nearest("kerberos_realm"), None);
    }

    #[test]
    fn every_key_and_default_stands_in_the_documentation() {
        let docs = include_str!("../../../docs/configuration.md");
        for key in KEYS {
            let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
            let row = format!("| `{}` | {default} |", key.name).replace("|  |", "| |");
            assert!(docs.contains(&row), "docs/configuration.md lacks the row {row}");
            assert!(docs.contains(key.doc), "docs/configuration.md tells another story about {}", key.name);
        }
    }
}
