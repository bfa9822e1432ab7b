//! A row of a table of keys: name, default, meaning. Defaults and documentation have no other source.
//!
//! Adding a key: a row in the service's table (or in `shared`), a field of its options with the line that reads it, a line
//! that prints it, and the row in docs/configuration.md (a test compares).

use crate::error;

/// What begins the name of a variable.
pub(super) const PREFIX: &str = "SELVEDGE_";

/// One configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Dotted name, as in the file: `s3.endpoint`.
    pub name: &'static str,
    /// The default as one would type it; empty means none.
    pub default: &'static str,
    /// What it means, in one sentence or two.
    pub doc: &'static str,
}

impl Key {
    /// A row.
    pub const fn new(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self { name, default, doc }
    }
}

/// The environment variable of a key: `SELVEDGE_S3__ENDPOINT`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The known key nearest to `name`, if one is near enough to be meant.
pub(super) fn nearest(name: &str, keys: &[Key]) -> Option<&'static str> {
    // `endpoint` for `s3.endpoint` is far by letters, but clear.
    let tail = keys.iter().map(|k| k.name).find(|k| k.rsplit_once('.').is_some_and(|(_, last)| last == name));
    tail.or_else(|| error::nearest(name, keys.iter().map(|k| k.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_key_and_nonsense_finds_none() {
        let keys = ["listen", "max_running_runs", "s3.endpoint", "vcores"].map(|name| Key::new(name, "", ""));
        assert_eq!(nearest("listn", &keys), Some("listen"));
        assert_eq!(nearest("max_runing_runs", &keys), Some("max_running_runs"));
        assert_eq!(nearest("endpoint", &keys), Some("s3.endpoint"));
        assert_eq!(nearest("s3_endpoint", &keys), Some("s3.endpoint"));
        assert_eq!(nearest("kerberos_realm", &keys), None);
    }
}
