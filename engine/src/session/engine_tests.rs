//! Sessions: what they mean on the scheduler, and what of them arrives on an executor.

use ballista_core::config::BallistaConfig;
use ballista_core::extension::SessionConfigHelperExt;
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit};
use datafusion::prelude::SessionContext;

use super::*;

fn engine() -> Arc<Engine> {
    Engine::new(EngineOptions {
        store: StoreOptions::default(),
        warehouse: Location::parse("/tmp/warehouse").unwrap(),
        memory_bytes: Some(1 << 20),
        spill_dir: None,
        spill_limit_bytes: Some(1 << 20),
        target_partitions: 3,
    })
    .unwrap()
}

#[test]
fn settings_travel_to_executors_and_unknown_ones_do_no_harm() {
    let mut settings = Settings::new();
    settings.set("selvedge.write.target_file_bytes", "1MiB").unwrap();
    settings.set("datafusion.execution.batch_size", "1024").unwrap();
    settings.set("selvedge.planner.adaptive", "true").unwrap();
    let sent = engine().session(&settings).unwrap().config().to_key_value_pairs();
    assert!(sent.iter().any(|kv| kv.key == "selvedge.write.target_file_bytes"));

    let ours = engine().registry_state().unwrap().config().clone().update_from_key_value_pair(&sent);
    assert_eq!(ours.batch_size(), 1024);
    assert!(ours.ballista_adaptive_query_planner_enabled());
    // An executor whose config lacks our extension must still take the rest.
    let plain = SessionConfig::new_with_ballista().update_from_key_value_pair(&sent);
    assert_eq!(plain.batch_size(), 1024);
    assert!(plain.options().extensions.get::<BallistaConfig>().is_some());
    let secret = ["secret", "access_key", "session_token", "password"];
    assert!(sent.iter().all(|kv| secret.iter().all(|s| !kv.key.contains(s))), "no secret travels");
}

#[test]
fn sessions_are_configured_for_etl() {
    let state = engine().session(&Settings::new()).unwrap();
    let options = state.config_options();
    assert_eq!(state.config().target_partitions(), 3);
    assert!(!options.optimizer.enable_round_robin_repartition);
    assert!(!options.execution.parquet.schema_force_view_types);
    assert!(options.execution.parquet.enable_page_index && options.execution.collect_statistics);
    assert!(!state.config().ballista_adaptive_query_planner_enabled());
    assert_eq!(state.config().ballista_config().max_partitions_per_task(), 1);
}

#[tokio::test]
async fn strings_are_utf8_and_functions_are_known() {
    let ctx = SessionContext::new_with_state(engine().registry_state().unwrap());
    let sql = "SELECT CAST('x' AS VARCHAR) AS s, sha2('abc', 256) AS h, upper('x') AS u";
    let df = ctx.sql(sql).await.unwrap();
    for field in df.schema().fields() {
        assert_eq!(field.data_type(), &DataType::Utf8, "{}", field.name());
    }
    assert_eq!(df.collect().await.unwrap()[0].num_rows(), 1);
    // `date_trunc` and the like mean what they mean in plain DataFusion.
    let plain = SessionContext::new();
    for name in ["date_trunc", "date_part", "substr", "round", "concat", "ceil"] {
        let (ours, theirs) = (ctx.udf(name).unwrap(), plain.udf(name).unwrap());
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn memory_is_one_bounded_pool() {
    let engine = engine();
    let pool = Arc::clone(&engine.runtime().memory_pool);
    assert!(matches!(pool.memory_limit(), MemoryLimit::Finite(n) if n == 1 << 20));
    let reservation = MemoryConsumer::new("join build side").register(&pool);
    let error = reservation.try_grow(2 << 20).unwrap_err();
    let failure = crate::error::classify(&error);
    assert_eq!(failure.code, "OUT_OF_MEMORY");
}
