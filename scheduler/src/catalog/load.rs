//! Brings what is in the store into the catalog that statements are planned from.
//!
//! Views are planned anew, those that others select from before these. One that no longer can be is kept, and says why when
//! it is used.

use selvedge_engine::catalog::ViewDef;
use selvedge_model::Failure;
use selvedge_model::failure::HasFailure as _;

use super::DurableCatalog;
use crate::planning::Planner;
use crate::store::{CatalogRecord, ViewRecord};

impl DurableCatalog {
    /// Loads the store into the catalog, which is empty.
    ///
    /// # Errors
    /// What the store says; records that contradict each other.
    pub async fn load(&self, planner: &Planner) -> Result<(), Failure> {
        let Some(store) = &self.store else { return Ok(()) };
        let CatalogRecord { schemas, tables, views, expectations } = store.catalog().await.map_err(|e| e.failure())?;
        let counts = (schemas.len(), tables.len(), views.len());
        for schema in schemas {
            self.catalog.create_schema(&schema.name, schema.location, true)?;
        }
        for table in tables {
            self.catalog.create_table(table.def, false, false)?;
        }
        for record in expectations {
            self.catalog.put_expectation(&record.table, record.expectation)?;
        }
        self.load_views(planner, views).await?;
        tracing::info!(schemas = counts.0, tables = counts.1, views = counts.2, "catalog loaded");
        Ok(())
    }

    /// Plans views until no further one can be, and keeps the rest as they are.
    async fn load_views(&self, planner: &Planner, mut waiting: Vec<ViewRecord>) -> Result<(), Failure> {
        loop {
            let before = waiting.len();
            let mut failed = Vec::new();
            for view in waiting {
                match planner.plan_view(&view.sql, &view.columns).await {
                    Ok(plan) => self.put(view, Ok(plan))?,
                    Err(failure) => failed.push((view, failure)),
                }
            }
            if failed.len() == before {
                for (view, failure) in failed {
                    tracing::warn!(view = %view.name, %failure, "a view can no longer be planned");
                    self.put(view, Err(failure))?;
                }
                return Ok(());
            }
            waiting = failed.into_iter().map(|(view, _)| view).collect();
        }
    }

    fn put(
        &self,
        view: ViewRecord,
        plan: Result<datafusion::logical_expr::LogicalPlan, Failure>,
    ) -> Result<(), Failure> {
        self.catalog.create_view(ViewDef { name: view.name, sql: view.sql, plan }, false)
    }
}
