//! DataFrame jobs: plans as a client sends them, decoded on the catalog and fitted to their target.

use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::catalog::TableProvider;
use datafusion::common::{TableReference, not_impl_err};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt as _, Extension, LogicalPlanBuilder, col, lit};
use datafusion_proto::bytes::logical_plan_to_bytes_with_extension_codec;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use selvedge_proto::v1;
use selvedge_proto::v1::resolve_table_request::Source;
use selvedge_proto::v1::write_target::Target;

use super::*;

/// What a client does: ask for the schema, scan under the name that comes back, build, encode.
async fn frame(bench: &Bench, source: Source, build: impl Fn(LogicalPlanBuilder) -> LogicalPlanBuilder) -> Vec<u8> {
    let request = v1::ResolveTableRequest { source: Some(source) };
    let resolved = bench.planner.resolve_table(&request).await.unwrap();
    let schema = StreamReader::try_new(resolved.schema.as_ref(), None).unwrap().schema();
    let table = provider_as_source(Arc::new(EmptyTable::new(schema)));
    let plan = build(LogicalPlanBuilder::scan("t", table, None).unwrap()).build().unwrap();
    logical_plan_to_bytes_with_extension_codec(&plan, &ClientCodec(resolved.table)).unwrap().to_vec()
}

/// Sends every table under one name.
#[derive(Debug)]
struct ClientCodec(String);

impl LogicalExtensionCodec for ClientCodec {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        not_impl_err!("a client only encodes")
    }

    fn try_encode(&self, _: &Extension, _: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("a client sends no nodes of its own")
    }

    fn try_decode_table_provider(
        &self,
        _: &[u8],
        _: &TableReference,
        _: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        not_impl_err!("a client only encodes")
    }

    fn try_encode_table_provider(
        &self,
        _: &TableReference,
        _: Arc<dyn TableProvider>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(())
    }
}

fn orders() -> Source {
    Source::Table("orders".into())
}

fn project(exprs: Vec<Expr>) -> impl Fn(LogicalPlanBuilder) -> LogicalPlanBuilder {
    move |plan| plan.project(exprs.clone()).unwrap()
}

fn into(target: Target, mode: v1::WriteMode, partition_by: &[&str]) -> Option<v1::WriteTarget> {
    let partition_by = partition_by.iter().map(|c| (*c).to_owned()).collect();
    Some(v1::WriteTarget { target: Some(target), mode: mode.into(), partition_by })
}

impl Bench {
    async fn job(
        &mut self,
        plan: Vec<u8>,
        target: Option<v1::WriteTarget>,
    ) -> std::result::Result<(SessionState, Planned), Failure> {
        let attempt = StatementAttempt { run: "r1".parse().unwrap(), statement: 1, attempt: 1 };
        let plan = v1::DataFramePlan { logical_plan: plan.into(), target };
        self.planner.plan_dataframe(&plan, &mut self.settings, &attempt).await
    }
}

fn written(planned: std::result::Result<(SessionState, Planned), Failure>) -> PlannedWrite {
    match planned.map(|(_, planned)| planned) {
        Ok(Planned::Write(write)) => *write,
        Ok(_) => panic!("not a write"),
        Err(failure) => panic!("{failure}"),
    }
}

#[tokio::test]
async fn columns_go_to_a_table_by_name() {
    let mut bench = Bench::new().await;
    let exprs = vec![lit("eu").alias("region"), col("day").alias("ds"), lit(1).alias("n"), col("name"), col("id")];
    let plan = frame(&bench, orders(), project(exprs)).await;
    let target = into(Target::Table("mart".into()), v1::WriteMode::Overwrite, &[]);
    let write = written(bench.job(plan, target).await);
    assert_eq!(columns(&write), ["id Int64", "name Utf8", "n Int32", "ds Date32", "region Utf8"]);
    assert_eq!((write.kind, write.target.as_str()), (WriteKind::OverwriteDynamic, "public.mart"));

    let plan = frame(&bench, orders(), project(vec![col("id"), col("price")])).await;
    let target = into(Target::Table("flat".into()), v1::WriteMode::Append, &[]);
    let Err(failure) = bench.job(plan, target).await else { panic!() };
    let found = shown(&failure);
    assert!(found.contains("missing name; not in the table price"), "{found}");
}

#[tokio::test]
async fn a_location_is_written_in_partitions() {
    let mut bench = Bench::new().await;
    let plan = frame(&bench, orders(), project(vec![col("day"), col("id")])).await;
    let target = into(Target::Location(bench.path("out/")), v1::WriteMode::Overwrite, &["day"]);
    let write = written(bench.job(plan.clone(), target).await);
    assert_eq!(columns(&write), ["id Int64", "day Date32"]);
    assert_eq!(write.kind, WriteKind::OverwriteDynamic);
    let full = into(Target::Location(bench.path("")), v1::WriteMode::Unspecified, &[]);
    let Err(failure) = bench.job(plan, full).await else { panic!() };
    assert_eq!(failure.code, "LOCATION_NOT_EMPTY");
}

#[tokio::test]
async fn files_are_scanned_under_the_name_that_resolving_gave() {
    let mut bench = Bench::new().await;
    let files =
        v1::FileSource { location: bench.path("orders.parquet"), format: "parquet".into(), ..Default::default() };
    let plan = frame(&bench, Source::Files(files), project(vec![col("id")])).await;
    let (_, planned) = bench.job(plan, None).await.unwrap_or_else(|f| panic!("{f}"));
    let Planned::Query { plan } = planned else { panic!() };
    assert_eq!(plan.schema().field(0).name(), "id");
    let missing = v1::FileSource { location: bench.path("no.csv"), format: "csv".into(), ..Default::default() };
    let request = v1::ResolveTableRequest { source: Some(Source::Files(missing)) };
    assert_eq!(bench.planner.resolve_table(&request).await.unwrap_err().code, "FILE_NOT_FOUND");
}

#[tokio::test]
async fn a_partitioned_window_turns_the_adaptive_planner_off() {
    let mut bench = Bench::new().await;
    let rank = row_number().partition_by(vec![col("name")]).order_by(vec![col("id").sort(true, false)]);
    let rank = rank.build().unwrap().alias("n");
    let plan = frame(&bench, orders(), move |plan| plan.window(vec![rank.clone()]).unwrap()).await;
    let Ok((state, Planned::Query { .. })) = bench.job(plan, None).await else { panic!() };
    assert!(!state.config().ballista_adaptive_query_planner_enabled());
}

#[tokio::test]
async fn bytes_that_are_no_plan_are_refused() {
    let mut bench = Bench::new().await;
    let Err(failure) = bench.job(b"nonsense".to_vec(), None).await else { panic!() };
    assert_eq!(failure.domain, selvedge_model::Domain::User, "{failure}");
}
