//! What to do to a table's files to make a write visible. The scheduler's `commit` carries it out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::manifest::StagedFile;

/// What a write does to what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteKind {
    /// Adds rows.
    Append,
    /// Replaces everything under the location, also when the result is empty.
    Overwrite,
    /// Replaces the partitions that the result has rows in, and no other.
    OverwriteDynamic,
    /// Replaces exactly the partitions whose leading columns have these values, also when the result is empty.
    OverwriteStatic(Vec<(String, Option<String>)>),
}

/// A data file that is visible now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleFile {
    /// Its path within the store.
    pub path: String,
    /// The columns and values that its directories name, in the table's order; `None` is SQL NULL. Each value is written
    /// as its column's type writes it, however the directory spells it: `1` for `month=01` of an INT.
    pub partition: Vec<(String, Option<String>)>,
}

/// The steps of a publish: first `publish`, then `remove`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishPlan {
    /// Staged files to make visible.
    pub publish: Vec<StagedFile>,
    /// Paths to remove afterwards.
    pub remove: Vec<String>,
}

/// The Hive directory of a partition: `c=v/d=__HIVE_DEFAULT_PARTITION__`, values percent-encoded as Hive does.
pub fn partition_dir(partition: &[(String, Option<String>)]) -> String {
    let segment = |(column, value): &(String, Option<String>)| {
        let value = match value.as_deref() {
            None | Some("") => HIVE_NULL.to_owned(),
            Some(value) => escape(value),
        };
        format!("{}={value}", escape(column))
    };
    partition.iter().map(segment).collect::<Vec<_>>().join("/")
}

/// How Hive writes NULL (and the empty string) in a path.
pub const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Percent-encodes what a path segment or a reader could trip over. Hive's own list (FileUtils.escapePathName), and `/`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || "\"#%'*/:=?\\{}[]^".contains(c) {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// What tells partitions apart. NULL and the empty string share a directory, so they are one.
fn key(partition: &[(String, Option<String>)]) -> Vec<(&str, Option<&str>)> {
    partition.iter().map(|(column, value)| (column.as_str(), value.as_deref().filter(|v| !v.is_empty()))).collect()
}

/// Decides what a write publishes and removes, given the files visible now. Never removes a path it publishes.
pub fn plan_publish(kind: &WriteKind, staged: Vec<StagedFile>, visible: &[VisibleFile]) -> PublishPlan {
    let written: BTreeSet<_> = staged.iter().map(|f| key(&f.partition)).collect();
    let paths: BTreeSet<&str> = staged.iter().map(|f| f.path.as_str()).collect();
    let replaces = |file: &VisibleFile| match kind {
        WriteKind::Append => false,
        WriteKind::Overwrite => true,
        WriteKind::OverwriteDynamic => written.contains(&key(&file.partition)),
        WriteKind::OverwriteStatic(values) => key(&file.partition).starts_with(&key(values)),
    };
    let remove =
        visible.iter().filter(|f| replaces(f) && !paths.contains(f.path.as_str())).map(|f| f.path.clone()).collect();
    PublishPlan { publish: staged, remove }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Staging;

    fn staged(path: &str, ds: Option<&str>) -> StagedFile {
        StagedFile {
            path: path.into(),
            staging: Staging::Temporary { path: "t".into() },
            rows: 1,
            bytes: 1,
            partition: vec![("ds".into(), ds.map(Into::into))],
            stats: None,
            is_rejected: false,
        }
    }

    fn visible(dir: &str) -> VisibleFile {
        let segment = |s: &str| {
            let (column, value) = s.split_once('=').unwrap();
            (column.to_owned(), (value != HIVE_NULL).then(|| value.to_owned()))
        };
        VisibleFile { path: format!("t/{dir}/old.parquet"), partition: dir.split('/').map(segment).collect() }
    }

    #[test]
    fn each_kind_removes_what_it_says() {
        let now = [visible("ds=1"), visible("ds=10"), visible("ds=2"), visible("ds=2/r=x")];
        let removed = |kind: WriteKind, files: Vec<StagedFile>| plan_publish(&kind, files, &now).remove;
        assert!(removed(WriteKind::Append, vec![staged("n", Some("1"))]).is_empty());
        assert_eq!(removed(WriteKind::Overwrite, vec![]).len(), 4);
        assert_eq!(removed(WriteKind::OverwriteDynamic, vec![staged("n", Some("1"))]), ["t/ds=1/old.parquet"]);
        assert!(removed(WriteKind::OverwriteDynamic, vec![]).is_empty());
        let fixed = WriteKind::OverwriteStatic(vec![("ds".into(), Some("2".into()))]);
        assert_eq!(removed(fixed, vec![]), ["t/ds=2/old.parquet", "t/ds=2/r=x/old.parquet"]);
    }

    #[test]
    fn values_decide_and_not_the_spelling_of_a_directory() {
        let spelt = |path: &str, value: Option<&str>| VisibleFile {
            path: path.into(),
            partition: vec![("month".into(), value.map(Into::into)), ("r".into(), Some("x".into()))],
        };
        let now = [spelt("t/month=01/r=x/a", Some("1")), spelt("t/month=1/r=x/b", Some("1")), spelt("t/null", None)];
        let removed = |value: Option<&str>| {
            let kind = WriteKind::OverwriteStatic(vec![("month".into(), value.map(Into::into))]);
            plan_publish(&kind, vec![], &now).remove
        };
        assert_eq!(removed(Some("1")), ["t/month=01/r=x/a", "t/month=1/r=x/b"]);
        assert_eq!(removed(None), ["t/null"]);
        assert_eq!(removed(Some("")), ["t/null"], "NULL and the empty string share a directory");
        assert!(removed(Some("10")).is_empty());
        let mut file = staged("t/month=1/r=x/new", None);
        file.partition = now[0].partition.clone();
        let plan = plan_publish(&WriteKind::OverwriteDynamic, vec![file], &now);
        assert_eq!(plan.remove, ["t/month=01/r=x/a", "t/month=1/r=x/b"]);
    }

    #[test]
    fn a_path_about_to_be_published_is_never_removed() {
        let file = staged("t/ds=1/old.parquet", Some("1"));
        assert!(plan_publish(&WriteKind::Overwrite, vec![file], &[visible("ds=1")]).remove.is_empty());
    }

    #[test]
    fn odd_partition_values_become_safe_directories() {
        let dir = |v: Option<&str>| partition_dir(&[("c".into(), v.map(Into::into))]);
        assert_eq!(dir(None), "c=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(dir(Some("a/b=c d%é")), "c=a%2Fb%3Dc d%25é");
    }
}
