//! SubmitRun: checks a job whole, then queues a run of it. What is refused here has left no trace.

use selvedge_engine::session::Settings;
use selvedge_engine::sql::{Script, prepare};
use selvedge_model::run::Submission;
use selvedge_model::{Failure, StatementAttempt};
use selvedge_proto::v1;
use selvedge_proto::v1::submit_run_request::Job;

use super::{Api, request};
use crate::driver::{ResultSink, RunSpec, Work};
use crate::planning::Planned;

pub(super) async fn submit_run(api: &Api, request: v1::SubmitRunRequest) -> Result<v1::SubmitRunResponse, Failure> {
    let mut submission =
        Submission { settings: request.settings.clone().into_iter().collect(), ..Submission::default() };
    let settings = request::settings(request.settings)?;
    let params = request.params.into_iter().collect();
    let user = request::user(&request.user)?;
    let spec = match request.job {
        Some(Job::Script(script)) => {
            let prepared = prepare(&script.text, &params)?;
            let name = request::job_name(&request.name, prepared.header.name.as_deref(), &script.file_name)?;
            submission.script = script.text;
            submission.file_name = script.file_name;
            RunSpec { user, ..script_run(api, prepared, name, &request.queue, settings, submission, None).await? }
        }
        Some(Job::Plan(plan)) => {
            let id = api.driver.book().next_id()?;
            let ids = StatementAttempt { run: id.clone(), statement: 1, attempt: 1 };
            let work = Box::pin(plan_work(api, plan, &settings, &ids)).await?;
            let name = request::job_name(&request.name, None, "dataframe")?;
            let queue = request::queue(&request.queue, None)?;
            RunSpec { id, name, queue, params, user, submission, settings, work, sink: None }
        }
        None => {
            return Err(Failure::user("BAD_REQUEST", "The request carries neither a script nor a plan")
                .with_hint("Use a client of the same version as the scheduler"));
        }
    };
    let id = api.driver.submit(spec)?;
    Ok(v1::SubmitRunResponse { run_id: id.into() })
}

/// A checked run of a script.
pub(super) async fn script_run(
    api: &Api,
    script: Script,
    name: String,
    queue: &str,
    settings: Settings,
    submission: Submission,
    sink: Option<ResultSink>,
) -> Result<RunSpec, Failure> {
    let queue = request::queue(queue, script.header.queue.as_deref())?;
    Box::pin(api.driver.planner().check(&script, &settings)).await?;
    let work = Work::Script(script.statements);
    let id = api.driver.book().next_id()?;
    Ok(RunSpec { id, name, queue, params: script.params, user: String::new(), submission, settings, work, sink })
}

/// Plans a data frame once, to refuse what does not plan and to show what does.
async fn plan_work(
    api: &Api,
    plan: v1::DataFramePlan,
    settings: &Settings,
    ids: &StatementAttempt,
) -> Result<Work, Failure> {
    let (_, planned) = api.driver.planner().plan_dataframe(&plan, &mut settings.clone(), ids).await?;
    let (text, target) = match planned {
        Planned::Done { message, .. } => (message, String::new()),
        // A data frame never comes to that.
        Planned::Vacuum(vacuum) => (String::new(), vacuum.table),
        Planned::Query { plan } | Planned::Analyze { plan } => (plan.display_indent().to_string(), String::new()),
        Planned::Write(write) => (write.plan.display_indent().to_string(), write.target),
    };
    Ok(Work::Plan { plan: Box::new(plan), text, target })
}
