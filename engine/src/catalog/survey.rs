//! What a table's location holds now, and which locations a plan reads.
//!
//! Listings are never kept, so there is nothing to refresh: a survey only looks, and proves that what is there fits the table.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use selvedge_model::Failure;

use super::TableDef;
use super::files::FilesTable;
use super::listing::Root;
use super::partitions::values_of;
use crate::error::classify;
use crate::store::Location;

/// What is found at a table's location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Data files.
    pub files: usize,
    /// Directories of partitions that hold some; 0 for a table without partitions.
    pub partitions: usize,
}

/// Looks at a table's location.
///
/// # Errors
/// What the store answers; `BAD_PARTITION` when a file is not where a partition's files are.
pub async fn survey(state: &SessionState, def: &TableDef) -> Result<Survey, Failure> {
    let root = Root::of(&def.location)?;
    let store = state.runtime_env().object_store(def.location.store_url()).map_err(|e| classify(&e))?;
    let fields = def.partition_fields();
    let files = root.list(&store, None).await?;
    let mut partitions = BTreeSet::new();
    for file in &files {
        values_of(root.directories(&file.location), &fields, file.location.as_ref())?;
        let directory: Vec<&str> = root.directories(&file.location).take(fields.len()).collect();
        partitions.insert(directory.join("/"));
    }
    let partitions = if fields.is_empty() { 0 } else { partitions.len() };
    Ok(Survey { files: files.len(), partitions })
}

/// The locations of the files that a plan reads.
pub fn scanned_locations(plan: &LogicalPlan) -> Vec<Location> {
    let mut found = Vec::new();
    // The walk itself cannot fail.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
        {
            if let Some(table) = provider.downcast_ref::<FilesTable>() {
                found.push(table.def().location.clone());
            } else if let Some(view) = provider.get_logical_plan() {
                found.extend(scanned_locations(&view));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::catalog::{Format, ViewDef};
    use crate::session::{Engine, EngineOptions, Settings};

    fn engine(warehouse: &str) -> Arc<Engine> {
        Engine::new(EngineOptions::new(Location::parse(warehouse).unwrap())).unwrap()
    }

    fn def(name: &str, location: &str) -> TableDef {
        let column = |name: &str, data_type| Field::new(name, data_type, true);
        TableDef {
            name: name.parse().unwrap(),
            format: Format::Parquet,
            location: Location::parse(location).unwrap(),
            schema: Arc::new(Schema::new(vec![column("a", DataType::Int64), column("ds", DataType::Date32)])),
            partition_by: vec!["ds".into()],
            options: BTreeMap::new(),
            owner: String::new(),
        }
    }

    #[tokio::test]
    async fn partitions_are_counted_and_strangers_among_them_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let engine = engine(root);
        let state = engine.session(&Settings::new()).unwrap();
        let table = def("t", &format!("{root}/t/"));
        assert_eq!(survey(&state, &table).await.unwrap(), Survey { files: 0, partitions: 0 });
        for file in ["ds=2026-01-01/a.parquet", "ds=2026-01-01/b.parquet", "ds=2026-01-02/a.parquet", "_SUCCESS"] {
            let path = dir.path().join("t").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        assert_eq!(survey(&state, &table).await.unwrap(), Survey { files: 3, partitions: 2 });
        std::fs::write(dir.path().join("t/stray.parquet"), b"x").unwrap();
        let stray = survey(&state, &table).await.unwrap_err();
        assert!(stray.code == "BAD_PARTITION" && stray.cause.contains("stray.parquet"), "{stray}");
    }

    #[tokio::test]
    async fn a_plan_names_what_it_reads_also_through_views_and_in_subqueries() {
        let engine = engine("/tmp/selvedge-none");
        for name in ["t", "u", "w"] {
            let table = def(name, &format!("s3://b/{name}/"));
            engine.catalog().create_table(table, false, false).unwrap();
        }
        let state = engine.session(&Settings::new()).unwrap();
        let sql = "SELECT a FROM u";
        let plan = Ok(state.create_logical_plan(sql).await.unwrap());
        let view = ViewDef { name: "v".parse().unwrap(), sql: sql.into(), plan };
        engine.catalog().create_view(view, false).unwrap();
        let sql = "SELECT t.a FROM t JOIN v ON t.a = v.a WHERE t.a IN (SELECT a FROM w)";
        let plan = state.create_logical_plan(sql).await.unwrap();
        let mut read: Vec<String> = scanned_locations(&plan).iter().map(ToString::to_string).collect();
        read.sort_unstable();
        assert_eq!(read, ["s3://b/t/", "s3://b/u/", "s3://b/w/"]);
    }
}
