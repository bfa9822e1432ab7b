//! The generated service traits, each method one line: what an RPC does stands in the file of its name.

use selvedge_proto::v1;
use selvedge_proto::v1::catalog_service_server::CatalogService;
use selvedge_proto::v1::cluster_service_server::ClusterService;
use selvedge_proto::v1::job_service_server::JobService;
use selvedge_proto::v1::query_service_server::QueryService;
use tonic::{Request, Response, Status};

use super::{
    Answers, Api, answer, cancel_run, drain_executor, execute_query, get_run, get_run_logs, list_executors, list_runs,
    resolve_table, submit_run, watch_run,
};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl JobService for Api {
    type WatchRunStream = Answers<v1::WatchRunResponse>;
    type GetRunLogsStream = Answers<v1::GetRunLogsResponse>;

    async fn submit_run(&self, request: Request<v1::SubmitRunRequest>) -> Answer<v1::SubmitRunResponse> {
        answer("SubmitRun", Box::pin(submit_run::submit_run(self, request.into_inner())).await)
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Answer<v1::GetRunResponse> {
        answer("GetRun", get_run::get_run(self, request.into_inner()))
    }

    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Answer<v1::ListRunsResponse> {
        answer("ListRuns", list_runs::list_runs(self, request.into_inner()))
    }

    async fn watch_run(&self, request: Request<v1::WatchRunRequest>) -> Answer<Self::WatchRunStream> {
        answer("WatchRun", watch_run::watch_run(self, request.into_inner()))
    }

    async fn cancel_run(&self, request: Request<v1::CancelRunRequest>) -> Answer<v1::CancelRunResponse> {
        answer("CancelRun", cancel_run::cancel_run(self, request.into_inner()))
    }

    async fn get_run_logs(&self, request: Request<v1::GetRunLogsRequest>) -> Answer<Self::GetRunLogsStream> {
        answer("GetRunLogs", get_run_logs::get_run_logs(self, request.into_inner()))
    }
}

#[tonic::async_trait]
impl QueryService for Api {
    type ExecuteQueryStream = Answers<v1::ExecuteQueryResponse>;

    async fn execute_query(&self, request: Request<v1::ExecuteQueryRequest>) -> Answer<Self::ExecuteQueryStream> {
        answer("ExecuteQuery", Box::pin(execute_query::execute_query(self, request.into_inner())).await)
    }
}

#[tonic::async_trait]
impl ClusterService for Api {
    async fn list_executors(&self, _: Request<v1::ListExecutorsRequest>) -> Answer<v1::ListExecutorsResponse> {
        answer("ListExecutors", Ok(list_executors::list_executors(self)))
    }

    async fn drain_executor(&self, request: Request<v1::DrainExecutorRequest>) -> Answer<v1::DrainExecutorResponse> {
        answer("DrainExecutor", drain_executor::drain_executor(self, request.into_inner()))
    }
}

#[tonic::async_trait]
impl CatalogService for Api {
    async fn resolve_table(&self, request: Request<v1::ResolveTableRequest>) -> Answer<v1::ResolveTableResponse> {
        answer("ResolveTable", resolve_table::resolve_table(self, request.into_inner()).await)
    }
}
