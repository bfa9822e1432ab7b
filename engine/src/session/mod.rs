//! One way to build sessions and runtimes, for scheduler and executor alike.
//!
//! [`Engine`] holds what a process has once (stores, catalog, memory, disk); a session is made for each statement from the
//! [`Settings`] of its script. No secret is ever put into a session: its settings travel to executors and are shown.

mod engine;
mod functions;
mod known;
mod memory;
mod merge_action;
mod settings;

pub use engine::{ADAPTIVE_PLANNER_KEY, CATALOG_NAME, DEFAULT_SCHEMA, Engine, EngineOptions};
pub use memory::BorrowingPool;
pub use merge_action::{LEFT_OUT, merge_action};
pub use settings::{Settings, may_speculate, shuffle_durability};

pub(crate) use settings::{broadcast_limit, hash_join_build_bytes};
