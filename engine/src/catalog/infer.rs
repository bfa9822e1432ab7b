//! The columns of a table, as its files tell.
//!
//! Not all files are looked into: of Parquet files [`SCHEMAS_READ`] footers at most, the first and the last among them; of
//! text, files in order until 1,000 rows (option `schema_infer_max_rec`) are seen. Columns that only other files have are
//! to be declared. What cannot be read is named, file by file. Used by `resolve.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::FileFormat;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore};
use selvedge_model::Failure;

use super::Format;
use super::format::{by_compression, file_format};
use super::statistics::spread;
use crate::error::{Reading, Start, classify_reading};
use crate::store::Location;

/// Most Parquet files whose footers are read for the columns of a table.
pub(super) const SCHEMAS_READ: usize = 128;
/// Most text files that are looked into, however few rows they have: one is read after the other.
const TEXTS_READ: usize = 32;

/// Files to find the columns of.
pub(super) struct Unknown<'a> {
    pub state: &'a SessionState,
    pub store: &'a Arc<dyn ObjectStore>,
    pub format: Format,
    pub location: &'a Location,
    pub options: &'a BTreeMap<String, String>,
    pub files: &'a [ObjectMeta],
}

/// Files, named for messages, and the columns they have.
struct Told {
    by: String,
    columns: SchemaRef,
}

impl Unknown<'_> {
    /// The columns of all files together.
    ///
    /// # Errors
    /// What is wrong with a file, named; `BAD_DATA` when files do not fit together.
    pub(super) async fn columns(&self) -> Result<Schema, Failure> {
        let limit = match self.format {
            Format::Parquet | Format::Avro | Format::Delta => SCHEMAS_READ,
            Format::Csv | Format::Json => TEXTS_READ,
        };
        let sample: Vec<ObjectMeta> = match self.format {
            Format::Parquet | Format::Avro | Format::Delta => {
                spread(self.files.len(), limit).into_iter().map(|at| self.files[at].clone()).collect()
            }
            Format::Csv | Format::Json => self.files.to_vec(),
        };
        let kinds = by_compression(self.format, self.options, sample, |f| f.location.as_ref())?;
        let mut told = Vec::new();
        for (compression, files) in kinds {
            let reader = self.reader(compression)?;
            match self.format {
                Format::Parquet | Format::Avro | Format::Delta => told.extend(self.one_by_one(&reader, &files).await?),
                Format::Csv | Format::Json => {
                    let files = &files[..files.len().min(limit)];
                    told.push(self.together(&reader, files).await?);
                }
            }
        }
        self.merged(told)
    }

    fn reader(&self, compression: CompressionTypeVariant) -> Result<Arc<dyn FileFormat>, Failure> {
        file_format(self.format, self.options, compression, self.state.config_options())
    }

    /// What each file tells, several read at a time.
    async fn one_by_one(&self, reader: &Arc<dyn FileFormat>, files: &[ObjectMeta]) -> Result<Vec<Told>, Failure> {
        let at_once = self.state.config_options().execution.meta_fetch_concurrency.get();
        stream::iter(files.to_vec())
            .map(|file| async move { self.alone(reader, file).await })
            .buffered(at_once)
            .try_collect()
            .await
    }

    async fn alone(&self, reader: &Arc<dyn FileFormat>, file: ObjectMeta) -> Result<Told, Failure> {
        let by = self.shown(&file);
        match reader.infer_schema(self.state, self.store, &[file]).await {
            Ok(columns) => Ok(Told { by, columns }),
            Err(e) => Err(self.failed(&e, &by)),
        }
    }

    /// What text files tell: one after the other until enough rows are seen. When that fails, the file that is to blame is
    /// looked for.
    async fn together(&self, reader: &Arc<dyn FileFormat>, files: &[ObjectMeta]) -> Result<Told, Failure> {
        let error = match reader.infer_schema(self.state, self.store, files).await {
            Ok(columns) => return Ok(Told { by: self.location.to_string(), columns }),
            Err(e) => e,
        };
        let mut told = Vec::with_capacity(files.len());
        for file in files {
            told.push(self.alone(reader, file.clone()).await?);
        }
        // Each can be read: they did not fit together.
        let by = self.location.to_string();
        let columns = Arc::new(self.merged(told)?);
        tracing::debug!(%error, location = %self.location, "merged the columns of text files with wider types");
        Ok(Told { by, columns })
    }

    fn merged(&self, told: Vec<Told>) -> Result<Schema, Failure> {
        let mut all: Vec<Field> = Vec::new();
        for Told { by, columns } in told {
            for field in columns.fields() {
                match all.iter_mut().find(|known| known.name() == field.name()) {
                    None => all.push(field.as_ref().clone()),
                    Some(known) => *known = self.common(known, field).ok_or_else(|| unfit(&by, known, field))?,
                }
            }
        }
        Ok(Schema::new(all))
    }

    /// A field that holds the values of both.
    fn common(&self, one: &Field, other: &Field) -> Option<Field> {
        let merged = Schema::try_merge([Schema::new(vec![one.clone()]), Schema::new(vec![other.clone()])]);
        if let Ok(merged) = merged {
            return merged.fields().first().map(|f| f.as_ref().clone());
        }
        let wider = match (self.format, one.data_type(), other.data_type()) {
            (Format::Parquet | Format::Avro | Format::Delta, _, _) => return None,
            (_, DataType::Int64, DataType::Float64) | (_, DataType::Float64, DataType::Int64) => DataType::Float64,
            (Format::Csv, _, _) => DataType::Utf8,
            (Format::Json, _, _) => return None,
        };
        Some(Field::new(one.name(), wider, true))
    }

    fn shown(&self, file: &ObjectMeta) -> String {
        self.location.with_path(file.location.clone()).to_string()
    }

    fn failed(&self, error: &DataFusionError, file: &str) -> Failure {
        classify_reading(error, &Reading { file, start: Start::Lines(0), columns: None })
    }
}

fn unfit(file: &str, known: &Field, field: &Field) -> Failure {
    let (before, here) = (known.data_type(), field.data_type());
    let cause = format!("column {} is {here} in {file}, but {before} in the files before it", field.name());
    Failure::user("BAD_DATA", cause).with_hint("Declare the columns, or give a location whose files have the same ones")
}
