//! Tables with a real log, in memory and on a disk: made, written, read.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use selvedge_model::Failure;
use selvedge_model::commit::partition_dir;
use selvedge_model::delta::{DeltaWrite, PartitionKey, PartitionSet};
use uuid::Uuid;

use super::*;
use crate::catalog::{Format, TableDef, TableName};
use crate::session::{Engine, EngineOptions, Settings};
use crate::store::{Location, ObjectStores};

mod commits;
mod maintain;
mod reading;
mod travel;

struct Bench {
    engine: Arc<Engine>,
    location: Location,
    table_id: String,
    _dir: Option<tempfile::TempDir>,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("ds", DataType::Utf8, true),
    ]))
}

fn new_table() -> NewTable {
    NewTable {
        app_id: "create".into(),
        schema: schema(),
        partition_by: vec!["ds".into()],
        properties: Default::default(),
        description: None,
        adds: vec![],
        operation: operation("CREATE TABLE"),
        run: Some("r-0".into()),
    }
}

fn operation(name: &str) -> Operation {
    Operation {
        name: name.to_owned(),
        parameters: [("mode".to_owned(), "Append".into())].into(),
        metrics: [("rows".to_owned(), 3.into())].into(),
    }
}

fn key(value: &str) -> PartitionKey {
    vec![Some(value.to_owned())]
}

fn part(value: &str) -> PartitionSet {
    PartitionSet::of([key(value)])
}

impl Bench {
    /// No table yet; `at` is a location's end that paths could stumble over.
    fn empty(dir: Option<tempfile::TempDir>) -> Self {
        let location = match &dir {
            Some(dir) => format!("{}/a b%20ü/t/", dir.path().display()),
            None => "memory://m/wh/a b%20ü/t/".to_owned(),
        };
        let engine = Engine::new(EngineOptions::new(Location::parse("/tmp/selvedge-none").unwrap())).unwrap();
        Self { engine, location: Location::parse(&location).unwrap(), table_id: String::new(), _dir: dir }
    }

    async fn memory() -> Self {
        Self::empty(None).with_table(&new_table()).await
    }

    async fn disk() -> Self {
        Self::empty(Some(tempfile::tempdir().unwrap())).with_table(&new_table()).await
    }

    async fn with_table(mut self, table: &NewTable) -> Self {
        create_table(self.stores(), &self.location, table).await.unwrap();
        self.table_id = self.latest().await.table_id().to_owned();
        self
    }

    fn stores(&self) -> &ObjectStores {
        self.engine.stores()
    }

    async fn latest(&self) -> DeltaSnapshot {
        self.at(VersionSpec::Latest).await.unwrap()
    }

    async fn at(&self, spec: VersionSpec) -> Result<DeltaSnapshot, Failure> {
        DeltaSnapshot::open(self.stores(), &self.location, spec).await
    }

    /// Writes a data file that nobody sees yet.
    async fn file(&self, ds: Option<&str>, ids: Range<i64>) -> AddFile {
        let columns = Arc::new(Schema::new(schema().fields()[..2].to_vec()));
        let names = StringArray::from_iter_values(ids.clone().map(|id| format!("n{id:05}")));
        let ids = Int64Array::from_iter_values(ids);
        let batch = RecordBatch::try_new(Arc::clone(&columns), vec![Arc::new(ids), Arc::new(names)]).unwrap();
        self.write(ds, &batch).await
    }

    async fn write(&self, ds: Option<&str>, batch: &RecordBatch) -> AddFile {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        let footer = writer.close().unwrap();
        let dir = partition_dir(&[("ds".to_owned(), ds.map(str::to_owned))]);
        let path = format!("{dir}/{}.parquet", Uuid::now_v7());
        let size = bytes.len() as u64;
        let full = Path::parse(format!("{}/{path}", self.location.path())).unwrap();
        self.stores().get(&self.location).unwrap().put(&full, bytes.into()).await.unwrap();
        AddFile {
            path,
            partition: vec![ds.map(str::to_owned)],
            bytes: size,
            rows: batch.num_rows() as u64,
            stats: Some(file_stats(&footer, &batch.schema()).unwrap()),
        }
    }

    /// A blind write planned on a version.
    fn request(&self, app_id: &str, base_version: i64, write: DeltaWrite, adds: Vec<AddFile>) -> CommitRequest {
        CommitRequest {
            app_id: app_id.to_owned(),
            table_id: self.table_id.clone(),
            base_version,
            write,
            reads: PartitionSet::none(),
            searched: PartitionSet::none(),
            adds,
            changes_rows: true,
            metadata: None,
            operation: operation("WRITE"),
            run: Some(format!("run of {app_id}")),
            user_metadata: Some("why".into()),
        }
    }

    async fn commit(&self, request: &CommitRequest) -> Result<CommitOutcome, CommitError> {
        commit(self.stores(), &self.location, request).await
    }

    /// Appends rows to a partition, as the newest version.
    async fn append(&self, app_id: &str, ds: Option<&str>, ids: Range<i64>) -> i64 {
        let base = self.latest().await.version();
        let file = self.file(ds, ids).await;
        self.commit(&self.request(app_id, base, DeltaWrite::Append, vec![file])).await.unwrap().version
    }

    /// A session in whose catalog the table is `t`.
    fn session(&self) -> SessionContext {
        let def = TableDef {
            name: TableName::new("public", "t"),
            format: Format::Delta,
            location: self.location.clone(),
            schema: schema(),
            partition_by: vec!["ds".into()],
            options: Default::default(),
            owner: String::new(),
        };
        self.engine.catalog().create_table(def, true, false).unwrap();
        SessionContext::new_with_state(self.engine.session(&Settings::new()).unwrap())
    }

    async fn query(&self, sql: &str) -> Result<Vec<String>, Failure> {
        rows(&self.session(), sql).await
    }

    /// How many rows each partition has, and the sum of their ids.
    async fn contents(&self) -> Vec<String> {
        self.query("SELECT ds, count(*) AS n, sum(id) AS s FROM t GROUP BY ds ORDER BY ds").await.unwrap()
    }
}

/// The rows of a query, values separated by spaces.
async fn rows(ctx: &SessionContext, sql: &str) -> Result<Vec<String>, Failure> {
    let classify = |e| crate::error::classify(&e);
    let batches = ctx.sql(sql).await.map_err(classify)?.collect().await.map_err(classify)?;
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().skip(3).filter(|line| line.starts_with('|'));
    Ok(lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ")).collect())
}
