//! The client library: connect to a Selvedge scheduler, submit scripts, build DataFrames on its tables, follow runs.
//!
//! It depends on the vocabulary, the wire and DataFusion's logical layer, and on nothing of the engine: a plan is built
//! here and runs on the cluster. Start with [`Selvedge`]; `jobs/customer_360` is a whole job.
//!
//! ```no_run
//! # async fn job() -> Result<(), selvedge::Error> {
//! use selvedge::{DataFrameExt as _, Selvedge, WriteMode};
//!
//! let cluster = Selvedge::from_env().await?;
//! let orders = cluster.table("orders").await?;
//! let run = orders.write_to_table(&cluster, "orders_copy", WriteMode::Overwrite).await?;
//! run.wait().await?;
//! # Ok(())
//! # }
//! ```

mod cluster;
mod codec;
mod connect;
mod error;
mod functions;
mod handle;
mod logs;
mod query;
mod runs;
mod session;
mod table;
mod watch;
mod write;

pub use cluster::{Executor, ExecutorState};
pub use connect::{SCHEDULER_VARIABLE, Selvedge};
pub use error::{Error, Result, exit_code};
pub use functions::{call, call_aggregate, call_window};
pub use handle::RunHandle;
pub use logs::LogLine;
pub use query::{QueryEvent, QueryStream};
pub use runs::{ListOptions, Submission};
pub use session::Format;
pub use watch::RunStream;
pub use write::{DataFrameExt, WriteMode, WriteTarget};

/// The model's vocabulary as clients meet it.
pub mod model {
    pub use selvedge_model::expectation::{ExpectationResult, OnViolation};
    pub use selvedge_model::failure::{Domain, Failure, HasFailure, Place, Retry};
    pub use selvedge_model::id::{ExecutorId, RunId};
    pub use selvedge_model::run::{Counters, RunRecord, RunState, StageRecord, StatementRecord, StatementState};
}

pub use datafusion;
