//! CancelRun: records the request. The driver ends the run; a publish under way is carried to its end.

use selvedge_model::Failure;
use selvedge_proto::v1;

use super::{Api, request};

pub(super) fn cancel_run(api: &Api, request: v1::CancelRunRequest) -> Result<v1::CancelRunResponse, Failure> {
    let id = request::run_id(&request.run_id)?;
    let state = api.driver.book().cancel(&id)?;
    Ok(v1::CancelRunResponse { state: v1::RunState::from(state).into() })
}
