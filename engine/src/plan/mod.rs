//! Our plan nodes and what carries them between scheduler and executor.
//!
//! [`write_plan`] turns a query into a write: a DML node over a sink table (`sink`), whose physical form is a
//! [`WriteExec`] over a `SpreadExec`; `codec` carries both, and `manifest` what they report. Nothing here touches a store:
//! `crate::write` does. What tables expect of the rows is put on a write by `contract`. In the order of the data: `sink` -> `spread` -> `write_exec` -> `manifest`; `codec`, `table_names`. Joins that
//! only one task may do are found by `joins` and made so by `gather`; which may be kept in memory is `join_memory`'s to say;
//! `planner` puts it together.

mod codec;
mod contract;
mod gather;
mod join_memory;
mod joins;
mod manifest;
mod planner;
mod sink;
mod spec;
mod spread;
mod table_names;
mod write_exec;

#[cfg(test)]
mod tests;

pub use codec::physical_codec;
pub use contract::{PlannedExpectation, check_expr, contract_of, simplifier, time_column, with_contract};
pub use join_memory::physical_rules;
pub use joins::optimizer_rules;
pub use manifest::manifest_rows;
pub use planner::PlanQueries;
pub use sink::write_plan;
pub use spec::{WriteFormat, WriteSpec};
pub use table_names::TableNameCodec;
pub use write_exec::WriteExec;

pub(crate) use gather::GatherExec;
pub(crate) use spec::SinkSpec;
