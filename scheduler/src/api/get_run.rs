//! GetRun: one run as it is now, previews and what was submitted included.

use selvedge_model::Failure;
use selvedge_proto::v1;

use super::{Api, request};

pub(super) fn get_run(api: &Api, request: v1::GetRunRequest) -> Result<v1::GetRunResponse, Failure> {
    let id = request::run_id(&request.run_id)?;
    let run = api.driver.book().get(&id)?;
    let submitted = &run.submission;
    let script = (!submitted.script.is_empty())
        .then(|| v1::SqlScript { text: submitted.script.clone(), file_name: submitted.file_name.clone() });
    let settings = submitted.settings.clone().into_iter().collect();
    Ok(v1::GetRunResponse { run: Some(v1::Run::from(run.as_ref().clone())), script, settings })
}
