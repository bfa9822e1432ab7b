//! What scheduler and executor must agree on: sessions, SQL, catalog, plan nodes, object stores, shuffle and table files.

pub mod catalog;
pub mod config;
pub mod delta;
pub mod error;
pub mod plan;
pub mod session;
pub mod shuffle;
pub mod sql;
pub mod store;
pub mod write;
