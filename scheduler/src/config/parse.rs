//! How one value is read: text in, a typed value or the reason why not out. No I/O.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr as _;
use std::time::Duration;

use bytesize::ByteSize;
use humantime_serde::re::humantime;
use url::Url;

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| format!("'{text}' is not an address and port like 127.0.0.1:50050"))
}

pub(super) fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = humantime::parse_duration(text).map_err(|_| format!("'{text}' is not a time like 5s or 1m 30s"))?;
    if bounds.contains(&value) {
        return Ok(value);
    }
    let show = humantime::format_duration;
    Err(format!("{} is not between {} and {}", show(value), show(*bounds.start()), show(*bounds.end())))
}

pub(super) fn number(text: &str, bounds: RangeInclusive<usize>) -> Result<usize, String> {
    let value = text.replace('_', "").parse::<usize>().map_err(|_| format!("'{text}' is not a whole number"))?;
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(format!("{value} is not between {} and {}", bounds.start(), bounds.end()))
}

pub(super) fn size(text: &str, max: ByteSize) -> Result<ByteSize, String> {
    let value = ByteSize::from_str(text).map_err(|_| format!("'{text}' is not a size like 256KiB or 64MiB"))?;
    if value <= max { Ok(value) } else { Err(format!("{value} is more than {max}")) }
}

/// `None` for the empty text.
pub(super) fn endpoint(text: &str) -> Result<Option<Url>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(text).map_err(|e| format!("'{text}' is not a URL like http://127.0.0.1:9000: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("'{text}' must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user or password; credentials come from the AWS chain".to_owned());
    }
    Ok(Some(url))
}

/// `None` for `auto`.
pub(super) fn path_style(text: &str) -> Result<Option<bool>, String> {
    match text {
        "auto" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => Err(format!("'{text}' is none of true, false, auto")),
    }
}

/// `None` for the empty text.
pub(super) fn optional(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.trim()).filter(|t| !t.is_empty()).map(str::to_owned))
}
