//! Brings what is in the store into the catalog that statements are planned from.
//!
//! Views are planned anew, those that others select from before these. One that cannot be is kept, and says why when it is
//! used. When the cause may pass, because the store of its tables does not answer, it is tried again in the background.

use std::time::Duration;

use datafusion::logical_expr::LogicalPlan;
use selvedge_engine::catalog::ViewDef;
use selvedge_model::Failure;
use selvedge_model::failure::HasFailure as _;

use super::DurableCatalog;
use crate::planning::Planner;
use crate::store::{CatalogRecord, ViewRecord};

/// Before views are tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1_000 });
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

type Unplanned = Vec<(ViewRecord, Failure)>;

impl DurableCatalog {
    /// Loads the store into the catalog, which is empty. Gives back the views that are worth another try: see
    /// [`Self::mend_views`].
    ///
    /// # Errors
    /// What the store says; records that contradict each other.
    pub async fn load(&self, planner: &Planner) -> Result<Vec<ViewRecord>, Failure> {
        let Some(store) = &self.store else { return Ok(Vec::new()) };
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
        let unplanned = self.load_views(planner, views).await?;
        tracing::info!(schemas = counts.0, tables = counts.1, views = counts.2, "catalog loaded");
        Ok(match may_pass(&unplanned) {
            true => unplanned.into_iter().map(|(view, _)| view).collect(),
            false => Vec::new(),
        })
    }

    /// Plans views until no further one can be, and keeps the rest as they are.
    async fn load_views(&self, planner: &Planner, mut waiting: Vec<ViewRecord>) -> Result<Unplanned, Failure> {
        loop {
            let before = waiting.len();
            let mut failed = Vec::new();
            for view in waiting {
                match planner.plan_view(&view.sql, &view.columns).await {
                    Ok(plan) => self.put(&view, Ok(plan))?,
                    Err(failure) => failed.push((view, failure)),
                }
            }
            if failed.len() == before {
                for (view, failure) in &failed {
                    tracing::warn!(view = %view.name, %failure, "a view cannot be planned");
                    self.put(view, Err(failure.clone()))?;
                }
                return Ok(failed);
            }
            waiting = failed.into_iter().map(|(view, _)| view).collect();
        }
    }

    fn put(&self, view: &ViewRecord, plan: Result<LogicalPlan, Failure>) -> Result<(), Failure> {
        self.catalog.create_view(ViewDef { name: view.name.clone(), sql: view.sql.clone(), plan }, false)
    }

    /// Tries again, at growing intervals, to plan the views that could not be when they were loaded, until what is left is
    /// not worth it.
    pub async fn mend_views(&self, planner: &Planner, mut waiting: Vec<ViewRecord>) {
        let mut pause = FIRST_PAUSE;
        while !waiting.is_empty() {
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            let before = waiting.len();
            let mut failed = Vec::new();
            for view in waiting {
                match planner.plan_view(&view.sql, &view.columns).await {
                    Ok(plan) => self.mend(view, plan).await,
                    Err(failure) => failed.push((view, failure)),
                }
            }
            // A view that was planned may be what the others select from.
            let is_worth_it = may_pass(&failed) || failed.len() < before;
            waiting = failed.into_iter().map(|(view, _)| view).filter(|_| is_worth_it).collect();
        }
    }

    /// Gives a view its plan, unless it was dropped or made anew meanwhile.
    async fn mend(&self, view: ViewRecord, plan: LogicalPlan) {
        let _turn = self.turn.lock().await;
        let is_broken = |known: ViewDef| known.plan.is_err() && known.sql == view.sql;
        if !self.catalog.view(&view.name).is_some_and(is_broken) {
            return;
        }
        let name = view.name;
        match self.catalog.create_view(ViewDef { name: name.clone(), sql: view.sql, plan: Ok(plan) }, true) {
            Ok(()) => tracing::info!(view = %name, "a view can be planned again"),
            Err(failure) => tracing::warn!(view = %name, %failure, "a view is not replaced by its plan"),
        }
    }
}

/// Whether one of the causes may pass. The others may only follow from it: views select from views.
fn may_pass(unplanned: &[(ViewRecord, Failure)]) -> bool {
    unplanned.iter().any(|(_, failure)| failure.is_retryable())
}
