//! ExecuteQuery: a run whose results are streamed to its caller. Dropping the stream cancels the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream;
use selvedge_engine::sql::prepare;
use selvedge_model::run::Submission;
use selvedge_model::{Failure, RunId};
use selvedge_proto::v1;
use selvedge_proto::v1::execute_query_response::Event;
use tokio::sync::mpsc;
use tonic::Status;

use super::{Answers, Api, refuse, request, submit_run};
use crate::driver::{ResultEvent, RunSpec, result_channel};
use crate::runs::RunBook;

/// Cancels the run when the caller goes away; a run that has ended stays as it is.
struct CancelOnDrop {
    book: Arc<RunBook>,
    id: RunId,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.book.get(&self.id).is_ok_and(|run| !run.state.is_final()) {
            // A run forgotten in between needs no cancelling.
            let _ = self.book.cancel(&self.id);
        }
    }
}

pub(super) async fn execute_query(
    api: &Api,
    request: v1::ExecuteQueryRequest,
) -> Result<Answers<v1::ExecuteQueryResponse>, Failure> {
    let submission = Submission {
        script: request.sql.clone(),
        file_name: "query.sql".to_owned(),
        settings: request.settings.clone().into_iter().collect(),
    };
    let settings = request::settings(request.settings)?;
    let params: BTreeMap<String, String> = request.params.into_iter().collect();
    let script = prepare(&request.sql, &params)?;
    let name = request::job_name("", script.header.name.as_deref(), "query")?;
    let (sink, events) = result_channel();
    let user = request::user(&request.user)?;
    let spec = submit_run::script_run(api, script, name, &request.queue, settings, submission, Some(sink)).await?;
    let spec = RunSpec { user, ..spec };
    let id = api.driver.submit(spec)?;
    let guard = CancelOnDrop { book: Arc::clone(api.driver.book()), id: id.clone() };
    let first = stream::once(async move { Ok(response(Event::RunId(id.into()))) });
    let rest = stream::unfold((events, guard), next);
    Ok(first.chain(rest).boxed())
}

type Reader = (mpsc::Receiver<ResultEvent>, CancelOnDrop);

async fn next((mut events, guard): Reader) -> Option<(Result<v1::ExecuteQueryResponse, Status>, Reader)> {
    let answer = match events.recv().await? {
        ResultEvent::Start { statement, kind } => Ok(response(Event::Start(v1::ResultStart { statement, kind }))),
        ResultEvent::Ipc(bytes) => Ok(response(Event::ArrowIpc(bytes))),
        ResultEvent::End { statement, message } => Ok(response(Event::End(v1::ResultEnd { statement, message }))),
        ResultEvent::Failed(failure) => Err(refuse("ExecuteQuery", &failure)),
    };
    Some((answer, (events, guard)))
}

fn response(event: Event) -> v1::ExecuteQueryResponse {
    v1::ExecuteQueryResponse { event: Some(event) }
}
