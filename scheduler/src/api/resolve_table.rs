//! ResolveTable: what a table or files look like, for clients that build plans.

use selvedge_model::Failure;
use selvedge_proto::v1;

use super::Api;

pub(super) async fn resolve_table(
    api: &Api,
    request: v1::ResolveTableRequest,
) -> Result<v1::ResolveTableResponse, Failure> {
    api.driver.planner().resolve_table(&request).await
}
