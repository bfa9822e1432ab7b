//! Finds tables and views by name, and files by location, for plans and for clients that build plans.

use std::sync::Arc;

use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::catalog::{CatalogProviderList, TableProvider};
use selvedge_engine::catalog::{TableName, resolve_files, table_provider};
use selvedge_engine::error::classify;
use selvedge_engine::session::Settings;
use selvedge_model::Failure;
use selvedge_proto::v1;
use selvedge_proto::v1::resolve_table_request::Source;

use super::files::FileName;
use super::{Planner, errors, names, statement};

/// The table or view of a name, to be scanned. `catalogs` are a session's: with the versions that it sees.
pub(super) async fn provider(
    planner: &Planner,
    catalogs: &Arc<dyn CatalogProviderList>,
    name: &TableName,
) -> Result<Arc<dyn TableProvider>, Failure> {
    let schema = catalogs.catalog(names::CATALOG).and_then(|catalog| catalog.schema(&name.schema));
    let found = match schema {
        Some(schema) => schema.table(&name.table).await.map_err(|e| classify(&e))?,
        None => None,
    };
    found.ok_or_else(|| missing(planner, name))
}

/// The failure of a table that is not there.
pub(super) fn missing(planner: &Planner, name: &TableName) -> Failure {
    Failure::user("TABLE_NOT_FOUND", format!("table {name} does not exist"))
        .with_hint(errors::table_hint(planner, &name.to_string()))
}

/// What a name in a client's plan stands for: a table, a view, or files.
pub(super) async fn named(
    planner: &Planner,
    name: &str,
    settings: &Settings,
) -> Result<Arc<dyn TableProvider>, Failure> {
    let Some(files) = FileName::parse(name)? else {
        return provider(planner, &planner.engine.catalog_list(), &name.parse::<TableName>()?).await;
    };
    let state = statement::session(planner, settings)?;
    let def = resolve_files(&state, files.format, &files.location, &[], &files.options, None).await?;
    table_provider(&state, &def)
}

impl Planner {
    /// The schema of a table or of files as plans will read them, and the name to use for it in a plan.
    ///
    /// # Errors
    /// `TABLE_NOT_FOUND`, `FILE_NOT_FOUND` and the like.
    pub async fn resolve_table(&self, request: &v1::ResolveTableRequest) -> Result<v1::ResolveTableResponse, Failure> {
        let name = match &request.source {
            Some(Source::Table(name)) => name.parse::<TableName>()?.to_string(),
            Some(Source::Files(files)) => FileName::from_source(files)?.to_string(),
            None => return Err(Failure::user("INVALID_REQUEST", "the request names neither a table nor files")),
        };
        let schema = named(self, &name, &Settings::new()).await?.schema();
        let encoded = StreamWriter::try_new(Vec::new(), &schema).and_then(|mut writer| {
            writer.finish()?;
            writer.into_inner()
        });
        let schema = encoded.map_err(|e| Failure::internal("INTERNAL", format!("cannot encode a schema: {e}")))?;
        Ok(v1::ResolveTableResponse { table: name, schema: schema.into() })
    }
}
