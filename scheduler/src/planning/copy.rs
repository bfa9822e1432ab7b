//! `COPY ... TO` a file or a directory.
//!
//! A file is replaced. A directory must be empty, unless `OPTIONS (mode 'overwrite')` or `'append'` says otherwise: a
//! mistyped location must not cost anybody their data, and a script that runs twice must not double its rows.

use selvedge_engine::catalog::Format;
use selvedge_engine::error::nearest;
use selvedge_engine::plan::WriteFormat;
use selvedge_engine::sql::{CopySource, CopyTo};
use selvedge_engine::store::Location;
use selvedge_model::Failure;
use selvedge_model::commit::WriteKind;

use super::assign::{self, Origin};
use super::statement::Context;
use super::target::{self, Target};
use super::{PlannedWrite, names, query};

const OPTIONS: [&str; 3] = ["mode", "compression", "header"];

/// What `OPTIONS` says.
#[derive(Debug, Default, PartialEq)]
struct CopyOptions {
    mode: Option<WriteKind>,
    compression: Option<String>,
}

pub(super) async fn plan(context: &Context<'_>, copy: &CopyTo) -> Result<PlannedWrite, Failure> {
    let location = target::parse(&copy.target)?;
    let last = location.path().as_ref().rsplit('/').next().unwrap_or_default().to_owned();
    let of_name = Format::of_file(&last).filter(|_| !location.is_directory_hint());
    let format = write_format(context, copy, of_name)?;
    let partition_by: Vec<String> = copy.partition_by.iter().map(names::ident).collect();
    let single_file = of_name.is_some().then(|| last.clone());
    if single_file.is_some() && !partition_by.is_empty() {
        let cause = format!("{location} is one file, and partitions need a directory");
        return Err(Failure::user("INVALID_LOCATION", cause).with_hint("End the location with '/'."));
    }
    let options = options(copy, format, &target::overwrite(&partition_by))?;
    let source = match &copy.source {
        CopySource::Query(query) => query::source(context, query).await?,
        CopySource::Table(name) => query::scan(context, name).await?,
    };
    let (schema, order) = target::new_schema(&source, &[], &partition_by)?;
    let (root, kind) = match &single_file {
        Some(_) => (parent(&location), WriteKind::Append),
        None => (target::directory_only(location.clone())?, options.mode.clone().unwrap_or(WriteKind::Append)),
    };
    let is_first = single_file.is_none() && options.mode.is_none();
    if is_first {
        let hint = "Add OPTIONS (mode 'overwrite') to replace them, or OPTIONS (mode 'append') to add to them.";
        target::empty_only(context.planner, &root, hint).await?;
    }
    let targets: Vec<_> = schema.fields().iter().cloned().zip(order.into_iter().map(Origin::Query)).collect();
    let input = assign::fit(source, &targets, &location.to_string())?;
    let target = Target {
        label: location.to_string(),
        is_first,
        format,
        single_file,
        compression: options.compression,
        ..Target::parquet(root, schema, partition_by, kind)
    };
    target::write(input, target, context.settings, &context.job_id)
}

fn parent(location: &Location) -> Location {
    let path = location.path().as_ref();
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    location
        .with_path(object_store::path::Path::from_iter(directory.split('/').filter(|s| !s.is_empty())))
        .as_directory()
}

fn write_format(context: &Context<'_>, copy: &CopyTo, of_name: Option<Format>) -> Result<WriteFormat, Failure> {
    let format = match &copy.format {
        Some(ident) => {
            let parsed: Result<Format, Failure> = ident.value.parse();
            parsed.map_err(|f| f.at(context.statement.place_of_ident(ident)))?
        }
        None => of_name.unwrap_or(Format::Parquet),
    };
    match format {
        Format::Parquet => Ok(WriteFormat::Parquet),
        Format::Csv => Ok(WriteFormat::Csv),
        Format::Json => Ok(WriteFormat::Json),
        Format::Avro => {
            Err(Failure::user("NOT_SUPPORTED", "Avro cannot be written").with_hint("Use PARQUET, CSV or JSON."))
        }
        Format::Delta => {
            let cause = "COPY writes files, and a Delta table is a table";
            Err(Failure::user("NOT_SUPPORTED", cause).with_hint("Use PARQUET, CSV or JSON."))
        }
    }
}

fn options(copy: &CopyTo, format: WriteFormat, overwrite: &WriteKind) -> Result<CopyOptions, Failure> {
    let mut options = CopyOptions::default();
    for (key, value) in &copy.options {
        let name = key.strip_prefix("format.").unwrap_or(key);
        let bad = |takes: &str| {
            let cause = format!("option {key} cannot be '{value}'");
            Failure::user("INVALID_OPTION", cause).with_hint(format!("It takes {takes}."))
        };
        match name {
            "mode" => {
                options.mode = Some(match value.to_lowercase().as_str() {
                    "overwrite" => overwrite.clone(),
                    "append" => WriteKind::Append,
                    _ => return Err(bad("overwrite or append")),
                });
            }
            "compression" if format == WriteFormat::Parquet => options.compression = Some(value.clone()),
            "compression" if value.eq_ignore_ascii_case("uncompressed") => {}
            "compression" => return Err(bad("uncompressed, unless Parquet is written")),
            // CSV is written with a header, always.
            "header" | "has_header" if value.eq_ignore_ascii_case("true") => {}
            "header" | "has_header" => return Err(bad("true")),
            _ => {
                let hint = match nearest(name, OPTIONS) {
                    Some(near) => format!("Did you mean {near}?"),
                    None => "COPY takes mode, compression and header.".to_owned(),
                };
                return Err(Failure::user("INVALID_OPTION", format!("COPY has no option {key}")).with_hint(hint));
            }
        }
    }
    Ok(options)
}
