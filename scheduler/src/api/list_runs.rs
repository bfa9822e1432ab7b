//! ListRuns: pages of runs, newest first, without what makes a run large.

use selvedge_model::Failure;
use selvedge_model::failure::HasFailure as _;
use selvedge_model::run::{RunRecord, RunState};
use selvedge_proto::{WireError, v1};

use super::Api;

pub(super) fn list_runs(api: &Api, request: v1::ListRunsRequest) -> Result<v1::ListRunsResponse, Failure> {
    let states = request.states.iter().map(|number| state(*number)).collect::<Result<Vec<_>, _>>()?;
    let size = usize::try_from(request.page_size).unwrap_or(usize::MAX);
    let page = api.driver.book().list(size, &request.page_token, &states)?;
    let runs = page.runs.iter().map(|run| brief(run)).collect();
    Ok(v1::ListRunsResponse { runs, next_page_token: page.next_token })
}

fn state(number: i32) -> Result<RunState, Failure> {
    v1::RunState::try_from(number)
        .map_err(|unknown| WireError::UnknownEnum { field: "states", value: unknown.0 })
        .and_then(RunState::try_from)
        .map_err(|error| error.failure())
}

fn brief(run: &RunRecord) -> v1::Run {
    let mut run = run.clone();
    for statement in &mut run.statements {
        statement.preview.clear();
        statement.stages.clear();
        for result in &mut statement.expectations {
            result.samples.clear();
        }
    }
    run.into()
}
