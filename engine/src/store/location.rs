//! Names of objects and directories, wherever they are.
//!
//! Keys are taken as written, never percent-decoded, as the AWS tools do: partition directories contain percent signs.
//! A location carries no secret; URLs with credentials are refused. Nothing here does I/O, except that a relative path
//! asks for the current directory.

use std::fmt;
use std::str::FromStr;

use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::path::Path;
use selvedge_model::Failure;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::EngineError;

/// Schemes a location may have; `s3a` is another name for `s3`, and `memory` lives as long as its process.
const SCHEMES: [&str; 5] = ["s3", "file", "http", "https", "memory"];

/// An object or a directory in some store.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    scheme: &'static str,
    /// Bucket, or host and port; empty for files.
    authority: String,
    path: Path,
    directory: bool,
}

impl Location {
    /// Reads a URL or a path, absolute or relative to the current directory.
    ///
    /// # Errors
    /// `INVALID_LOCATION` when it is neither, or has a scheme we do not know.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(invalid(text, "it is empty"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let rest = text.strip_prefix("file:").unwrap_or(text);
            return Self::from_file_path(text, rest);
        };
        let wanted = if scheme.eq_ignore_ascii_case("s3a") { "s3" } else { scheme };
        let Some(scheme) = SCHEMES.into_iter().find(|s| s.eq_ignore_ascii_case(wanted)) else {
            let hint = "Use s3://bucket/key, file:///path, https://host/path or a plain path";
            return Err(Failure::user("INVALID_LOCATION", format!("{text}: unknown scheme {scheme}://"))
                .with_hint(hint)
                .into());
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(invalid(
                &format!("{scheme}://...@..."),
                "it contains credentials, which belong in the environment",
            ));
        }
        match scheme {
            "file" if !matches!(authority, "" | "localhost") => {
                Err(invalid(text, "a file URL has three slashes: file:///path"))
            }
            "file" => Self::from_file_path(text, &format!("/{path}")),
            _ if path.starts_with('/') => Err(invalid(text, "the key begins with a slash")),
            _ if authority.is_empty() => Err(invalid(text, "the bucket or host is missing")),
            "http" | "https" if path.contains('?') || path.contains('#') => {
                Err(invalid(text, "queries and fragments are not supported"))
            }
            _ => Self::new(text, scheme, authority.to_owned(), path),
        }
    }

    fn from_file_path(text: &str, path: &str) -> Result<Self, EngineError> {
        let directory = path.ends_with('/') || path == "." || path.ends_with("/.");
        let absolute = if path.starts_with('/') {
            path.to_owned()
        } else {
            let here = std::env::current_dir().map_err(|e| EngineError::io("finding the current directory", e))?;
            format!("{}/{path}", here.display())
        };
        let mut segments: Vec<&str> = Vec::new();
        for segment in absolute.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                other => segments.push(other),
            }
        }
        let mut clean = segments.join("/");
        if directory && !clean.is_empty() {
            clean.push('/');
        }
        Self::new(text, "file", String::new(), &clean)
    }

    fn new(text: &str, scheme: &'static str, authority: String, key: &str) -> Result<Self, EngineError> {
        let path = Path::parse(key).map_err(|e| invalid(text, &e.to_string()))?;
        let directory = key.is_empty() || key.ends_with('/');
        Ok(Self { scheme, authority, path, directory })
    }

    /// The store it is in, as DataFusion names it.
    pub fn store_url(&self) -> ObjectStoreUrl {
        let url = format!("{}://{}", self.scheme, self.authority);
        // A scheme and an authority that `parse` accepted; a host that is no URL's host meets its error at `get`.
        ObjectStoreUrl::parse(url).unwrap_or_else(|_| ObjectStoreUrl::local_filesystem())
    }

    /// The key within its store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The scheme: `s3`, `file`, `http`, `https` or `memory`.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// The bucket or the host and port; empty for files.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A location below this one; a trailing slash makes it a directory. Empty, `.` and `..` segments are dropped, so that
    /// what is joined never leaves this one.
    #[must_use]
    pub fn join(&self, relative: &str) -> Location {
        let kept: Vec<&str> = relative.split('/').filter(|s| !matches!(*s, "" | "." | "..")).collect();
        if kept.is_empty() {
            return Location { directory: true, ..self.clone() };
        }
        let key = match self.path.as_ref() {
            "" => kept.join("/"),
            base => format!("{base}/{}", kept.join("/")),
        };
        // Segments of a control character are all that is left to refuse; encode those.
        let path = Path::parse(&key).unwrap_or_else(|_| Path::from(key.as_str()));
        Location { path, directory: relative.ends_with('/'), ..self.clone() }
    }

    /// The same place as a directory.
    #[must_use]
    pub fn as_directory(&self) -> Location {
        Location { directory: true, ..self.clone() }
    }

    /// The same store at another key.
    #[must_use]
    pub fn with_path(&self, path: Path) -> Location {
        Location { path, directory: false, ..self.clone() }
    }

    /// Whether it is on this machine's file system.
    pub fn is_local(&self) -> bool {
        self.scheme == "file"
    }

    /// The path on this machine's file system, when it is there.
    pub fn local_path(&self) -> Option<std::path::PathBuf> {
        self.is_local().then(|| std::path::PathBuf::from(format!("/{}", self.path)))
    }

    /// Whether it was written as a directory, with a trailing slash.
    pub fn is_directory_hint(&self) -> bool {
        self.directory
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.scheme, self.authority, self.path)?;
        if self.directory && !self.path.as_ref().is_empty() { f.write_str("/") } else { Ok(()) }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Location {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

fn invalid(text: &str, why: &str) -> EngineError {
    Failure::user("INVALID_LOCATION", format!("{text} is not a location: {why}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_read_and_written_back() {
        let rows = [
            ("s3://bucket/a/b.parquet", "s3://bucket/a/b.parquet", "a/b.parquet", false),
            ("s3a://bucket/a/", "s3://bucket/a/", "a", true),
            ("S3://bucket", "s3://bucket/", "", true),
            ("s3://b/ts=2020-01-01 00%3A00/x", "s3://b/ts=2020-01-01 00%3A00/x", "ts=2020-01-01 00%3A00/x", false),
            ("file:///tmp/a/../b/", "file:///tmp/b/", "tmp/b", true),
            ("/tmp//x.csv", "file:///tmp/x.csv", "tmp/x.csv", false),
            ("https://host:8080/d/f.csv", "https://host:8080/d/f.csv", "d/f.csv", false),
            ("/data/*.parquet", "file:///data/*.parquet", "data/*.parquet", false),
        ];
        for (text, shown, key, directory) in rows {
            let got = Location::parse(text).unwrap();
            assert_eq!((got.to_string().as_str(), got.path().as_ref()), (shown, key), "{text}");
            assert_eq!(got.is_directory_hint(), directory, "{text}");
            assert_eq!(Location::parse(&got.to_string()).unwrap(), got, "{text}");
            let json = serde_json::to_string(&got).unwrap();
            assert_eq!(serde_json::from_str::<Location>(&json).unwrap(), got, "{text}");
        }
        let here = std::env::current_dir().unwrap();
        let relative = Location::parse("data/x").unwrap();
        assert_eq!(relative.local_path().unwrap(), here.join("data/x"));
    }

    #[test]
    fn what_is_no_location_is_refused_without_its_secret() {
        for text in ["", "gs://b/x", "s3:///x", "s3://b//x", "file://host/x", "https://h/x?sig=1", "s3://b/a/../x"] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        let secret = Location::parse("s3://key:hunter2@bucket/x").unwrap_err();
        assert!(!secret.to_string().contains("hunter2"), "{secret}");
    }

    #[test]
    fn join_stays_below() {
        let root = Location::parse("s3://b/t").unwrap();
        assert_eq!(root.join("ds=1/f.parquet").to_string(), "s3://b/t/ds=1/f.parquet");
        assert_eq!(root.join("ds=1/").to_string(), "s3://b/t/ds=1/");
        assert_eq!(root.join("../../x").to_string(), "s3://b/t/x");
        assert_eq!(Location::parse("s3://b").unwrap().join("x").to_string(), "s3://b/x");
    }
}
