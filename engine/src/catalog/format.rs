//! How the files of a table are read: formats and their options.
//!
//! Options are those written after `OPTIONS (...)`; unknown ones are refused, naming the nearest. What is not said is taken
//! from the session. No file is opened here.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::{ConfigOptions, CsvOptions, JsonOptions, TableParquetOptions};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::avro::AvroFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;
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
pub(super) fn file_format(
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

/// The compression of files, as their names end. A scan does not carry it to the executors (see
/// [`restore_compression`]), so the option can only confirm it.
///
/// # Errors
/// `INVALID_OPTION`, or `MIXED_COMPRESSION` when the names disagree.
pub(super) fn compression_of(
    format: Format,
    options: &BTreeMap<String, String>,
    files: &[ObjectMeta],
) -> Result<CompressionTypeVariant, Failure> {
    if !matches!(format, Format::Csv | Format::Json) {
        return Ok(CompressionTypeVariant::UNCOMPRESSED);
    }
    let said = match options.iter().find(|(k, _)| bare_key(k) == "compression") {
        None => None,
        Some((_, value)) => {
            let known = CompressionTypeVariant::from_str(value);
            Some(known.map_err(|_| invalid("compression", value, "gzip, zstd, bzip2, xz or uncompressed"))?)
        }
    };
    let Some((first, others)) = files.split_first() else {
        return Ok(said.unwrap_or(CompressionTypeVariant::UNCOMPRESSED));
    };
    let compression = ending(first.location.as_ref());
    if let Some(other) = others.iter().find(|f| ending(f.location.as_ref()) != compression) {
        let cause = format!("{} and {} are compressed differently", first.location, other.location);
        return Err(Failure::user("MIXED_COMPRESSION", cause).with_hint("Use a glob for each kind, and UNION ALL"));
    }
    match said.filter(|said| *said != compression) {
        None => Ok(compression),
        Some(said) => {
            let cause = format!("option compression is {said:?}, but {} does not end so", first.location);
            Err(Failure::user("INVALID_OPTION", cause).with_hint("Compression is told by names: .gz, .zst, .bz2, .xz"))
        }
    }
}

/// Gives scans of compressed text their compression back: it is lost when DataFusion encodes a plan. Executors call this
/// on every plan they decode, before it runs.
///
/// # Errors
/// None of its own; walking a plan may fail.
pub fn restore_compression(plan: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let restored = plan.transform_up(|node| {
        let Some(config) =
            node.downcast_ref::<DataSourceExec>().and_then(|s| s.data_source().downcast_ref::<FileScanConfig>())
        else {
            return Ok(Transformed::no(node));
        };
        let text = matches!(config.file_source().file_type(), "csv" | "json");
        let first = config.file_groups.iter().flat_map(|group| group.iter()).next();
        let compression = first.map(|f| ending(f.object_meta.location.as_ref()));
        match compression {
            Some(c) if text && c != CompressionTypeVariant::UNCOMPRESSED => {
                let config = FileScanConfigBuilder::from(config.clone()).with_file_compression_type(c.into()).build();
                Ok(Transformed::yes(DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>))
            }
            _ => Ok(Transformed::no(node)),
        }
    })?;
    Ok(restored.data)
}

fn ending(name: &str) -> CompressionTypeVariant {
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
    fn compression_is_told_by_names_and_must_agree() {
        let file = |name: &str| ObjectMeta {
            location: name.into(),
            last_modified: Default::default(),
            size: 1,
            e_tag: None,
            version: None,
        };
        let get = |names: &[&str], opts: &[(&str, &str)]| {
            let files: Vec<ObjectMeta> = names.iter().map(|n| file(n)).collect();
            compression_of(Format::Csv, &options(opts), &files)
        };
        assert_eq!(get(&["a.csv.gz", "b.csv.GZ"], &[]).unwrap(), CompressionTypeVariant::GZIP);
        assert_eq!(get(&["a.csv.zst"], &[]).unwrap(), CompressionTypeVariant::ZSTD);
        assert_eq!(get(&["a.csv", "b.csv.gz"], &[]).unwrap_err().code, "MIXED_COMPRESSION");
        assert_eq!(get(&["a.gz"], &[("format.compression", "gzip")]).unwrap(), CompressionTypeVariant::GZIP);
        assert_eq!(get(&[], &[("format.compression", "gzip")]).unwrap(), CompressionTypeVariant::GZIP);
        assert_eq!(get(&["a"], &[("compression", "gzip")]).unwrap_err().code, "INVALID_OPTION");
        assert!(get(&["a"], &[("compression", "rar")]).is_err());
    }
}
