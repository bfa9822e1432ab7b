//! The functions SQL may call: DataFusion's, and those of Spark whose names are free. And one of ours, for plans of `MERGE`.
//!
//! Where both have a name, DataFusion's meaning stands, so that a query gives the same rows as plain DataFusion. A plan
//! names its functions when it travels, so one name must mean one function everywhere: a Spark function is taken whole or
//! not at all.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use super::merge_action::merge_action_udf;

/// Scalar functions.
pub(super) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = merge(
        SessionStateDefaults::default_scalar_functions(),
        datafusion_spark::all_default_scalar_functions(),
        |f| f.name(),
        |f| f.aliases(),
    );
    functions.push(merge_action_udf());
    functions
}

/// Aggregate functions.
pub(super) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    merge(
        SessionStateDefaults::default_aggregate_functions(),
        datafusion_spark::all_default_aggregate_functions(),
        |f| f.name(),
        |f| f.aliases(),
    )
}

/// Window functions.
pub(super) fn window_functions() -> Vec<Arc<WindowUDF>> {
    merge(
        SessionStateDefaults::default_window_functions(),
        datafusion_spark::all_default_window_functions(),
        |f| f.name(),
        |f| f.aliases(),
    )
}

/// `own` and those of `further` whose name is free. `own` comes last: a later registration of an alias wins.
fn merge<F>(
    own: Vec<Arc<F>>,
    further: Vec<Arc<F>>,
    name: impl Fn(&F) -> &str,
    aliases: impl Fn(&F) -> &[String],
) -> Vec<Arc<F>> {
    let taken: HashSet<String> =
        own.iter().flat_map(|f| std::iter::once(name(f).to_owned()).chain(aliases(f).iter().cloned())).collect();
    further.into_iter().filter(|f| !taken.contains(name(f))).chain(own.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spark_adds_names_and_changes_none() {
        let own = SessionStateDefaults::default_scalar_functions();
        let all = scalar_functions();
        assert!(all.len() > own.len());
        let mut names = HashSet::new();
        assert!(all.iter().all(|f| names.insert(f.name().to_owned())), "a name means one function");
        for name in ["sha2", "add_months", "last_day"] {
            assert!(names.contains(name), "{name}");
        }
    }
}
