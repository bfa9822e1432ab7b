//! `TableNameCodec`: in the logical plans of DataFrame jobs, tables travel by name and are looked up on the scheduler.
//!
//! So a client needs no credentials, and cannot smuggle a location past the catalog. It looks up, it does not resolve:
//! the planner gathers the providers beforehand.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::{TableReference, not_impl_err, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion_proto::logical_plan::LogicalExtensionCodec;

/// Schema of a table that is named without one.
const DEFAULT_SCHEMA: &str = "public";

/// Carries tables as `schema.table`.
#[derive(Debug, Clone, Default)]
pub struct TableNameCodec {
    tables: HashMap<String, Arc<dyn TableProvider>>,
}

impl TableNameCodec {
    /// A codec that decodes these tables, keyed `schema.table`. One that only encodes needs none.
    pub fn new(tables: HashMap<String, Arc<dyn TableProvider>>) -> Self {
        Self { tables }
    }
}

fn full_name(table: &TableReference) -> String {
    format!("{}.{}", table.schema().unwrap_or(DEFAULT_SCHEMA), table.table())
}

impl LogicalExtensionCodec for TableNameCodec {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        not_impl_err!("a DataFrame job may use DataFusion's own plan nodes only")
    }

    fn try_encode(&self, node: &Extension, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("'{}' is not a plan node of DataFusion: a DataFrame job cannot use it", node.node.name())
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        _: &TableReference,
        schema: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let name = std::str::from_utf8(bytes).map_err(|_| plan_datafusion_err!("a table's name is not UTF-8"))?;
        let Some(found) = self.tables.get(name) else {
            return plan_err!("table '{name}' not found");
        };
        // The plan refers to columns by position: they must still be where the client saw them.
        let now = found.schema();
        let same = now.fields().len() == schema.fields().len()
            && now
                .fields()
                .iter()
                .zip(schema.fields())
                .all(|(a, b)| a.name() == b.name() && a.data_type().equals_datatype(b.data_type()));
        match same {
            true => Ok(found.clone()),
            false => plan_err!("table '{name}' has changed since the job read its schema: submit the job again"),
        }
    }

    fn try_encode_table_provider(
        &self,
        table: &TableReference,
        _: Arc<dyn TableProvider>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.extend_from_slice(full_name(table).as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::empty::EmptyTable;

    fn table(data_type: DataType) -> Arc<dyn TableProvider> {
        Arc::new(EmptyTable::new(Arc::new(Schema::new(vec![Field::new("a", data_type, true)]))))
    }

    #[test]
    fn a_table_is_found_by_name_and_refused_when_it_changed() {
        let mut bytes = Vec::new();
        let reference = TableReference::bare("t");
        TableNameCodec::default().try_encode_table_provider(&reference, table(DataType::Int32), &mut bytes).unwrap();
        assert_eq!(bytes, b"public.t");
        let decode = |now: DataType| {
            TableNameCodec::new(HashMap::from([("public.t".to_owned(), table(now))])).try_decode_table_provider(
                &bytes,
                &reference,
                table(DataType::Int32).schema(),
                &TaskContext::default(),
            )
        };
        assert!(decode(DataType::Int32).is_ok());
        assert!(decode(DataType::Utf8).unwrap_err().to_string().contains("changed"));
    }
}
