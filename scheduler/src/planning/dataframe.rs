//! Plans of DataFrame jobs: decoded on our catalog, then written like the result of any query.
//!
//! A plan names its tables and files; it is decoded once to learn the names, and again with what they stand for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{TableReference, not_impl_err};
use datafusion::datasource::empty::EmptyTable;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion_proto::bytes::logical_plan_from_bytes_with_extension_codec;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use selvedge_engine::catalog::{Format, TableDef, TableName};
use selvedge_engine::error::classify;
use selvedge_engine::plan::TableNameCodec;
use selvedge_engine::session::Settings;
use selvedge_model::commit::WriteKind;
use selvedge_model::words::counted;
use selvedge_model::{Failure, StatementAttempt};
use selvedge_proto::v1;
use selvedge_proto::v1::write_target::Target as WireTarget;

use super::assign::{self, Origin};
use super::target::Target;
use super::{
    LogTarget, Planned, PlannedWrite, Planner, adaptive, contract, insert, managed, query, resolve, statement, target,
};

impl Planner {
    /// Plans a DataFrame job: a query, or a write where it has a target.
    ///
    /// # Errors
    /// A plan that cannot be decoded, or does not fit its target.
    pub fn plan_dataframe<'a>(
        &'a self,
        plan: &'a v1::DataFramePlan,
        settings: &'a mut Settings,
        attempt: &'a StatementAttempt,
    ) -> BoxFuture<'a, Result<(SessionState, Planned), Failure>> {
        self.dataframe(plan, settings, attempt.job_id()).boxed()
    }

    async fn dataframe(
        &self,
        plan: &v1::DataFramePlan,
        settings: &Settings,
        job_id: String,
    ) -> Result<(SessionState, Planned), Failure> {
        let mut state = statement::session(self, settings)?;
        let source = self.decode(&state, &plan.logical_plan, settings).await?;
        query::read_only(&source)?;
        let options = state.config_options();
        let source = state.analyzer().execute_and_check(source, options, |_, _| {}).map_err(|e| classify(&e))?;
        let planned = match &plan.target {
            None => Planned::Query { plan: source },
            Some(target) => Planned::from(self.write_dataframe(source, target, settings, (&job_id, &state)).await?),
        };
        let planned = contract::attach(self, &state, planned).await?;
        match &planned {
            Planned::Query { plan } | Planned::Analyze { plan } => adaptive::decide(&mut state, plan, settings)?,
            Planned::Write(write) => adaptive::decide(&mut state, &write.plan, settings)?,
            Planned::Done { .. } | Planned::Vacuum(_) => {}
        }
        Ok((state, planned))
    }

    async fn decode(&self, state: &SessionState, bytes: &[u8], settings: &Settings) -> Result<LogicalPlan, Failure> {
        let names = NameCollector::default();
        from_bytes(state, bytes, &names)?;
        let found: BTreeSet<String> = names.found.lock().clone();
        let mut tables: HashMap<String, Arc<dyn TableProvider>> = HashMap::new();
        for name in found {
            let provider = resolve::named(self, &name, settings).await?;
            tables.insert(name, provider);
        }
        from_bytes(state, bytes, &TableNameCodec::new(tables))
    }

    async fn write_dataframe(
        &self,
        source: LogicalPlan,
        wire: &v1::WriteTarget,
        settings: &Settings,
        (job_id, state): (&str, &SessionState),
    ) -> Result<PlannedWrite, Failure> {
        let (target, targets) = match &wire.target {
            Some(WireTarget::Table(name)) => self.for_table(&source, wire, name, state).await?,
            Some(WireTarget::Location(location)) => self.for_location(&source, wire, location).await?,
            None => return Err(Failure::user("INVALID_REQUEST", "the write has neither a table nor a location")),
        };
        let input = assign::fit(source, &targets, &target.label)?;
        target::write(input, target, settings, job_id)
    }

    /// An existing table, whose columns are found by name.
    async fn for_table(
        &self,
        source: &LogicalPlan,
        wire: &v1::WriteTarget,
        name: &str,
        state: &SessionState,
    ) -> Result<Fitting, Failure> {
        let def = insert::writable(self, &name.parse::<TableName>()?)?;
        let opened = managed::open(self, state, &def).await?;
        let def = managed::current(def, opened.as_ref());
        if !wire.partition_by.is_empty() && wire.partition_by != def.partition_by {
            let cause = format!("{} is partitioned by ({})", def.name, def.partition_by.join(", "));
            return Err(Failure::user("INVALID_PARTITION", cause).with_hint("Leave partition_by out."));
        }
        let targets = by_name(source, &def)?;
        let kind = kind(wire, &def.partition_by);
        let log = match def.format {
            Format::Delta => Some(LogTarget::write(opened, source, &kind, state)?),
            _ => None,
        };
        let target = Target::parquet(def.location, def.schema, def.partition_by, kind);
        Ok((Target { label: def.name.to_string(), log, ..target }, targets))
    }

    /// A directory, which must be empty when nothing is said about what is there.
    async fn for_location(
        &self,
        source: &LogicalPlan,
        wire: &v1::WriteTarget,
        location: &str,
    ) -> Result<Fitting, Failure> {
        let location = target::directory_only(target::parse(location)?)?;
        let (schema, order) = target::new_schema(source, &[], &wire.partition_by)?;
        let is_first = wire.mode() == v1::WriteMode::Unspecified;
        if is_first {
            let hint = "Say whether to append to what is there or to overwrite it.";
            target::empty_only(self, &location, hint).await?;
        }
        let targets = schema.fields().iter().cloned().zip(order.into_iter().map(Origin::Query)).collect();
        let kind = kind(wire, &wire.partition_by);
        let target = Target::parquet(location, schema, wire.partition_by.clone(), kind);
        Ok((Target { is_first, ..target }, targets))
    }
}

fn from_bytes(state: &SessionState, bytes: &[u8], codec: &dyn LogicalExtensionCodec) -> Result<LogicalPlan, Failure> {
    logical_plan_from_bytes_with_extension_codec(bytes, &state.task_ctx(), codec).map_err(|e| classify(&e))
}

/// A target and where its columns come from.
type Fitting = (Target, Vec<(FieldRef, Origin)>);

fn kind(wire: &v1::WriteTarget, partition_by: &[String]) -> WriteKind {
    match wire.mode() {
        v1::WriteMode::Overwrite => target::overwrite(partition_by),
        v1::WriteMode::Append | v1::WriteMode::Unspecified => WriteKind::Append,
    }
}

/// A DataFrame's columns go by name, and every one of them must have its place.
fn by_name(source: &LogicalPlan, def: &TableDef) -> Result<Vec<(FieldRef, Origin)>, Failure> {
    let given: Vec<&str> = source.schema().fields().iter().map(|f| f.name().as_str()).collect();
    let known: Vec<&str> = def.schema.fields().iter().map(|f| f.name().as_str()).collect();
    let missing: Vec<&str> = known.iter().copied().filter(|name| !given.contains(name)).collect();
    let surplus: Vec<&str> = given.iter().copied().filter(|name| !known.contains(name)).collect();
    if !missing.is_empty() || !surplus.is_empty() {
        let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let cause = format!(
            "the DataFrame's columns are not those of {}: missing {}; not in the table {}",
            def.name,
            list(&missing),
            list(&surplus)
        );
        return Err(Failure::user("SCHEMA_MISMATCH", cause).with_hint("Select and alias the columns before the write."));
    }
    if given.len() != known.len() {
        let cause = format!("the DataFrame gives {}, {} has {}", counted(given.len(), "column"), def.name, known.len());
        return Err(Failure::user("SCHEMA_MISMATCH", cause).with_hint("Two of them have the same name."));
    }
    let origin = |field: &FieldRef| given.iter().position(|name| name == field.name()).map(Origin::Query);
    Ok(def.schema.fields().iter().filter_map(|field| Some((field.clone(), origin(field)?))).collect())
}

/// Decodes a plan for the sake of the names in it.
#[derive(Debug, Default)]
struct NameCollector {
    found: Mutex<BTreeSet<String>>,
}

impl LogicalExtensionCodec for NameCollector {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> DfResult<Extension> {
        not_impl_err!("a DataFrame job may use DataFusion's own plan nodes only")
    }

    fn try_encode(&self, _: &Extension, _: &mut Vec<u8>) -> DfResult<()> {
        not_impl_err!("names are collected while decoding")
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        _: &TableReference,
        schema: SchemaRef,
        _: &TaskContext,
    ) -> DfResult<Arc<dyn TableProvider>> {
        self.found.lock().insert(String::from_utf8_lossy(bytes).into_owned());
        Ok(Arc::new(EmptyTable::new(schema)))
    }

    fn try_encode_table_provider(
        &self,
        _: &TableReference,
        _: Arc<dyn TableProvider>,
        _: &mut Vec<u8>,
    ) -> DfResult<()> {
        not_impl_err!("names are collected while decoding")
    }
}
