//! What a process has once, and the sessions made from it.
//!
//! Scheduler and executors build their sessions here, so that what is planned on one means the same on the other. The
//! order of a session's settings: Ballista's, then ours, then the script's.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// The key of the session setting that lets a plan change while it runs.
pub use ballista_core::config::BALLISTA_ADAPTIVE_PLANNER_ENABLED as ADAPTIVE_PLANNER_KEY;
use ballista_core::extension::SessionConfigExt;
use datafusion::catalog::CatalogProviderList;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{MemoryPool, TrackConsumersPool, UnboundedMemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use super::functions::{aggregate_functions, scalar_functions, window_functions};
use super::settings::SelvedgeConfig;
use super::{BorrowingPool, Settings};
use crate::catalog::Catalog;
use crate::error::EngineError;
use crate::plan::{PlanQueries, optimizer_rules, physical_rules};
use crate::store::{Location, ObjectStores, StoreOptions};

/// The name of the only catalog.
pub const CATALOG_NAME: &str = "selvedge";
/// The schema of unqualified names.
pub const DEFAULT_SCHEMA: &str = "public";

/// Consumers of memory named in an out-of-memory message.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);

/// Where an engine works and with how much.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How to reach object stores.
    pub store: StoreOptions,
    /// Where tables without a location go.
    pub warehouse: Location,
    /// Memory for operators, over all tasks; `None` for no limit.
    pub memory_bytes: Option<u64>,
    /// Where operators spill; `None` for the system's temporary directory.
    pub spill_dir: Option<PathBuf>,
    /// Most bytes spilled at any time; `None` for DataFusion's own limit.
    pub spill_limit_bytes: Option<u64>,
    /// Partitions to plan for when the script does not say.
    pub target_partitions: usize,
}

impl EngineOptions {
    /// An engine without limits of its own, that plans for four partitions.
    pub fn new(warehouse: Location) -> Self {
        Self {
            store: StoreOptions::default(),
            warehouse,
            memory_bytes: None,
            spill_dir: None,
            spill_limit_bytes: None,
            target_partitions: 4,
        }
    }
}

/// What a process has once.
pub struct Engine {
    stores: ObjectStores,
    catalog: Arc<Catalog>,
    warehouse: Location,
    runtime: Arc<RuntimeEnv>,
    target_partitions: usize,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("warehouse", &self.warehouse).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine with an empty catalog.
    ///
    /// # Errors
    /// When the spill directory cannot be made.
    pub fn new(options: EngineOptions) -> Result<Arc<Engine>, EngineError> {
        let stores = ObjectStores::new(options.store.clone());
        let runtime = build_runtime(&options, &stores)?;
        Ok(Arc::new(Self {
            stores,
            catalog: Catalog::new(),
            warehouse: options.warehouse.as_directory(),
            runtime,
            target_partitions: options.target_partitions.max(1),
        }))
    }

    /// The same engine over another catalog: stores, memory and disk are shared.
    pub fn with_catalog(&self, catalog: Arc<Catalog>) -> Arc<Engine> {
        Arc::new(Self {
            stores: self.stores.clone(),
            catalog,
            warehouse: self.warehouse.clone(),
            runtime: self.runtime(),
            target_partitions: self.target_partitions,
        })
    }

    /// The object stores of this process.
    pub fn stores(&self) -> &ObjectStores {
        &self.stores
    }

    /// The catalog.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// DataFusion's view of the catalog, for one session.
    pub fn catalog_list(&self) -> Arc<dyn CatalogProviderList> {
        self.catalog.provider_list(&self.stores)
    }

    /// Where tables without a location go.
    pub fn warehouse(&self) -> &Location {
        &self.warehouse
    }

    /// Memory, disk and stores, shared by all sessions and tasks.
    pub fn runtime(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.runtime)
    }

    /// A session to plan and run one statement with.
    ///
    /// # Errors
    /// When a setting does not fit; [`Settings::set`] has already refused those it could.
    pub fn session(&self, settings: &Settings) -> Result<SessionState, EngineError> {
        let mut config = base_config(self.target_partitions);
        settings.apply(&mut config)?;
        Ok(self.build(config))
    }

    /// A session that knows all functions, to decode plans with on executors.
    ///
    /// # Errors
    /// None today; sessions may fail, and this is one.
    pub fn registry_state(&self) -> Result<SessionState, EngineError> {
        self.session(&Settings::new())
    }

    fn build(&self, config: SessionConfig) -> SessionState {
        SessionStateBuilder::new()
            .with_config(config.with_extension(Arc::new(self.stores.clone())))
            .with_runtime_env(self.runtime())
            .with_default_features()
            .with_scalar_functions(scalar_functions())
            .with_aggregate_functions(aggregate_functions())
            .with_window_functions(window_functions())
            .with_catalog_list(self.catalog_list())
            .with_query_planner(Arc::new(PlanQueries))
            .with_optimizer_rules(optimizer_rules())
            .with_physical_optimizer_rules(physical_rules())
            .build()
    }
}

/// Ballista's settings and ours, before the script's.
pub(super) fn base_config(target_partitions: usize) -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_option_extension(SelvedgeConfig::default())
        .with_default_catalog_and_schema(CATALOG_NAME, DEFAULT_SCHEMA)
        .with_create_default_catalog_and_schema(false)
        // The catalog has one of its own: DataFusion's cannot travel.
        .with_information_schema(false)
        .with_target_partitions(target_partitions.max(1))
        .with_round_robin_repartition(false)
        .with_collect_statistics(true)
        .with_parquet_pruning(true)
        .with_parquet_bloom_filter_pruning(true)
        .with_parquet_page_index_pruning(true)
        // Errors then point at a place in the statement.
        .set_bool("datafusion.sql_parser.collect_spans", true)
        // View types blow up in sorts and in shuffles (22 s for 0.5 s, measured): strings are Utf8 from end to end.
        .set_bool("datafusion.execution.parquet.schema_force_view_types", false)
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
        .set_bool("datafusion.optimizer.expand_views_at_output", false)
        // The adaptive planner loops for ever on outer joins whose input turns out empty: docs/adr/0008.
        .set_bool(ADAPTIVE_PLANNER_KEY, false)
        // `plan::join_memory` decides for each join.
        .set_bool("datafusion.optimizer.prefer_hash_join", true)
        // Shuffle writers spill when the pool of their executor says so, and not at a size of their own.
        .set_usize("ballista.shuffle.sort_based.memory_limit_per_task_bytes", 0)
        // Rows that are not grouped before the exchange are all written, sent and read: look at more of them before giving up.
        .set_usize("datafusion.execution.skip_partial_aggregation_probe_rows_threshold", 1_000_000)
        // A retry redoes a whole slice: keep slices small.
        .set_usize("ballista.scheduler.max_partitions_per_task", 1)
}

fn build_runtime(options: &EngineOptions, stores: &ObjectStores) -> Result<Arc<RuntimeEnv>, EngineError> {
    let pool: Arc<dyn MemoryPool> = match options.memory_bytes {
        Some(bytes) => {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            Arc::new(TrackConsumersPool::new(BorrowingPool::new(bytes), NAMED_CONSUMERS))
        }
        None => Arc::new(UnboundedMemoryPool::default()),
    };
    let mut disk = DiskManagerBuilder::default();
    if let Some(dir) = &options.spill_dir {
        std::fs::create_dir_all(dir)
            .map_err(|e| EngineError::io(format!("making the spill directory {}", dir.display()), e))?;
        disk = disk.with_mode(DiskManagerMode::Directories(vec![dir.clone()]));
    }
    if let Some(limit) = options.spill_limit_bytes {
        disk = disk.with_max_temp_directory_size(limit);
    }
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(disk)
        .with_object_store_registry(Arc::new(stores.clone()))
        // Listings are never cached: a table written a moment ago must show its new files.
        .with_object_list_cache_limit(0)
        .build_arc()?;
    Ok(runtime)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
