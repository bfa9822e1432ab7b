//! Keys that scheduler and executor share: their rows, how they are read, how they are printed.

use super::parse::{self, optional};
use super::{Key, Reader};
use crate::store::{Location, StoreOptions};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where metrics and health are served; the default differs.
pub const fn http(default: &'static str) -> Key {
    Key::new("http", default, "Address and port of /metrics, /healthz and /readyz; port 0 takes a free one.")
}

/// Where shuffle files survive their executor.
pub const SHUFFLE: Key = Key::new(
    "shuffle",
    "",
    "Where executors also keep shuffle files, so that a lost executor costs no rerun: s3://bucket/prefix or a shared \
     directory. Empty: local disks only.",
);

/// Of [`store_options`].
pub const S3_ENDPOINT: Key = Key::new(
    "s3.endpoint",
    "",
    "URL of an S3-compatible server; empty means AWS. Credentials come from the AWS chain, never from here.",
);

/// Of [`store_options`].
pub const S3_REGION: Key = Key::new("s3.region", "", "AWS region; empty takes AWS_REGION or the profile's.");

/// Of [`store_options`].
pub const S3_PATH_STYLE: Key = Key::new(
    "s3.path_style",
    "auto",
    "true: http://host/bucket/key; false: http://bucket.host/key; auto: true when an endpoint is set.",
);

/// Of [`store_options`].
pub const S3_PROFILE: Key = Key::new(
    "s3.profile",
    "",
    "Profile of the shared AWS configuration files; empty takes AWS_PROFILE or the default one.",
);

/// Of [`log_format`].
pub const LOG_FORMAT: Key = Key::new("log.format", "text", "text or json.");

/// Reads `shuffle`.
pub fn shuffle(r: &mut Reader) -> Option<Option<Location>> {
    r.read(SHUFFLE.name, |text| optional(text, parse::location))
}

/// Reads `s3.*`.
pub fn store_options(r: &mut Reader) -> Option<StoreOptions> {
    let name = |text: &str| optional(text, |t| Ok(t.to_owned()));
    let endpoint = r.read(S3_ENDPOINT.name, |text| optional(text, |t| parse::url(t, &["http", "https"])));
    let region = r.read(S3_REGION.name, name);
    let path_style = r.read(S3_PATH_STYLE.name, |text| match text {
        "auto" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(format!("'{text}' is none of true, false, auto")),
    });
    let profile = r.read(S3_PROFILE.name, name);
    let base = StoreOptions::with_endpoint(endpoint?);
    Some(StoreOptions { path_style: path_style?, region: region?, profile: profile?, ..base })
}

/// Reads `log.format`.
pub fn log_format(r: &mut Reader) -> Option<LogFormat> {
    r.read(LOG_FORMAT.name, |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("'{text}' is neither text nor json")),
    })
}

/// The values of all of these but `http`, as one would type them.
pub fn values(
    shuffle: Option<&Location>,
    store: &StoreOptions,
    log_format: LogFormat,
) -> impl Iterator<Item = (&'static str, String)> {
    let log_format = match log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let values = [
        (SHUFFLE.name, shuffle.map(ToString::to_string).unwrap_or_default()),
        (S3_ENDPOINT.name, store.endpoint.as_ref().map(ToString::to_string).unwrap_or_default()),
        (S3_REGION.name, store.region.clone().unwrap_or_default()),
        (S3_PATH_STYLE.name, store.path_style.map_or_else(|| "auto".to_owned(), |is| is.to_string())),
        (S3_PROFILE.name, store.profile.clone().unwrap_or_default()),
        (LOG_FORMAT.name, log_format.to_owned()),
    ];
    values.into_iter()
}
