//! The name under which a client's plan scans files: `files.<format>:<location>?key=value&...`, percent-encoded.
//!
//! It says all that is needed to read them, and two requests for the same files get the same name.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use selvedge_engine::catalog::Format;
use selvedge_engine::store::Location;
use selvedge_model::Failure;
use selvedge_model::failure::HasFailure as _;
use selvedge_proto::v1;

const PREFIX: &str = "files.";
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b':');

/// Files as a name says them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileName {
    pub format: Format,
    pub location: Location,
    pub options: BTreeMap<String, String>,
}

impl FileName {
    /// What a request asks for.
    pub fn from_source(source: &v1::FileSource) -> Result<Self, Failure> {
        let format = source.format.parse()?;
        let location = Location::parse(&source.location).map_err(|e| e.failure())?;
        let options = source.options.iter().map(|(k, v)| (k.to_lowercase(), v.clone())).collect();
        Ok(Self { format, location, options })
    }

    /// Reads a name; `None` when it is a table's.
    pub fn parse(name: &str) -> Result<Option<Self>, Failure> {
        let Some((format, rest)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')) else {
            return Ok(None);
        };
        let (location, options) = rest.split_once('?').unwrap_or((rest, ""));
        let options = options
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| Ok((decode(name, k)?, decode(name, v)?)))
            .collect::<Result<_, Failure>>()?;
        let location = Location::parse(&decode(name, location)?).map_err(|e| e.failure())?;
        Ok(Some(Self { format: format.parse()?, location, options }))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = self.location.to_string();
        let format = self.format.to_string().to_lowercase();
        write!(f, "{PREFIX}{format}:{}", utf8_percent_encode(&location, ESCAPED))?;
        for (i, (key, value)) in self.options.iter().enumerate() {
            let separator = if i == 0 { '?' } else { '&' };
            write!(f, "{separator}{}={}", utf8_percent_encode(key, ESCAPED), utf8_percent_encode(value, ESCAPED))?;
        }
        Ok(())
    }
}

fn decode(name: &str, text: &str) -> Result<String, Failure> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(|t| t.into_owned()).map_err(|_| Failure::user("INVALID_NAME", format!("'{name}' does not name files")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_all_that_is_needed() {
        let files = FileName {
            format: Format::Csv,
            location: Location::parse("s3://b/a dir/x=1?/*.csv").unwrap(),
            options: BTreeMap::from([("delimiter".into(), "&=?".into()), ("header".into(), "true".into())]),
        };
        let name = files.to_string();
        assert_eq!(name, "files.csv:s3://b/a%20dir/x%3D1%3F/%2A.csv?delimiter=%26%3D%3F&header=true");
        assert_eq!(FileName::parse(&name).unwrap(), Some(files));
        assert_eq!(FileName::parse("public.files").unwrap(), None);
        assert!(FileName::parse("files.xls:s3://b/x").is_err());
    }
}
