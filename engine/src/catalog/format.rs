//! How the files of a table are read: formats and their options.
//!
//! Options are those written after `OPTIONS (...)`; unknown ones are refused, naming the nearest. What is not said is taken
//! from the session. No file is opened here.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::config::{ConfigOptions, CsvOptions, JsonOptions, TableParquetOptions};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::avro::AvroFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use selvedge_model::Failure;

use super::Format;
use crate::error::or_list;

/// Options by format, in their one spelling, each with its other spellings.
const CSV_OPTIONS: [(&str, &[&str]); 9] = [
    ("header", &["has_header"]),
    ("delimiter", &["sep", "separator"]),
    ("quote", &[]),
    ("escape", &[]),
    ("comment", &[]),
    ("newlines_in_values", &["multiline"]),
    ("truncated_rows", &[]),
    ("compression", &[]),
    ("schema_infer_max_rec", &[]),
];
const JSON_OPTIONS: [(&str, &[&str]); 2] = [("compression", &[]), ("schema_infer_max_rec", &[])];

/// The reader of a format with these options, for files of this compression.
///
/// # Errors
/// `UNKNOWN_OPTION` or `INVALID_OPTION`.
pub(crate) fn file_format(
    format: Format,
    options: &BTreeMap<String, String>,
    compression: CompressionTypeVariant,
    config: &ConfigOptions,
) -> Result<Arc<dyn FileFormat>, Failure> {
    match format {
        Format::Parquet => {
            known_options(format, options, &[])?;
            let parquet = TableParquetOptions { global: config.execution.parquet.clone(), ..Default::default() };
            Ok(Arc::new(ParquetFormat::default().with_options(parquet).with_force_view_types(false)))
        }
        Format::Avro => {
            known_options(format, options, &[])?;
            Ok(Arc::new(AvroFormat))
        }
        Format::Delta => Err(Failure::internal("INTERNAL", "a Delta table was to be read as files")),
        Format::Json => {
            let given = known_options(format, options, &JSON_OPTIONS)?;
            let mut json = JsonOptions { compression, ..JsonOptions::default() };
            if let Some(n) = given.get("schema_infer_max_rec") {
                json.schema_infer_max_rec = Some(parsed("schema_infer_max_rec", n, "a number of rows")?);
            }
            Ok(Arc::new(JsonFormat::default().with_options(json)))
        }
        Format::Csv => {
            let given = known_options(format, options, &CSV_OPTIONS)?;
            Ok(Arc::new(CsvFormat::default().with_options(csv_options(&given, compression, config)?)))
        }
    }
}

fn csv_options(
    given: &BTreeMap<&'static str, &str>,
    compression: CompressionTypeVariant,
    config: &ConfigOptions,
) -> Result<CsvOptions, Failure> {
    // What executors read must not depend on their session: say it here.
    let mut csv = CsvOptions {
        compression,
        has_header: Some(config.catalog.has_header),
        newlines_in_values: Some(config.catalog.newlines_in_values),
        ..CsvOptions::default()
    };
    for (key, value) in given {
        match *key {
            "header" => csv.has_header = Some(boolean(key, value)?),
            "newlines_in_values" => csv.newlines_in_values = Some(boolean(key, value)?),
            "truncated_rows" => csv.truncated_rows = Some(boolean(key, value)?),
            "delimiter" => csv.delimiter = character(key, value)?,
            "quote" => csv.quote = character(key, value)?,
            "escape" => csv.escape = Some(character(key, value)?),
            "comment" => csv.comment = Some(character(key, value)?),
            "schema_infer_max_rec" => csv.schema_infer_max_rec = Some(parsed(key, value, "a number of rows")?),
            _ => {}
        }
    }
    Ok(csv)
}

/// Files by their compression, as their names end; each kind is read by a scan of its own. A scan does not carry it to
/// the executors (see [`prepare_scans`](super::prepare_scans)), so the option can only confirm it.
///
/// # Errors
/// `INVALID_OPTION` when the option is not known, or a name disagrees with it.
pub(super) fn by_compression<T>(
    format: Format,
    options: &BTreeMap<String, String>,
    files: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<Vec<(CompressionTypeVariant, Vec<T>)>, Failure> {
    let said = said_compression(format, options)?;
    let mut kinds: Vec<(CompressionTypeVariant, Vec<T>)> = Vec::new();
    for file in files {
        let kind = match format {
            Format::Csv | Format::Json => ending(name(&file)),
            Format::Parquet | Format::Avro | Format::Delta => CompressionTypeVariant::UNCOMPRESSED,
        };
        if let Some(said) = said.filter(|said| *said != kind) {
            let cause = format!("option compression is {said:?}, but {} does not end so", name(&file));
            return Err(Failure::user("INVALID_OPTION", cause)
                .with_hint("Leave the option out: compression is told by names, .gz, .zst, .bz2, .xz"));
        }
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, same)) => same.push(file),
            None => kinds.push((kind, vec![file])),
        }
    }
    Ok(kinds)
}

/// The compression that the options tell.
pub(super) fn said_compression(
    format: Format,
    options: &BTreeMap<String, String>,
) -> Result<Option<CompressionTypeVariant>, Failure> {
    let said = options.iter().find(|(k, _)| bare_key(k) == "compression");
    let Some((_, value)) = said.filter(|_| matches!(format, Format::Csv | Format::Json)) else { return Ok(None) };
    let known = CompressionTypeVariant::from_str(value);
    known.map(Some).map_err(|_| invalid("compression", value, "gzip, zstd, bzip2, xz or uncompressed"))
}

/// The compression that the end of a file's name tells.
pub(super) fn ending(name: &str) -> CompressionTypeVariant {
    match name.rsplit_once('.').map(|(_, e)| e.to_lowercase()).as_deref() {
        Some("gz" | "gzip") => CompressionTypeVariant::GZIP,
        Some("zst" | "zstd") => CompressionTypeVariant::ZSTD,
        Some("bz2") => CompressionTypeVariant::BZIP2,
        Some("xz") => CompressionTypeVariant::XZ,
        _ => CompressionTypeVariant::UNCOMPRESSED,
    }
}

fn bare_key(key: &str) -> String {
    let key = key.trim().to_lowercase();
    key.strip_prefix("format.").map_or_else(|| key.clone(), str::to_owned)
}

fn known_options<'a>(
    format: Format,
    options: &'a BTreeMap<String, String>,
    known: &[(&'static str, &[&'static str])],
) -> Result<BTreeMap<&'static str, &'a str>, Failure> {
    let mut given = BTreeMap::new();
    for (key, value) in options {
        let bare = bare_key(key);
        let Some((name, _)) = known.iter().find(|(name, others)| *name == bare || others.contains(&bare.as_str()))
        else {
            let failure = Failure::user("UNKNOWN_OPTION", format!("{format} has no option {key}"));
            return Err(failure.with_hint(or_list(&bare, "Options", known.iter().map(|(name, _)| *name))));
        };
        given.insert(*name, value.as_str());
    }
    Ok(given)
}

fn invalid(key: &str, value: &str, expected: &str) -> Failure {
    Failure::user("INVALID_OPTION", format!("option {key} cannot be {value:?}"))
        .with_hint(format!("It takes {expected}"))
}

fn boolean(key: &str, value: &str) -> Result<bool, Failure> {
    parsed(key, &value.to_lowercase(), "true or false")
}

fn parsed<T: FromStr>(key: &str, value: &str, expected: &str) -> Result<T, Failure> {
    value.trim().parse().map_err(|_| invalid(key, value, expected))
}

fn character(key: &str, value: &str) -> Result<u8, Failure> {
    match value {
        "\\t" | "\t" => Ok(b'\t'),
        _ => match value.as_bytes() {
            [one] => Ok(*one),
            _ => Err(invalid(key, value, "one ASCII character, or \\t")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn csv(pairs: &[(&str, &str)]) -> Result<CsvOptions, Failure> {
        let none = CompressionTypeVariant::UNCOMPRESSED;
        let format = file_format(Format::Csv, &options(pairs), none, &ConfigOptions::default())?;
        Ok(format.downcast_ref::<CsvFormat>().unwrap().options().clone())
    }

    #[test]
    fn csv_options_in_all_spellings() {
        let got = csv(&[("has_header", "FALSE"), ("format.sep", "\\t"), ("escape", "\\")]).unwrap();
        assert_eq!((got.has_header, got.delimiter, got.escape), (Some(false), b'\t', Some(b'\\')));
        assert_eq!(csv(&[]).unwrap().has_header, Some(true));
        assert_eq!(csv(&[("delimter", ";")]).unwrap_err().hint, "Did you mean delimiter?");
        assert_eq!(csv(&[("delimiter", ";;")]).unwrap_err().code, "INVALID_OPTION");
        assert_eq!(csv(&[("header", "maybe")]).unwrap_err().code, "INVALID_OPTION");
    }

    #[test]
    fn compression_is_told_by_names_and_must_fit_the_option() {
        use CompressionTypeVariant::{GZIP, UNCOMPRESSED, ZSTD};
        let get = |names: &[&'static str], opts: &[(&str, &str)]| {
            by_compression(Format::Csv, &options(opts), names.to_vec(), |n| n)
        };
        assert_eq!(get(&["a.csv.gz", "b.csv.GZ"], &[]).unwrap(), [(GZIP, vec!["a.csv.gz", "b.csv.GZ"])]);
        let mixed = get(&["a.csv", "b.csv.zst", "c.csv"], &[]).unwrap();
        assert_eq!(mixed, [(UNCOMPRESSED, vec!["a.csv", "c.csv"]), (ZSTD, vec!["b.csv.zst"])]);
        assert_eq!(get(&["a.gz"], &[("format.compression", "gzip")]).unwrap(), [(GZIP, vec!["a.gz"])]);
        let unfit = get(&["a.gz", "b"], &[("compression", "gzip")]).unwrap_err();
        assert_eq!(unfit.code, "INVALID_OPTION");
        assert!(unfit.cause.contains(" b "), "{}", unfit.cause);
        assert!(get(&["a"], &[("compression", "rar")]).is_err());
        let parquet = by_compression(Format::Parquet, &options(&[]), vec!["a.parquet", "b.gz"], |n| n).unwrap();
        assert_eq!(parquet.len(), 1);
    }
}
