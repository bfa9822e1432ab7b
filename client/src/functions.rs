//! Functions by name: DataFusion's, and Spark's where the name is free, as SQL on the cluster knows them. Only names travel
//! in a plan; the bodies are the executors'. So the rule must be the one of `engine::session::functions`: where both have a
//! name, DataFusion's meaning stands.

use std::sync::LazyLock;

use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{FunctionRegistry as _, SessionState, SessionStateBuilder};
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
use datafusion::logical_expr::{Expr, WindowFunctionDefinition};
use datafusion::prelude::SessionConfig;

static STATE: LazyLock<SessionState> = LazyLock::new(|| {
    let mut options = ConfigOptions::new();
    // The cluster reads and writes strings as Utf8, so SQL fragments parsed here must plan them so too.
    options.sql_parser.map_string_types_to_utf8view = false;
    options.catalog.default_catalog = "selvedge".to_owned();
    let builder = SessionStateBuilder::new().with_config(SessionConfig::from(options)).with_default_features();
    let mut state = builder.build();
    add_spark_functions(&mut state);
    state
});

/// The planning state that all of this process's DataFrames share.
pub(crate) fn state() -> &'static SessionState {
    &STATE
}

/// Registering into a state in memory cannot fail; were it to, that function would be unknown by name, no more.
fn add_spark_functions(state: &mut SessionState) {
    for function in datafusion_spark::all_default_scalar_functions() {
        if !state.scalar_functions().contains_key(function.name()) {
            drop(state.register_udf(function));
        }
    }
    for function in datafusion_spark::all_default_aggregate_functions() {
        if !state.aggregate_functions().contains_key(function.name()) {
            drop(state.register_udaf(function));
        }
    }
    for function in datafusion_spark::all_default_window_functions() {
        if !state.window_functions().contains_key(function.name()) {
            drop(state.register_udwf(function));
        }
    }
}

fn unknown(kind: &str, name: &str) -> DataFusionError {
    DataFusionError::Plan(format!("there is no {kind} function '{name}'"))
}

/// A scalar function by name: `call("date_trunc", vec![lit("month"), col("o_orderdate")])`.
///
/// # Errors
/// When there is no such function.
pub fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let function = STATE.scalar_functions().get(&name.to_lowercase()).ok_or_else(|| unknown("scalar", name))?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), args)))
}

/// An aggregate function by name: `call_aggregate("try_sum", vec![col("price")])`. `ExprFunctionExt` adds DISTINCT,
/// FILTER and ORDER BY.
///
/// # Errors
/// When there is no such function.
pub fn call_aggregate(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let function = STATE.aggregate_functions().get(&name.to_lowercase()).ok_or_else(|| unknown("aggregate", name))?;
    let call = AggregateFunction::new_udf(function.clone(), args, false, None, Vec::new(), None);
    Ok(Expr::AggregateFunction(call))
}

/// A window function, or an aggregate used as one, by name. `ExprFunctionExt` adds PARTITION BY, ORDER BY and the frame.
///
/// # Errors
/// When there is no such function.
pub fn call_window(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let key = name.to_lowercase();
    let function = match (STATE.window_functions().get(&key), STATE.aggregate_functions().get(&key)) {
        (Some(window), _) => WindowFunctionDefinition::WindowUDF(window.clone()),
        (None, Some(aggregate)) => WindowFunctionDefinition::AggregateUDF(aggregate.clone()),
        (None, None) => return Err(unknown("window", name)),
    };
    Ok(Expr::from(WindowFunction::new(function, args)))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::lit;

    use super::*;

    #[test]
    fn functions_of_both_families_are_found_by_name_in_any_case() {
        for name in ["date_trunc", "CONCAT_WS", "luhn_check"] {
            assert!(call(name, vec![lit("x"), lit("y")]).is_ok(), "{name}");
        }
        assert!(call_aggregate("try_sum", vec![lit(1)]).is_ok());
        assert!(call_window("row_number", vec![]).is_ok());
        assert!(call_window("SUM", vec![lit(1)]).is_ok());
        assert!(call("no_such", vec![]).unwrap_err().to_string().contains("no_such"));
    }
}
