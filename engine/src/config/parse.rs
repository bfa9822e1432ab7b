//! How one value is read: text in, a typed value or the reason why not out. No I/O, and no secret in a reason.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use selvedge_model::failure::HasFailure as _;
use url::Url;

use crate::store::Location;

/// Why a value is refused.
pub type Refused<T> = Result<T, String>;

/// An address with a port.
pub fn address(text: &str) -> Refused<SocketAddr> {
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    numeric.parse().map_err(|_| format!("'{text}' is not an address and port like 127.0.0.1:50050"))
}

/// A time with its unit.
pub fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Refused<Duration> {
    let value = humantime::parse_duration(text).map_err(|_| format!("'{text}' is not a time like 5s or 1m 30s"))?;
    within(value, bounds, |d| humantime::format_duration(*d).to_string())
}

/// A whole number; `_` may part its digits.
pub fn number<T: FromStr + PartialOrd + Display>(text: &str, bounds: RangeInclusive<T>) -> Refused<T> {
    let digits = text.replace('_', "");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("'{text}' is not a whole number"));
    }
    let outside = || format!("{digits} is not between {} and {}", bounds.start(), bounds.end());
    let value = digits.parse().map_err(|_| outside())?;
    within(value, bounds, T::to_string)
}

/// A size, with a unit or in bytes.
pub fn size(text: &str, bounds: RangeInclusive<ByteSize>) -> Refused<ByteSize> {
    let value = text.parse().map_err(|_| format!("'{text}' is not a size like 256KiB or 4GiB"))?;
    within(value, bounds, ByteSize::to_string)
}

fn within<T: PartialOrd>(value: T, bounds: RangeInclusive<T>, show: impl Fn(&T) -> String) -> Refused<T> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(format!("{} is not between {} and {}", show(&value), show(bounds.start()), show(bounds.end())))
}

/// An address of one of these schemes, without credentials.
pub fn url(text: &str, schemes: &[&str]) -> Refused<Url> {
    // Said before anything that repeats the text: what precedes the @ may be a password.
    if text.contains('@') {
        return Err("must not carry a user or password".to_owned());
    }
    let url = Url::parse(text).map_err(|e| format!("'{text}' is not a URL like http://127.0.0.1:50050 ({e})"))?;
    if schemes.contains(&url.scheme()) && url.host_str().is_some() {
        return Ok(url);
    }
    Err(format!("'{text}' must begin with {}:// and name a host", schemes.join(":// or ")))
}

/// A directory or a place in an object store.
pub fn location(text: &str) -> Refused<Location> {
    Location::parse(text).map_err(|e| e.failure().to_string())
}

/// `None` for the empty text.
///
/// # Errors
/// Those of `parse`.
pub fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Refused<T>) -> Refused<Option<T>> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_repeated_even_where_the_rest_is_wrong() {
        for text in ["http://key:secret@minio:99999", "s3://key:secret@minio", "http://key:secret@minio:9000"] {
            let why = url(text, &["http", "https"]).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_number_too_large_for_its_type_is_out_of_bounds() {
        assert_eq!(number("99999", 0..=u16::MAX).unwrap_err(), "99999 is not between 0 and 65535");
        assert!(number("-1", 0..=u16::MAX).unwrap_err().contains("not a whole number"));
        assert_eq!(number("1_000", 0..=usize::MAX), Ok(1000));
    }
}
