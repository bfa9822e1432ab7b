//! One attempt at one statement: plan it, then do what kind of statement it is. A query goes on in `query`, or in
//! `analyze` when only its figures are wanted; a write in `write`.

use datafusion::execution::SessionState;
use selvedge_engine::catalog::scanned_locations;
use selvedge_model::{Failure, StatementAttempt};

use super::run::{OpenRun, Step};
use super::settings::Defaults;
use super::statement::Done;
use super::{Driver, Stop};
use crate::planning::Planned;

impl Driver {
    /// `exhausted` attempts before it ran out of memory.
    pub(super) async fn attempt(
        &self,
        run: &mut OpenRun,
        step: Step<'_>,
        ids: &StatementAttempt,
        exhausted: u32,
    ) -> Result<Done, Stop> {
        let (state, planned) = self.plan(run, step, ids, exhausted).await?;
        self.settle_inputs(&planned).await?;
        match planned {
            Planned::Done { message, result, schema } => {
                let mut done = self.show(run, schema, result.unwrap_or_default()).await?;
                done.message = message;
                Ok(done)
            }
            Planned::Query { plan } => Box::pin(self.query(run, ids, state, plan)).await,
            Planned::Analyze { plan } => Box::pin(self.analyze(run, ids, state, plan)).await,
            Planned::Write(write) => Box::pin(self.write(run, ids, state, *write)).await,
            Planned::Vacuum(vacuum) => self.vacuum(run, &vacuum).await,
        }
    }

    /// What is read must not be half published.
    async fn settle_inputs(&self, planned: &Planned) -> Result<(), Failure> {
        let plan = match planned {
            Planned::Query { plan } | Planned::Analyze { plan } => plan,
            Planned::Write(write) => &write.plan,
            Planned::Done { .. } | Planned::Vacuum(_) => return Ok(()),
        };
        match self.publishes.has_left() {
            true => self.publishes.settle_for(&scanned_locations(plan)).await,
            false => Ok(()),
        }
    }

    async fn plan(
        &self,
        run: &mut OpenRun,
        step: Step<'_>,
        ids: &StatementAttempt,
        exhausted: u32,
    ) -> Result<(SessionState, Planned), Stop> {
        let defaults = Defaults::new(self.options.target_partitions, self.host.fleet_size(), exhausted);
        let mut effective = defaults.fill(&run.settings)?;
        let planner = self.planner.acting_for(&run.user);
        let planning = async {
            match step {
                Step::Sql(statement) => planner.plan(statement, &mut effective, ids).await,
                Step::Plan(plan) => planner.plan_dataframe(plan, &mut effective, ids).await,
            }
        };
        let planned = run.cancel.clone().run_until_cancelled(planning).await.ok_or(Stop::Cancelled)??;
        // What a SET changed holds for the statements to come.
        defaults.carry_back(&mut run.settings, &effective)?;
        Ok(planned)
    }
}
