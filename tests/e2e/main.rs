//! End-to-end tests: the real binary, real processes, a real S3 server, and engines that share no code as oracles.
//!
//! `stage` holds what tests share: one S3 server with the TPC-H data in it, and one healthy cluster. A test that breaks
//! something starts a cluster of its own. `make test` installs what they need; `make tools` alone does too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "the whole crate is tests: a panic with its message is how they fail"
)]

mod adopted;
mod bad_input;
mod cancel;
#[path = "../chaos/mod.rs"]
mod chaos;
mod crash;
mod dml;
mod drain;
mod example_jobs;
mod expect;
mod interrupt;
mod joins;
mod lost_messages;
mod maintain;
mod managed;
mod nobody_there;
mod observability;
mod oracles;
mod recovery;
mod restart;
mod shuffle;
mod sql_jobs;
mod stage;
mod tpch;
mod writes;
