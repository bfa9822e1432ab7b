//! `information_schema`: DataFusion's, with its rows in the plan. Its own tables are streams of this process, and no plan can
//! carry those to an executor.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::information_schema::InformationSchemaProvider;
use datafusion::catalog::{CatalogProviderList, SchemaProvider};
use datafusion::datasource::{MemTable, TableProvider};
use datafusion::error::Result;
use datafusion::prelude::SessionContext;

/// The tables about tables.
#[derive(Debug)]
pub(super) struct InformationSchema {
    streams: InformationSchemaProvider,
}

impl InformationSchema {
    /// About the tables of a list. One that cannot be opened is left out where its columns would be told.
    pub(super) fn new(list: Arc<dyn CatalogProviderList>) -> Self {
        Self { streams: InformationSchemaProvider::new(list) }
    }
}

#[async_trait]
impl SchemaProvider for InformationSchema {
    fn table_names(&self) -> Vec<String> {
        self.streams.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(stream) = self.streams.table(name).await? else { return Ok(None) };
        let schema = stream.schema();
        let rows = SessionContext::new().read_table(stream)?.collect().await?;
        Ok(Some(Arc::new(MemTable::try_new(schema, vec![rows])?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.streams.table_exist(name)
    }
}
