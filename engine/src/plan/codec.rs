//! The physical codec: our nodes behind a magic prefix, everything else as Ballista has it.
//!
//! Scheduler and executor use the same one. The version byte lets an executor of another release refuse a plan with a
//! clear message instead of misreading it. Next: `table_names.rs`, the logical codec.

use std::sync::Arc;

use arrow::datatypes::Schema;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalExprNode;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::gather::GatherExec;
use super::spec::SinkSpec;
use super::spread::{SpreadExec, SpreadSpec};
use super::write_exec::WriteExec;
use crate::write::{NewestOf, RowCheck, WriteChecks};

/// No protobuf message begins so: `S` would open a group, which prost never writes.
const MAGIC: &[u8] = b"SELVEDGE";
/// Raised when a node's encoding changes.
const VERSION: u8 = 3;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Node {
    Write { spec: Box<SinkSpec>, checks: Vec<CheckNode>, newest: Vec<NewestOf> },
    Spread(SpreadSpec),
    Gather,
}

#[derive(Serialize, Deserialize)]
struct CheckNode {
    index: usize,
    drops: bool,
    kept_as: Option<String>,
    /// The condition as protobuf.
    condition: Vec<u8>,
}

/// The codec for physical plans between scheduler and executors.
pub fn physical_codec() -> Arc<dyn PhysicalExtensionCodec> {
    Arc::new(SelvedgePhysicalCodec::default())
}

/// Ballista's codec and our nodes.
#[derive(Debug, Default)]
pub(crate) struct SelvedgePhysicalCodec {
    ballista: BallistaPhysicalExtensionCodec,
}

/// Carries expressions within a plan.
struct Exprs<'a> {
    context: PhysicalPlanDecodeContext<'a>,
    converter: &'a dyn PhysicalProtoConverterExtension,
}

impl Exprs<'_> {
    fn decode(&self, bytes: &[u8], columns: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
        let node = PhysicalExprNode::decode(bytes)
            .map_err(|e| internal_datafusion_err!("an expression in a plan node of ours cannot be read: {e}"))?;
        self.converter.proto_to_physical_expr(&node, columns, &self.context)
    }
}

fn json_error(error: serde_json::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn decode(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>], exprs: &Exprs<'_>) -> Result<Arc<dyn ExecutionPlan>> {
    let json = match bytes {
        [VERSION, json @ ..] => json,
        [other, ..] => {
            return internal_err!(
                "this plan was made by another release of Selvedge (plan version {other}, here {VERSION}): \
                 run scheduler and executors of the same release"
            );
        }
        [] => return internal_err!("a plan node of ours is cut short"),
    };
    let input = inputs.first().cloned().ok_or_else(|| internal_datafusion_err!("a plan node lacks its input"))?;
    match serde_json::from_slice(json).map_err(json_error)? {
        Node::Write { spec, checks, newest } => {
            let spec = *spec;
            let columns = input.schema();
            if newest.iter().any(|of| of.column >= columns.fields().len()) {
                return internal_err!("WriteExec names a column that its input lacks");
            }
            let check = |node: CheckNode| -> Result<RowCheck> {
                let condition = exprs.decode(&node.condition, &columns)?;
                Ok(RowCheck { index: node.index, drops: node.drops, kept_as: node.kept_as, condition })
            };
            let rows = checks.into_iter().map(check).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(WriteExec::new(input, Arc::new(spec), Arc::new(WriteChecks { rows, newest }))))
        }
        Node::Gather => Ok(Arc::new(GatherExec::new(input))),
        Node::Spread(spec) => {
            let columns = input.schema().fields().len();
            if spec.columns.iter().any(|index| *index >= columns) {
                return internal_err!("SpreadExec names a column that its input lacks");
            }
            Ok(Arc::new(SpreadExec::from_spec(input, spec)))
        }
    }
}

impl PhysicalExtensionCodec for SelvedgePhysicalCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match bytes.strip_prefix(MAGIC) {
            Some(ours) => {
                let exprs = Exprs { context: PhysicalPlanDecodeContext::new(context, self), converter };
                decode(ours, inputs, &exprs)
            }
            None => self.ballista.try_decode(bytes, inputs, context, converter),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        out: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let ours = if let Some(write) = node.downcast_ref::<WriteExec>() {
            let check = |check: &RowCheck| -> Result<CheckNode> {
                let condition = converter.physical_expr_to_proto(&check.condition, self)?.encode_to_vec();
                Ok(CheckNode { index: check.index, drops: check.drops, kept_as: check.kept_as.clone(), condition })
            };
            let WriteChecks { rows, newest } = write.checks();
            let checks = rows.iter().map(check).collect::<Result<Vec<_>>>()?;
            Node::Write { spec: Box::new(write.spec().clone()), checks, newest: newest.clone() }
        } else if let Some(spread) = node.downcast_ref::<SpreadExec>() {
            Node::Spread(spread.spec().clone())
        } else if node.is::<GatherExec>() {
            Node::Gather
        } else {
            return self.ballista.try_encode(node, out, converter);
        };
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        serde_json::to_writer(out, &ours).map_err(json_error)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.ballista.try_decode_udf(name, bytes)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, out: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode_udf(node, out)
    }

    fn try_decode_higher_order_function(&self, name: &str, bytes: &[u8]) -> Result<Arc<HigherOrderUDF>> {
        self.ballista.try_decode_higher_order_function(name, bytes)
    }

    fn try_encode_higher_order_function(&self, node: &HigherOrderUDF, out: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode_higher_order_function(node, out)
    }

    fn try_decode_expr(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        context: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.ballista.try_decode_expr(bytes, inputs, context)
    }

    fn try_encode_expr(
        &self,
        node: &Arc<dyn PhysicalExpr>,
        out: &mut Vec<u8>,
        context: &PhysicalExprEncodeCtx<'_>,
    ) -> Result<()> {
        self.ballista.try_encode_expr(node, out, context)
    }

    fn try_decode_udaf(&self, name: &str, bytes: &[u8]) -> Result<Arc<AggregateUDF>> {
        self.ballista.try_decode_udaf(name, bytes)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, out: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode_udaf(node, out)
    }

    fn try_decode_udwf(&self, name: &str, bytes: &[u8]) -> Result<Arc<WindowUDF>> {
        self.ballista.try_decode_udwf(name, bytes)
    }

    fn try_encode_udwf(&self, node: &WindowUDF, out: &mut Vec<u8>) -> Result<()> {
        self.ballista.try_encode_udwf(node, out)
    }
}
