//! `REFRESH` and `MSCK REPAIR`: nothing to do, since every scan lists anew; what is there is looked at and counted.

use datafusion::sql::sqlparser::ast::ObjectName;
use selvedge_engine::catalog::survey;
use selvedge_model::Failure;

use super::statement::Context;
use super::{Planned, insert, names, show};

pub(super) async fn refresh(context: &Context<'_>, name: &ObjectName) -> Result<Planned, Failure> {
    let at_name = |f: Failure| f.at(context.statement.place_of_name(name));
    let table = names::table(context.statement, name)?;
    let def = insert::existing(context.planner, &table, "refreshed").map_err(at_name)?;
    // Its files may be an earlier statement's, and not be there yet.
    if context.planner.is_rehearsal() {
        return Ok(Planned::done("refreshed"));
    }
    let found = survey(&context.state, &def).await.map_err(at_name)?;
    let row = vec![table.to_string(), found.partitions.to_string(), found.files.to_string()];
    show::done(&["table", "partitions", "files"], vec![row])
}
