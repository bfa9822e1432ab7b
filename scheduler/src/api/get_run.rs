//! GetRun: one run as it is now, previews included.

use selvedge_model::Failure;
use selvedge_proto::v1;

use super::{Api, request};

pub(super) fn get_run(api: &Api, request: v1::GetRunRequest) -> Result<v1::GetRunResponse, Failure> {
    let id = request::run_id(&request.run_id)?;
    let run = api.driver.book().get(&id)?;
    Ok(v1::GetRunResponse { run: Some(v1::Run::from(run.as_ref().clone())) })
}
