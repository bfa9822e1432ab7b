//! Encodes plans: a table travels as its name (UTF-8), a function as its name, and nothing else of ours is in a plan.
//! The scheduler's half is `selvedge_engine::plan::TableNameCodec`.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion_proto::bytes::logical_plan_to_bytes_with_extension_codec;
use datafusion_proto::logical_plan::LogicalExtensionCodec;

use crate::table::NamedTable;

/// The plan's bytes, as `DataFramePlan.logical_plan` wants them.
pub(crate) fn encode(plan: &LogicalPlan) -> Result<Vec<u8>> {
    Ok(logical_plan_to_bytes_with_extension_codec(plan, &NameCodec)?.to_vec())
}

#[derive(Debug)]
struct NameCodec;

fn only_encodes() -> DataFusionError {
    DataFusionError::NotImplemented("plans are decoded on the scheduler".to_owned())
}

impl LogicalExtensionCodec for NameCodec {
    fn try_decode(&self, _buf: &[u8], _inputs: &[LogicalPlan], _ctx: &TaskContext) -> Result<Extension> {
        Err(only_encodes())
    }

    fn try_encode(&self, node: &Extension, _buf: &mut Vec<u8>) -> Result<()> {
        Err(DataFusionError::NotImplemented(format!(
            "the operator '{}' cannot be sent to the cluster",
            node.node.name()
        )))
    }

    fn try_decode_table_provider(
        &self,
        _buf: &[u8],
        _table_ref: &TableReference,
        _schema: SchemaRef,
        _ctx: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        Err(only_encodes())
    }

    fn try_encode_table_provider(
        &self,
        table_ref: &TableReference,
        node: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(table) = node.downcast_ref::<NamedTable>() else {
            return Err(DataFusionError::Plan(format!(
                "'{table_ref}' is not a table of the cluster: read it with Selvedge::table() or Selvedge::read_parquet()"
            )));
        };
        buf.extend_from_slice(table.name().as_bytes());
        Ok(())
    }
}
